package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of CPU time in /proc: USER_HZ is 100 on every Linux that Go
// runs on.
const tick = 10 * time.Millisecond

// cpu is the CPU time that a process has used, user and system.
func cpu(pid int) (time.Duration, error) {
	if pid == 0 {
		return 0, nil
	}
	if sum, ok := exactCPU(pid); ok {
		return sum, nil
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("reading CPU time: %w\nhint: the benchmark reads /proc, so it runs on Linux only", err)
	}
	// The name, in parentheses, may hold anything; utime and stime are fields 14 and 15.
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("reading CPU time: %d fields", len(fields))
	}
	var sum time.Duration
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("reading CPU time: %w", err)
		}
		sum += time.Duration(n) * tick
	}
	return sum, nil
}

// exactCPU is the same to the nanosecond, where the kernel tells. The time of
// threads that have ended is not in it; no program measured here ends threads.
func exactCPU(pid int) (sum time.Duration, ok bool) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil {
		return 0, false
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return 0, false
		}
		var ran int64
		if _, err := fmt.Sscan(string(b), &ran); err != nil {
			return 0, false
		}
		sum += time.Duration(ran)
	}
	return sum, sum > 0
}

// rss is the resident memory of a process in MiB.
func rss(pid int) (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("reading memory: %w", err)
	}
	for line := range strings.Lines(string(b)) {
		var kib float64
		if _, err := fmt.Sscanf(line, "VmRSS: %f kB", &kib); err == nil {
			return kib / 1024, nil
		}
	}
	return 0, fmt.Errorf("reading memory: no VmRSS of %d", pid)
}

// meter reads the CPU of several processes around a measurement.
type meter struct {
	pids  []int
	start []time.Duration
}

func startMeter(pids ...int) (*meter, error) {
	m := &meter{pids: pids}
	var err error
	m.start, err = m.read()
	return m, err
}

func (m *meter) read() ([]time.Duration, error) {
	out := make([]time.Duration, len(m.pids))
	for i, pid := range m.pids {
		var err error
		if out[i], err = cpu(pid); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// perCall is the CPU µs of each process since the start, by n calls.
func (m *meter) perCall(n float64) ([]float64, error) {
	now, err := m.read()
	if err != nil {
		return nil, err
	}
	out := make([]float64, len(now))
	for i := range now {
		out[i] = (now[i] - m.start[i]).Seconds() * 1e6 / n
	}
	return out, nil
}
