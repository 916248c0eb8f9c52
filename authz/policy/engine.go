package policy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/prometheus/client_golang/prometheus"
)

// How a directory is watched: a burst of changes is read once it has been
// quiet for settle, and what a notification missed is found by the poll.
const (
	settle = 100 * time.Millisecond
	poll   = 5 * time.Second

	pollBundle = time.Second // looks at a file's time and size only
)

// Config configures an Engine.
type Config struct {
	Dir      string        // directory of .rego and data files (.yaml, .json); watched for changes
	FS       fs.FS         // used instead of Dir, not watched (the embedded policies)
	Bundle   *BundleConfig // used instead of Dir and FS
	Entry    string        // rule to evaluate, default "envoy/authz/allow" as OPA-Envoy
	Deadline time.Duration // of one evaluation, default 100 ms
	Now      func() time.Time
	Logger   *slog.Logger
	Metrics  prometheus.Registerer
}

// Engine holds the compiled policy and swaps it atomically.
type Engine struct {
	dir      string
	fsys     fs.FS
	bundle   *BundleConfig // nil without
	fetcher  *fetcher      // nil unless the bundle is at a URL
	entry    string
	deadline time.Duration
	now      func() time.Time
	log      *slog.Logger
	metrics  *metrics

	current atomic.Pointer[Policy]

	mu     sync.Mutex // one reload at a time; guards what follows
	tried  string     // revision of the newest attempt
	status Status
}

// New loads and compiles; the first load must succeed.
func New(ctx context.Context, c Config) (*Engine, error) {
	e := &Engine{dir: c.Dir, fsys: c.FS, entry: c.Entry, deadline: c.Deadline, now: c.Now, log: c.Logger}
	if err := e.from(c); err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	if e.entry == "" {
		e.entry = "envoy/authz/allow"
	}
	if e.deadline == 0 {
		e.deadline = 100 * time.Millisecond
	}
	if e.now == nil {
		e.now = time.Now
	}
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	var err error
	if e.metrics, err = newMetrics(c.Metrics); err != nil {
		return nil, err
	}
	if err := e.Reload(ctx); err != nil {
		return nil, err
	}
	return e, nil
}

// from chooses the source.
func (e *Engine) from(c Config) error {
	given := 0
	for _, there := range []bool{c.Dir != "", c.FS != nil, c.Bundle != nil} {
		if there {
			given++
		}
	}
	if given != 1 {
		return errors.New("give one of Dir, FS and Bundle")
	}
	if c.Dir != "" {
		e.fsys = os.DirFS(c.Dir)
	}
	if c.Bundle == nil {
		return nil
	}
	if err := c.Bundle.check(); err != nil {
		return err
	}
	e.bundle = c.Bundle
	if c.Bundle.URL != "" {
		e.fetcher = newFetcher(*c.Bundle)
	}
	return nil
}

// sources reads what there is now.
func (e *Engine) sources(ctx context.Context) (sources, error) {
	switch {
	case e.bundle == nil:
		return readSources(e.fsys)
	case e.fetcher == nil:
		return e.bundle.readFile(e.bundle.File)
	}
	return e.fetcher.first(ctx)
}

// Reload loads now. If that fails the policy in service stays, and the error
// is also in Status, the log and the metrics.
func (e *Engine) Reload(ctx context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.fetcher != nil && e.current.Load() != nil {
		return e.status.LastError // Run fetches, when it is time
	}
	s, err := e.sources(ctx)
	return e.load(ctx, s, err)
}

// load compiles what was read and puts it into service. The caller holds mu.
func (e *Engine) load(ctx context.Context, s sources, err error) error {
	var p *Policy
	switch {
	case err != nil:
	case s.revision == e.status.Revision: // nothing new, or the old state is back
		e.tried, e.status.LastError = s.revision, nil
		return nil
	case s.revision == e.tried:
		return e.status.LastError
	default:
		e.tried = s.revision
		p, err = compilePolicy(ctx, s, e.entry, e.deadline)
	}
	if err != nil {
		return e.failed(err)
	}
	e.current.Store(p)
	e.status = Status{Revision: p.revision, LoadedAt: e.now()}
	e.metrics.loaded(p.revision)
	e.log.InfoContext(ctx, "policy loaded", "revision", p.revision, "cacheable", p.reads.Cacheable())
	return nil
}

// failed notes an attempt that failed, once for each different reason.
func (e *Engine) failed(err error) error {
	err = fmt.Errorf("loading policies: %w", err)
	if e.status.LastError == nil || e.status.LastError.Error() != err.Error() {
		e.metrics.failed()
		e.log.Error("policy not loaded; the last good one goes on serving", "error", err, "serving", e.status.Revision)
	}
	e.status.LastError = err
	return err
}

// Run watches the directory and reloads; a broken policy keeps the last good
// one serving and turns up in Status, log and metrics. It returns when ctx ends.
func (e *Engine) Run(ctx context.Context) error {
	switch {
	case e.fetcher != nil:
		e.fetcher.run(ctx, func(s sources, err error) {
			e.mu.Lock()
			defer e.mu.Unlock()
			_ = e.load(ctx, s, err) // said in Status, log and metrics
		})
		return nil
	case e.bundle != nil:
		return e.pollFile(ctx)
	case e.dir == "":
		<-ctx.Done()
		return nil
	}
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watching policies: %w", err)
	}
	defer func() { _ = watcher.Close() }() // nothing is lost with it
	due := time.NewTimer(poll)
	defer due.Stop()
	e.follow(watcher)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-watcher.Events:
			due.Reset(settle)
			continue
		case err := <-watcher.Errors:
			e.log.Warn("watching policies", "error", err)
			continue
		case <-due.C:
		}
		e.follow(watcher) // before reading: what comes later is then notified
		_ = e.Reload(ctx) // said in Status, log and metrics
		due.Reset(poll)
	}
}

// pollFile reads a bundle's file again when it has changed.
func (e *Engine) pollFile(ctx context.Context) error {
	tick := time.NewTicker(pollBundle)
	defer tick.Stop()
	var seen [2]int64
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		var now [2]int64
		if info, err := os.Stat(e.bundle.File); err == nil {
			now = [2]int64{info.ModTime().UnixNano(), info.Size()}
		}
		if now == seen {
			continue
		}
		seen = now
		_ = e.Reload(ctx) // said in Status, log and metrics
	}
}

// follow watches every folder below the directory, new ones too. A folder that
// cannot be watched is left to the poll.
func (e *Engine) follow(watcher *fsnotify.Watcher) {
	_ = filepath.WalkDir(e.dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			_ = watcher.Add(path)
		}
		return nil
	})
}

// Status of the engine.
type Status struct {
	Revision  string // of what is serving: a hash, 12 hex digits
	LoadedAt  time.Time
	LastError error // of the newest attempt, nil if it serves
}

// Status returns the state.
func (e *Engine) Status() Status {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.status
}

// Current returns the policy serving now; one request uses one Policy throughout.
func (e *Engine) Current() *Policy { return e.current.Load() }
