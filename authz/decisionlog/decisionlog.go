package decisionlog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
)

// Defaults and limits.
const (
	defaultQueue      = 8192
	defaultQueueBytes = 64 << 20
	defaultMaxEvent   = 256 << 10
	defaultFlush      = 5 * time.Second
	minWeight         = 1 << 10 // what an event is counted as at least
	maxBatch          = 256     // events encoded before they are handed on
)

// Config configures a Log. At least one of Console, File, HTTP and OTLP is
// required.
type Config struct {
	Labels map[string]string // in every event; OPA has id and version of the server there

	DropAllowed bool     // log refusals only (a shadowed refusal is one)
	DropRoutes  []string // route templates whose decisions are not logged

	// Sample is the share of events that is logged, from 0 to 1, by
	// Event.Reason. "refused" stands for every reason but "allowed" that is
	// not listed itself. What is not listed is logged. Which decision falls
	// into the share depends on its id alone.
	Sample map[string]float64

	EraseHeaders []string                  // erased besides those that always are
	Masks        []Mask                    // applied in order, before those of Rules
	Rules        func(policy string) Rules // what the policy of that name says of events; nil: nothing

	Console io.Writer // one line an event, with OPA's msg and type; not closed. While it blocks, events wait in the queue
	File    *File
	HTTP    *HTTP // OPA's decision log API: POST of a gzipped JSON array
	OTLP    *HTTP // OTLP/HTTP: the events as OpenTelemetry log records

	Queue      int           // events waiting to be encoded; default 8192
	QueueBytes int64         // of Event.Size; default 64 MiB
	MaxEvent   int           // bytes of JSON; a larger event loses its input, then its result; default 256 KiB
	Flush      time.Duration // how long the end may take; default 5 s

	Random  func() float64 // in [0, 1), for jitter
	Logger  *slog.Logger
	Metrics prometheus.Registerer
}

// Log is a decision log.
type Log struct {
	filter     filter
	queue      chan Event
	queueBytes int64
	queued     atomic.Int64 // bytes in the queue
	wake       chan struct{}
	ended      atomic.Bool

	encoder *encoder
	outputs []output
	file    *fileOutput // nil without
	ups     []*uploader

	flush   time.Duration
	metrics *metrics
	log     *slog.Logger
	noise   *rate.Limiter
}

// output takes encoded events, each a JSON object without a line end. It is
// used by one goroutine.
type output interface {
	write(events [][]byte) error
	close() error
}

// New checks the configuration and opens the file and the disk buffer, which
// Run closes.
func New(c Config) (*Log, error) {
	if c.Console == nil && c.File == nil && c.HTTP == nil && c.OTLP == nil {
		return nil, errors.New("decisionlog: no console, file, http or otlp to write to")
	}
	c = c.withDefaults()
	if c.MaxEvent > maxRecord {
		return nil, fmt.Errorf("decisionlog: events of %d bytes are more than the %d that can be buffered", c.MaxEvent, maxRecord)
	}
	l := &Log{
		queue: make(chan Event, c.Queue), queueBytes: c.QueueBytes, wake: make(chan struct{}, 1),
		flush: c.Flush, log: c.Logger, noise: rate.NewLimiter(1, 10),
	}
	l.metrics = newMetrics()
	var err error
	if l.filter, err = newFilter(c); err != nil {
		return nil, fmt.Errorf("decisionlog: %w", err)
	}
	if l.encoder, err = newEncoder(c, l.metrics, l.complain); err != nil {
		return nil, fmt.Errorf("decisionlog: %w", err)
	}
	if err = l.open(c); err == nil {
		err = l.metrics.register(c.Metrics, l)
	}
	if err != nil {
		return nil, fmt.Errorf("decisionlog: %w", errors.Join(err, l.close()))
	}
	return l, nil
}

func (c Config) withDefaults() Config {
	c.Queue = cmp.Or(max(c.Queue, 0), defaultQueue)
	c.QueueBytes = cmp.Or(max(c.QueueBytes, 0), defaultQueueBytes)
	c.MaxEvent = cmp.Or(max(c.MaxEvent, 0), defaultMaxEvent)
	c.Flush = cmp.Or(max(c.Flush, 0), defaultFlush)
	if c.Random == nil {
		c.Random = rand.Float64
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// open opens the outputs.
func (l *Log) open(c Config) error {
	if c.Console != nil {
		l.outputs = append(l.outputs, &console{w: c.Console, metrics: l.metrics})
	}
	if c.File != nil {
		f, err := newFile(*c.File, l.metrics)
		if err != nil {
			return err
		}
		l.file = f
		l.outputs = append(l.outputs, f)
	}
	return errors.Join(l.openUpload(c.HTTP, opaLogs(), c), l.openUpload(c.OTLP, otlpLogs(c.Labels), c))
}

// openUpload opens an output that is a service; none if h is nil.
func (l *Log) openUpload(h *HTTP, p protocol, c Config) error {
	if h == nil {
		return nil
	}
	up, err := newUploader(*h, p, c, l.metrics, l.complain)
	if err != nil {
		return err
	}
	l.ups = append(l.ups, up)
	l.outputs = append(l.outputs, up)
	return nil
}

// close closes what is open.
func (l *Log) close() error {
	var errs []error
	for _, o := range l.outputs {
		errs = append(errs, o.close())
	}
	return errors.Join(errs...)
}

// Record hands an event over. It never waits: an event that finds the queue
// full is lost and counted, as is every event after the end of Run. It is safe
// for concurrent use.
func (l *Log) Record(e Event) {
	switch {
	case l.filter.dropped(&e):
		l.metrics.dropped.Inc()
		return
	case !l.filter.sampled(&e):
		l.metrics.sampledOut.Inc()
		return
	case l.ended.Load():
		l.metrics.lost(lostAtEnd, 1)
		return
	}
	weight := e.weight()
	if l.queued.Add(weight) > l.queueBytes {
		l.queued.Add(-weight)
		l.metrics.lost(lostQueueFull, 1)
		return
	}
	select {
	case l.queue <- e:
	default:
		l.queued.Add(-weight)
		l.metrics.lost(lostQueueFull, 1)
	}
}

// Reopen makes Run open the file anew, after something else has moved it away.
// It does not wait.
func (l *Log) Reopen() {
	select {
	case l.wake <- struct{}{}:
	default: // one is on its way
	}
}

// Run encodes and delivers events until ctx ends, then what is left for
// Config.Flush at most. Then it closes what New opened. It returns what went
// wrong with that; what goes wrong before is logged and counted. Call it once.
func (l *Log) Run(ctx context.Context) error {
	// Deliveries outlive ctx by the time that the end may take.
	below, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	ending := make(chan struct{}) // nothing more comes
	finished := make(chan struct{})
	var bound, wg sync.WaitGroup
	bound.Go(func() { stopAfter(ctx, finished, l.flush, stop) })
	for _, up := range l.ups {
		wg.Go(func() { up.run(below, ending) })
	}
	l.encodeUntil(ctx, below)
	l.ended.Store(true)
	l.drain(below)
	close(ending)
	wg.Wait()
	close(finished)
	bound.Wait()
	if err := l.close(); err != nil {
		return fmt.Errorf("decisionlog: closing: %w", err)
	}
	return nil
}

// stopAfter calls stop so long after the end of ctx, unless finished is closed
// before.
func stopAfter(ctx context.Context, finished <-chan struct{}, wait time.Duration, stop func()) {
	select {
	case <-ctx.Done():
	case <-finished:
		return
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		stop()
	case <-finished:
	}
}

// encodeUntil works until ctx ends.
func (l *Log) encodeUntil(ctx, below context.Context) {
	for ctx.Err() == nil { // select picks any case that is ready
		select {
		case <-ctx.Done():
		case <-l.wake:
			l.reopen()
		case e := <-l.queue:
			l.batch(below, e)
		}
	}
}

// drain works until the queue is empty or ctx ends.
func (l *Log) drain(ctx context.Context) {
	for {
		select {
		case e := <-l.queue:
			if ctx.Err() != nil {
				l.queued.Add(-e.weight())
				l.metrics.lost(lostAtEnd, 1)
				continue
			}
			l.batch(ctx, e)
		default:
			return
		}
	}
}

// batch encodes e and what waits behind it, and hands it on.
func (l *Log) batch(ctx context.Context, e Event) {
	var events [][]byte
	for {
		if line := l.encoder.encode(ctx, &e); line != nil {
			events = append(events, line)
		}
		l.queued.Add(-e.weight())
		if len(events) == maxBatch || ctx.Err() != nil {
			break
		}
		select {
		case e = <-l.queue:
			continue
		default:
		}
		break
	}
	if len(events) > 0 {
		l.deliver(ctx, events)
	}
}

// deliver gives events to every output. One that fails does not stop another.
func (l *Log) deliver(ctx context.Context, events [][]byte) {
	l.metrics.logged.Add(float64(len(events)))
	for _, o := range l.outputs {
		if err := o.write(events); err != nil {
			l.complain(ctx, "decision log not written", err)
		}
	}
}

func (l *Log) reopen() {
	if l.file == nil {
		return
	}
	if err := l.file.reopen(); err != nil {
		l.complain(context.Background(), "decision log not reopened", err)
	}
}

// complain says what goes wrong, so often at most that it can be read. Without
// an error it says what is well again.
func (l *Log) complain(ctx context.Context, what string, err error) {
	switch {
	case !l.noise.Allow():
	case err == nil:
		l.log.InfoContext(ctx, what)
	default:
		l.log.WarnContext(ctx, what, "error", err)
	}
}
