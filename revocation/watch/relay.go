package watch

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/tegata/tegata/revocation"
	pb "github.com/tegata/tegata/revocation/revocationpb"
)

// Relay is a Watcher that passes on what it hears: an Upstream over what it
// holds. Two rules keep the promise through it, and so through a tree of them:
//
//   - It acknowledges a revision when it has it in force itself and every
//     watcher below has acknowledged it or cannot trust any more.
//   - It grants no lease that could outlive its own, and only after what its
//     own lease names has been sent.
//
// Its own lease it gets for what it holds itself, so that a slow watcher below
// ends no other's lease. Leases that an earlier run of it granted have ended
// when that run's own has, for which whoever granted that waits.
type Relay struct {
	w   *Watcher
	up  *Upstream
	log *relayLog
}

// RelayConfig configures the lower half of a Relay.
type RelayConfig struct {
	Authorize func(ctx context.Context) (Identity, error) // as in UpstreamConfig
	Lease     time.Duration                               // the longest to grant; default 5 s, and never more than is granted
	MaxStream time.Duration                               // as in UpstreamConfig
}

// NewRelay checks the configuration. Logger and Now are the watcher's.
func NewRelay(w WatcherConfig, r RelayConfig) (*Relay, error) {
	watcher, err := NewWatcher(w)
	if err != nil {
		return nil, err
	}
	return newRelay(watcher, r)
}

func newRelay(w *Watcher, c RelayConfig) (*Relay, error) {
	r := &Relay{w: w, log: &relayLog{wake: make(chan struct{}, 1)}}
	up, err := NewUpstream(UpstreamConfig{
		Source: r.log, Authorize: c.Authorize, Lease: c.Lease, MaxStream: c.MaxStream,
		Now: w.c.Now, Logger: w.c.Logger, NewStore: true, parent: r.bound,
	})
	if err != nil {
		return nil, err
	}
	r.up = up
	w.relay, w.f.log = r, r.log
	return r, nil
}

// Watcher is the upper half, which also enforces.
func (r *Relay) Watcher() *Watcher { return r.w }

// Upstream is the lower half.
func (r *Relay) Upstream() *Upstream { return r.up }

// Register adds the service to a gRPC server.
func (r *Relay) Register(s grpc.ServiceRegistrar) { r.up.Register(s) }

// Run runs both halves until ctx ends and returns when their goroutines are gone.
func (r *Relay) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { _ = r.up.Run(ctx) }) // ends with ctx only
	return r.w.Run(ctx)
}

// bound is what a relay itself may rely on.
type bound struct {
	lease   *lease        // nil before the first
	longest time.Duration // that it is ever granted
	issuers []string      // all that it sees; empty means all
}

func (r *Relay) bound() bound {
	b := r.log.sees()
	b.lease = r.w.lease.Load()
	return b
}

// covers says that everything the lease names is in a state of that epoch and
// revision.
func (b bound) covers(epoch revocation.Epoch, head revocation.Revision) bool {
	return b.lease != nil && b.lease.epoch == epoch && b.lease.revision <= head
}

// tellEvery is how often a relay tells who is pending below it, and nothing
// else has changed.
const tellEvery = 100 * time.Millisecond

// acknowledge is the watcher's acknowledge for a relay.
func (r *Relay) acknowledge(ctx context.Context, applied <-chan position, out chan<- *pb.WatchRequest) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var held position
	var told *pb.Ack
	var when time.Time // it was told
	since := r.w.c.Now()
	pace := pacer{}
	for {
		ack, s := r.report(held, since)
		news := told == nil || ack.GetRevision() != told.GetRevision() || ack.GetHeld() != told.GetHeld()
		due := !proto.Equal(ack, told) && time.Since(when) >= tellEvery
		if held.epoch != "" && (news || due) {
			select {
			case out <- &pb.WatchRequest{Message: &pb.WatchRequest_Ack{Ack: ack}}:
			case <-ctx.Done():
				return ctx.Err()
			}
			told, when = ack, time.Now()
		}
		pause := tellEvery
		if !s.next.IsZero() {
			pause = min(pause, max(s.next.Sub(r.w.c.Now()), time.Millisecond))
		}
		timer.Reset(pause)
		select {
		case held = <-applied:
			since = r.w.c.Now()
			if err := r.w.settle(ctx, held); err != nil {
				return err
			}
		case <-s.changed:
			if err := pace.wait(ctx); err != nil {
				return err
			}
		case <-s.moved:
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// pacer keeps who looks at all watchers whenever one of them says something
// from doing so more than once a millisecond: the first is looked at at once,
// a thousand at the same time are looked at together.
type pacer struct{ last time.Time }

func (p *pacer) wait(ctx context.Context) error {
	if d := time.Millisecond - time.Since(p.last); d > 0 {
		if err := sleep(ctx, d); err != nil {
			return err
		}
	}
	p.last = time.Now()
	return nil
}

// report is what is to be told upstream of what is held since then.
func (r *Relay) report(held position, since time.Time) (*pb.Ack, standing) {
	s := r.up.standing(held, since)
	return &pb.Ack{Revision: uint64(min(s.floor, held.revision)), Held: uint64(held.revision), Below: below(sorted(s.outcome))}, s
}

// standing is how far an upstream's watchers are.
type standing struct {
	floor   revocation.Revision // nobody trusts anything older; 0 in another epoch
	outcome revocation.Outcome  // of what was asked for
	next    time.Time           // when that can change by itself; zero: it cannot
	changed <-chan struct{}
	moved   <-chan struct{} // the floor may have risen
}

func (u *Upstream) standing(at position, since time.Time) standing {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := u.c.Now()
	s := standing{changed: u.changed}
	s.outcome, s.next = u.ledger.outcome(at.revision, since, now)
	if u.epoch == at.epoch {
		var lowest *member
		s.floor, lowest = u.ledger.floor(u.ring.head, now)
		s.moved = lowest.moves()
	}
	return s
}

// relayLog is what a relay holds, as a Source. It lives as long as the relay
// does; after a restart a snapshot fills it. Its methods that the follower
// calls do nothing on nil.
type relayLog struct {
	mu      sync.Mutex
	epoch   revocation.Epoch
	head    revocation.Revision
	records []revocation.Record // in the order of their revisions
	next    []revocation.Record // of the snapshot that is loading
	issuers []string
	longest time.Duration
	swept   time.Time
	wake    chan struct{}
}

var errNothingYet = errors.New("this relay knows nothing yet")

// Head implements Source.
func (l *relayLog) Head(context.Context) (revocation.Epoch, revocation.Revision, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.epoch == "" {
		return "", 0, errNothingYet
	}
	return l.epoch, l.head, nil
}

// Since implements Source.
func (l *relayLog) Since(_ context.Context, after revocation.Revision, limit int) ([]revocation.Record, revocation.Revision, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.epoch == "" {
		return nil, 0, errNothingYet
	}
	rest := l.records[search(l.records, after+1):]
	if len(rest) > limit {
		return slices.Clone(rest[:limit]), rest[limit-1].Revision, nil
	}
	return slices.Clone(rest), max(after, l.head), nil
}

// Committed implements Source.
func (l *relayLog) Committed() <-chan struct{} { return l.wake }

func search(records []revocation.Record, rev revocation.Revision) int {
	i, _ := slices.BinarySearchFunc(records, rev, byRevision)
	return i
}

func byRevision(r revocation.Record, rev revocation.Revision) int {
	switch {
	case r.Revision < rev:
		return -1
	case r.Revision > rev:
		return 1
	}
	return 0
}

func sortRecords(records []revocation.Record) {
	slices.SortStableFunc(records, func(a, b revocation.Record) int { return byRevision(a, b.Revision) })
}

// opened notes what the upstream grants and, before a snapshot, drops what is
// left of one that was not finished.
func (l *relayLog) opened(longest time.Duration) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.longest, l.next = longest, nil
}

func (l *relayLog) load(records []revocation.Record) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next = append(l.next, records...)
}

// begin makes the snapshot whole.
func (l *relayLog) begin(epoch revocation.Epoch, head revocation.Revision, issuers []string) {
	if l == nil {
		return
	}
	l.mu.Lock()
	sortRecords(l.next)
	l.epoch, l.head, l.records, l.next, l.issuers = epoch, head, l.next, nil, issuers
	l.mu.Unlock()
	l.ring()
}

func (l *relayLog) append(records []revocation.Record, head revocation.Revision) {
	if l == nil {
		return
	}
	l.mu.Lock()
	fresh := slices.Clone(records)
	sortRecords(fresh)
	l.records, l.head = append(l.records, fresh...), head
	l.mu.Unlock()
	l.ring()
}

// ring wakes the lower half.
func (l *relayLog) ring() {
	if l == nil {
		return
	}
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// sweepEvery is how often a relay goes through all that it holds.
const sweepEvery = 30 * time.Second

// expire drops what could match no living token.
func (l *relayLog) expire(now time.Time) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.swept) < sweepEvery {
		return
	}
	l.swept = now
	var kept []revocation.Record
	for _, r := range l.records {
		if r.ExpiresAt.IsZero() || r.ExpiresAt.After(now) {
			kept = append(kept, r)
		}
	}
	l.records = kept
}

func (l *relayLog) sees() bound {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bound{longest: l.longest, issuers: l.issuers}
}
