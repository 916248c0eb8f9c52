package stack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// errPortTaken means that a program ended because a port was in use.
var errPortTaken = errors.New("a port was taken by another program")

// stopGrace is how long a program may take to end after SIGTERM.
const stopGrace = 5 * time.Second

// Process is one program: started, watched until it is ready, killed, started
// again. It runs in a process group of its own, so that Ctrl-C in a terminal
// reaches only us and things are stopped in order; on Linux it dies with us
// whatever happens to us.
type Process struct {
	Name     string
	Args     []string
	Env      []string // added to our own
	LogFile  string   // receives both outputs, appended over restarts
	ReadyURL string   // answers 200 once the program is ready

	mu   sync.Mutex // guards run
	run  *run       // nil before the first start
	from int64      // size of the log when it was started last
}

// run is one life of a Process.
type run struct {
	process *os.Process
	done    chan struct{} // closed when the program has ended and err is set
	err     error
}

// Start starts the program and returns when it is ready, or with an error that
// quotes the end of its log.
func (p *Process) Start(ctx context.Context) error {
	if err := p.Launch(); err != nil {
		return err
	}
	if err := p.WaitReady(ctx); err != nil {
		p.Kill()
		return err
	}
	return nil
}

// Launch starts the program without waiting for it to be ready.
func (p *Process) Launch() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.run != nil && !p.run.ended() {
		return fmt.Errorf("%s is already running", p.Name)
	}
	log, err := os.OpenFile(p.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("opening the log of %s: %w", p.Name, err)
	}
	if fi, err := log.Stat(); err == nil {
		p.from = fi.Size()
	}
	cmd := exec.Command(p.Args[0], p.Args[1:]...)
	cmd.Env = append(environ(), p.Env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = sysProcAttr()
	r, err := launch(cmd, log)
	if err != nil {
		return fmt.Errorf("starting %s: %w", p.Name, err)
	}
	p.run = r
	return nil
}

// environ is our environment without what would configure tegata: a story
// must not depend on the shell it is told in.
func environ() []string {
	return slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "TEGATA_") })
}

// launch starts cmd from a goroutine that keeps its thread until cmd has
// ended: the kernel sends the parent-death signal when the starting *thread*
// ends, which for the Go runtime could be at any time.
func launch(cmd *exec.Cmd, log *os.File) (*run, error) {
	r := &run{done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer func() { _ = log.Close() }()
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		r.process = cmd.Process
		started <- nil
		r.err = cmd.Wait()
		close(r.done)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return r, nil
}

func (r *run) ended() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

// WaitReady returns when the program says it is ready, has ended, or took too long.
func (p *Process) WaitReady(ctx context.Context) error {
	r := p.current()
	if r == nil {
		return fmt.Errorf("%s was not started", p.Name)
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		if last = ready(ctx, p.ReadyURL); last == nil {
			return nil
		}
		select {
		case <-r.done:
			return p.failed(r)
		case <-ctx.Done():
			return fmt.Errorf("%s did not become ready: %w (%w)\n%s", p.Name, last, ctx.Err(), p.tail())
		case <-tick.C:
		}
	}
}

// failed says why a program ended.
func (p *Process) failed(r *run) error {
	tail := p.tail()
	if bytes.Contains(tail, []byte("address already in use")) || bytes.Contains(tail, []byte("Address already in use")) {
		return fmt.Errorf("%s: %w\n%s", p.Name, errPortTaken, tail)
	}
	return fmt.Errorf("%s ended: %v\n%s", p.Name, r.err, tail)
}

// tail is the end of what this life of the program wrote.
func (p *Process) tail() []byte {
	const most = 2000
	p.mu.Lock()
	from := p.from
	p.mu.Unlock()
	b, err := os.ReadFile(p.LogFile)
	if err != nil || int64(len(b)) < from {
		return nil
	}
	b = b[from:]
	return b[max(0, len(b)-most):]
}

// Kill sends SIGKILL, as a crash or the OOM killer would, and returns when the
// program is gone.
func (p *Process) Kill() { p.end(syscall.SIGKILL) }

// Stop sends SIGTERM, waits, and kills what is still there after a few seconds.
func (p *Process) Stop() { p.end(syscall.SIGTERM) }

// Restart stops and starts the program, and returns when it is ready.
func (p *Process) Restart(ctx context.Context) error {
	p.Stop()
	return p.Start(ctx)
}

func (p *Process) end(sig syscall.Signal) {
	r := p.current()
	if r == nil || r.ended() {
		return
	}
	_ = r.process.Signal(sig) // it may have ended this moment
	grace := time.NewTimer(stopGrace)
	defer grace.Stop()
	select {
	case <-r.done:
	case <-grace.C:
		_ = r.process.Kill()
		<-r.done
	}
}

// PID is the process id, 0 if it does not run.
func (p *Process) PID() int {
	if r := p.current(); r != nil && !r.ended() {
		return r.process.Pid
	}
	return 0
}

// Done is closed when the program that runs now has ended. It is nil before the first start.
func (p *Process) Done() <-chan struct{} {
	if r := p.current(); r != nil {
		return r.done
	}
	return nil
}

func (p *Process) current() *run {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.run
}
