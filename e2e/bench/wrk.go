package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

//go:embed wrk.lua
var wrkScript []byte

// connections is how many requests are in flight, in every measurement.
const connections = 32

// wrk drives HTTP load. Its script lies in dir.
type wrk struct{ path, dir string }

func newWrk(dir string) (wrk, error) {
	path, err := exec.LookPath("wrk")
	if err != nil {
		return wrk{}, errors.New("wrk is missing\nhint: apt-get install -y wrk, brew install wrk, or github.com/wg/wrk")
	}
	if err := os.WriteFile(filepath.Join(dir, "wrk.lua"), wrkScript, 0o600); err != nil {
		return wrk{}, fmt.Errorf("writing the script of wrk: %w", err)
	}
	return wrk{path: path, dir: dir}, nil
}

// load is what wrk is to do.
type load struct {
	url    string // scheme://host:port
	method string
	path   string
	kind   string // "bearer" or "form"
	lines  string // file of tokens or forms
	header string // one more header, "Name: value"
	took   time.Duration
}

// result is what wrk measured.
type result struct {
	Requests   float64 `json:"requests"`
	DurationUS float64 `json:"duration_us"`
	P50US      float64 `json:"p50_us"`
	P99US      float64 `json:"p99_us"`
	Bad        int     `json:"bad"`    // answers that are not 2xx or 3xx
	Broken     int     `json:"broken"` // connections and timeouts
}

func (r result) perSecond() float64 { return r.Requests / (r.DurationUS / 1e6) }

// run returns what was measured. An answer that is not a success is an error:
// a refusal is cheaper than what is to be measured.
func (w wrk) run(ctx context.Context, l load) (result, error) {
	args := []string{
		"-t1", "-c" + strconv.Itoa(connections), "-d" + strconv.Itoa(int(l.took.Seconds())) + "s",
		"-s", filepath.Join(w.dir, "wrk.lua"),
	}
	if l.header != "" {
		args = append(args, "-H", l.header)
	}
	args = append(args, l.url, "--", l.method, l.path, l.kind, l.lines)
	out, err := exec.CommandContext(ctx, w.path, args...).CombinedOutput()
	if err != nil {
		return result{}, fmt.Errorf("running wrk: %w\n%s", err, out)
	}
	_, after, ok := bytes.Cut(out, []byte("RESULT "))
	if !ok {
		return result{}, fmt.Errorf("wrk said nothing of its result:\n%s", out)
	}
	var r result
	if err := json.NewDecoder(bytes.NewReader(after)).Decode(&r); err != nil {
		return result{}, fmt.Errorf("reading the result of wrk: %w", err)
	}
	if r.Bad+r.Broken > 0 || r.Requests == 0 {
		return result{}, fmt.Errorf("%s %s: %d of %.0f answers were refusals or errors, %d connections broke", l.method, l.path, r.Bad, r.Requests, r.Broken)
	}
	return r, nil
}

// writeLines writes the lines that wrk sends.
func writeLines(path string, lines []string) error {
	return os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600)
}
