package watch

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	mathrand "math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tegata/tegata/revocation"
	pb "github.com/tegata/tegata/revocation/revocationpb"
	"google.golang.org/grpc"
)

// WatcherConfig configures a Watcher.
type WatcherConfig struct {
	// Conns lead to upstreams of the same history, the best first; see
	// DialOptions. One is followed at a time. When it is lost, the others are
	// tried before it.
	Conns   []grpc.ClientConnInterface
	Set     *revocation.Set
	Node    string           // name shown to operators
	OnStale string           // deny (default), introspect or serve: told upstream, enforced by check
	Issuers []string         // wanted; empty means all
	Now     func() time.Time // default time.Now; must carry a monotonic reading
	Logger  *slog.Logger     // default slog.DiscardHandler

	Random io.Reader // of the instance name; default crypto/rand

	// Applied is called when a change is in force and no decision runs on an
	// older state, and before that is acknowledged: what it ends by then, the
	// one who revokes can count as ended. nil: nothing is to be ended.
	Applied func(context.Context)
}

// Watcher follows an Upstream and keeps a Set.
type Watcher struct {
	c        WatcherConfig
	dials    []dial
	instance []byte
	f        follower  // owned by Run
	until    time.Time // the end of the lease when it was last extended; owned by Run
	relay    *Relay    // that it is the upper half of; nil for others

	lease    atomic.Pointer[lease]
	clock    atomic.Pointer[anchor]
	whole    atomic.Bool // a first snapshot has been applied
	synced   chan struct{}
	connects atomic.Int64
	running  atomic.Bool

	mu      sync.Mutex // guards what Status shows, and leases on their way
	epoch   revocation.Epoch
	lastErr string
	inForce position // no decision runs on anything older
	offered *lease   // waits until what it names is in force; nil: none
}

// anchor ties the upstream's clock to ours.
type anchor struct{ server, local time.Time }

// dial opens a stream with one upstream.
type dial func(context.Context) (clientPipe, error)

// clientPipe is one stream as the watcher sees it; client.go makes it from
// gRPC. Recv and Send each have one caller at a time and end when the stream's
// context does.
type clientPipe interface {
	Send(*pb.WatchRequest) error
	Recv() (*pb.WatchResponse, error)
}

const (
	backoffFirst = 50 * time.Millisecond
	backoffLast  = 2 * time.Second
	openPatience = 3 * time.Second
	expireEvery  = time.Second
)

var (
	errSilent  = errors.New("upstream is silent")
	errStarved = errors.New("upstream grants no lease")
)

// NewWatcher checks the configuration.
func NewWatcher(c WatcherConfig) (*Watcher, error) {
	if len(c.Conns) == 0 {
		return nil, errors.New("watch: Conns is required")
	}
	dials := make([]dial, len(c.Conns))
	for i, conn := range c.Conns {
		dials[i] = dialer(conn)
	}
	return newWatcher(c, dials...)
}

func newWatcher(c WatcherConfig, dials ...dial) (*Watcher, error) {
	if c.OnStale == "" {
		c.OnStale = deny
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Random == nil {
		c.Random = rand.Reader
	}
	if c.Set == nil {
		return nil, errors.New("watch: Set is required")
	}
	if _, ok := onStales[c.OnStale]; !ok {
		return nil, fmt.Errorf("watch: OnStale is %q, not deny, introspect or serve", c.OnStale)
	}
	if len(c.Node) > maxName || len(c.Issuers) > maxIssuers {
		return nil, fmt.Errorf("watch: node name or issuers too long")
	}
	w := &Watcher{c: c, dials: dials, instance: make([]byte, 16), f: follower{set: c.Set}, synced: make(chan struct{})}
	if _, err := io.ReadFull(c.Random, w.instance); err != nil {
		return nil, fmt.Errorf("watch: naming this instance: %w", err)
	}
	return w, nil
}

// Run connects, follows, reconnects with back-off until ctx ends. It returns
// nil then, when its goroutines are gone. Call it once.
func (w *Watcher) Run(ctx context.Context) error {
	if w.running.Swap(true) {
		return errors.New("watch: Run was called before")
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { w.expire(ctx) })
	order, n, pause := w.order(-1), 0, backoffFirst
	for {
		at := order[n]
		good, err := w.follow(ctx, w.dials[at])
		if ctx.Err() != nil {
			return nil
		}
		w.failed(err)
		n++
		if good {
			order, n, pause = w.order(at), 0, backoffFirst
		}
		wait := backoffFirst // the next one may be there
		if n == len(order) {
			wait, n = pause, 0
			pause = min(2*pause, backoffLast)
		}
		// Half of it jitter: watchers that lost one upstream come back spread.
		if sleep(ctx, wait/2+mathrand.N(wait/2)) != nil {
			return nil
		}
	}
}

// order is in which order upstreams are tried: as configured, the one that was
// lost last.
func (w *Watcher) order(lost int) []int {
	var order []int
	for i := range w.dials {
		if i != lost {
			order = append(order, i)
		}
	}
	if lost >= 0 {
		order = append(order, lost)
	}
	return order
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (w *Watcher) failed(err error) {
	if err == nil {
		err = errors.New("upstream ended the stream")
	}
	text := err.Error()
	if len(text) > maxName {
		text = text[:maxName]
	}
	w.mu.Lock()
	news := text != w.lastErr
	w.lastErr = text
	w.mu.Unlock()
	if news {
		w.c.Logger.Warn("revocation stream lost, reconnecting", "error", text, "revision", uint64(w.c.Set.Revision()))
	}
}

// follow runs one stream until it ends; good says that it brought a lease.
func (w *Watcher) follow(ctx context.Context, to dial) (good bool, err error) {
	// What Open says is held must not have decisions on an older state.
	if err := w.settle(ctx, position{w.f.epoch, w.f.revision}); err != nil {
		return false, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel(nil)
	impatient := time.AfterFunc(openPatience, func() { cancel(errSilent) })
	p, err := to(ctx)
	impatient.Stop()
	if err != nil {
		return false, err
	}
	w.connects.Add(1)
	w.f.reset()

	in := make(chan *pb.WatchResponse)
	out := make(chan *pb.WatchRequest, maxRenews)
	applied := make(chan position, 1)
	out <- w.open()
	wg.Go(func() { cancel(receiveAll(ctx, p, in)) })
	wg.Go(func() { cancel(sendAll(ctx, p, out)) })
	wg.Go(func() { cancel(w.acknowledge(ctx, applied, out)) })
	return w.loop(ctx, in, out, applied)
}

func (w *Watcher) open() *pb.WatchRequest {
	o := &pb.Open{
		Node: w.c.Node, Instance: w.instance, OnStale: onStales[w.c.OnStale], Issuers: w.c.Issuers,
		Epoch: string(w.f.epoch), Revision: uint64(w.f.revision), Relay: w.relay != nil,
	}
	if w.f.startNew {
		o.Epoch, o.Revision = "", 0
	}
	return &pb.WatchRequest{Message: &pb.WatchRequest_Open{Open: o}}
}

// position is a revision in its epoch.
type position struct {
	epoch    revocation.Epoch
	revision revocation.Revision
}

// loop owns the follower. A stream on which nothing comes for half a lease is
// taken for dead: the upstream sends at least a heartbeat each quarter. One that
// extends no lease for three eighths, which is one renewal and half of the
// next, is left if there is another to try: what is left of the lease bridges
// the change.
func (w *Watcher) loop(ctx context.Context, in <-chan *pb.WatchResponse, out chan<- *pb.WatchRequest, applied chan position) (good bool, err error) {
	silence := time.NewTimer(openPatience)
	defer silence.Stop()
	renewal := time.NewTimer(time.Hour)
	defer renewal.Stop()
	starved := time.NewTimer(time.Hour)
	defer starved.Stop()
	for {
		select {
		case m := <-in:
			ev, err := w.f.receive(m)
			if err != nil {
				return good, err
			}
			w.note(ev)
			good = good || ev.lease != nil
			// What is below a relay has no part in what Open says.
			if ev.applied || (ev.renew && w.relay != nil) {
				newest(applied, position{w.f.epoch, w.f.revision})
			}
			if ev.renew {
				renewal.Reset(0)
			}
			if w.fed(ev) && len(w.dials) > 1 {
				starved.Reset(w.f.every * 3 / 8)
			}
			silence.Reset(max(w.f.every/2, time.Second/10))
		case <-renewal.C:
			select {
			case out <- w.f.renew(w.c.Now()):
			default: // the stream takes nothing: silence will end it
			}
			renewal.Reset(w.f.every / w.renewals())
		case <-silence.C:
			return good, errSilent
		case <-starved.C:
			return good, errStarved
		case <-ctx.Done():
			return good, context.Cause(ctx)
		}
	}
}

// fed says that a message extends the lease, or begins the time in which one
// is to do so. A relay that is cut off goes on granting what is left of its
// own, which ends ever at the same moment.
func (w *Watcher) fed(ev event) bool {
	if ev.lease != nil && ev.lease.end.Sub(w.until) > w.f.every/16 {
		w.until = ev.lease.end
		return true
	}
	return ev.renew
}

// renewals is how many renewals there are to a lease. What a relay grants is
// at most what is left of its own, so that each level of a tree takes off what
// lies between two renewals: a relay's are close.
func (w *Watcher) renewals() time.Duration {
	if w.relay != nil {
		return 16
	}
	return 4
}

// newest replaces what waits in a channel of one slot; there is one sender.
func newest(c chan position, v position) {
	select {
	case <-c:
	default:
	}
	c <- v
}

// note publishes what a message brought.
func (w *Watcher) note(ev event) {
	if ev.applied {
		w.mu.Lock()
		first := w.epoch == ""
		w.epoch = w.f.epoch
		w.mu.Unlock()
		if first {
			w.whole.Store(true)
			close(w.synced)
		}
	}
	if ev.lease == nil {
		return
	}
	now := w.c.Now()
	old := w.lease.Load()
	w.offer(ev.lease)
	if !ev.server.IsZero() {
		w.clock.Store(&anchor{server: ev.server, local: now})
	}
	w.mu.Lock()
	was := w.lastErr
	w.lastErr = ""
	w.mu.Unlock()
	if was != "" || old == nil {
		w.c.Logger.Info("revocations are followed", "epoch", string(w.f.epoch), "revision", uint64(w.f.revision))
	}
}

// acknowledge tells what is in force once no decision runs on an older state.
// It has its own goroutine so that a long decision does not hold up the stream.
func (w *Watcher) acknowledge(ctx context.Context, applied <-chan position, out chan<- *pb.WatchRequest) error {
	if w.relay != nil {
		return w.relay.acknowledge(ctx, applied, out)
	}
	for {
		var at position
		select {
		case at = <-applied:
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := w.settle(ctx, at); err != nil {
			return err
		}
		select {
		case out <- &pb.WatchRequest{Message: &pb.WatchRequest_Ack{Ack: &pb.Ack{Revision: uint64(at.revision)}}}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// offer takes a lease when what it names is in force. Before that, a decision
// that began on an older state, and without a lease, could read of this one and
// think that it vouches for what it has seen.
func (w *Watcher) offer(l *lease) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.offered = l
	w.take()
}

// take takes the lease that is offered, if it can. The caller holds the mutex.
func (w *Watcher) take() {
	l := w.offered
	if l == nil || l.epoch != w.inForce.epoch || l.revision > w.inForce.revision {
		return
	}
	w.offered = nil
	if old := w.lease.Load(); old == nil || l.end.After(old.end) {
		w.lease.Store(l)
		w.f.log.ring() // renewals below may have waited for it
	}
}

// settle waits until nothing goes on that an older state than at let through.
func (w *Watcher) settle(ctx context.Context, at position) error {
	if err := w.c.Set.Settle(ctx); err != nil {
		return err
	}
	w.mu.Lock()
	w.inForce = at
	w.take()
	w.mu.Unlock()
	if w.c.Applied != nil {
		w.c.Applied(ctx)
	}
	return ctx.Err()
}

func receiveAll(ctx context.Context, p clientPipe, in chan<- *pb.WatchResponse) error {
	for {
		m, err := p.Recv()
		if err != nil {
			return fmt.Errorf("receiving: %w", err)
		}
		select {
		case in <- m:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func sendAll(ctx context.Context, p clientPipe, out <-chan *pb.WatchRequest) error {
	for {
		select {
		case m := <-out:
			// An error here is only io.EOF: Recv knows the reason.
			if p.Send(m) != nil {
				<-ctx.Done()
				return ctx.Err()
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// expire drops records by the upstream's clock, carried on by our monotonic
// one, but never before our own wall clock has reached it too: neither a clock
// that is wrong here nor one that is wrong there drops a record early.
func (w *Watcher) expire(ctx context.Context) {
	for sleep(ctx, expireEvery) == nil {
		a := w.clock.Load()
		if a == nil {
			continue
		}
		now := w.c.Now()
		at := a.server.Add(now.Sub(a.local))
		if now.Before(at) {
			at = now
		}
		w.c.Set.Expire(at)
		w.f.log.expire(at)
	}
}

// Trust says whether the Set may be relied on now. Safe and cheap on the check
// path: read it after Set.Begin, so that what it vouches for is not older than
// the state the decision is made on.
func (w *Watcher) Trust() revocation.Trust { return w.TrustFor(0) }

// TrustFor says whether the Set may be relied on now and for some time more,
// for who looks only so often.
func (w *Watcher) TrustFor(d time.Duration) revocation.Trust {
	if !w.whole.Load() {
		return revocation.Unknown
	}
	if w.lease.Load().valid(w.c.Now().Add(d)) {
		return revocation.Fresh
	}
	return revocation.Stale
}

// Status is a snapshot for health, logs and metrics.
type Status struct {
	Trust     revocation.Trust
	Epoch     revocation.Epoch
	Revision  revocation.Revision
	LeaseEnds time.Time // zero before the first lease
	LastError string    // why there is no stream; empty while there is a lease's
	Connects  int64     // streams opened so far
}

// Relied is nil while the state can be relied on, else why it cannot.
func (s Status) Relied() error {
	switch {
	case s.Trust == revocation.Fresh:
		return nil
	case s.LastError == "":
		return fmt.Errorf("revocations are %s: waiting for the upstream", s.Trust)
	default:
		return fmt.Errorf("revocations are %s: %s", s.Trust, s.LastError)
	}
}

// Status returns the watcher's state.
func (w *Watcher) Status() Status {
	s := Status{Trust: w.Trust(), Revision: w.c.Set.Revision(), Connects: w.connects.Load()}
	if l := w.lease.Load(); l != nil {
		s.LeaseEnds = l.end
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	s.Epoch, s.LastError = w.epoch, w.lastErr
	return s
}

// Synced is closed when the first snapshot is whole.
func (w *Watcher) Synced() <-chan struct{} { return w.synced }
