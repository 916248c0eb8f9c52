package watch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/tegata/tegata/revocation"
)

// Source is the durable log that an Upstream publishes. sqlstore satisfies it.
type Source interface {
	// Head returns the epoch and the newest committed revision.
	Head(ctx context.Context) (revocation.Epoch, revocation.Revision, error)
	// Since returns up to limit records with a revision above after, in
	// revision order, and the revision up to which the answer is complete.
	Since(ctx context.Context, after revocation.Revision, limit int) ([]revocation.Record, revocation.Revision, error)
	// Committed receives (without blocking the committer, newest wins) after
	// each commit that wrote records. Polling is the truth; this is a wake-up.
	Committed() <-chan struct{}
}

// Identity is an authenticated watcher.
type Identity struct {
	Name    string   // SPIFFE id, or client_id
	Issuers []string // issuers it may see; empty means all
}

// UpstreamConfig configures an Upstream.
type UpstreamConfig struct {
	Source    Source
	Authorize func(ctx context.Context) (Identity, error) // from the stream's peer and metadata; gRPC status errors
	Lease     time.Duration                               // how long a watcher may trust without renewing; default 5 s
	Now       func() time.Time                            // default time.Now
	Logger    *slog.Logger                                // default slog.DiscardHandler

	// NewStore says that this process created the store: nobody can hold a
	// lease of an earlier run, so that the first Lease after the start need
	// not be waited out. Set it wrongly and Await answers too early.
	NewStore bool

	// MaxStream ends each stream after that time, so that the watcher opens
	// anew and Authorize is asked again; it resumes at once. Default 1 h.
	MaxStream time.Duration

	// Replicas is where upstreams that share the Source's store find each
	// other; nil if there is no other. Name is ours, for operators.
	Replicas Replicas
	Name     string
	Random   io.Reader // names the replica's row; default crypto/rand

	// parent bounds a relay's promises; nil for who reads the log itself.
	parent func() bound
}

// Upstream serves tegata.revocation.v1.Revocations from a Source. One
// goroutine tails the source into a ring; each stream has a reader and a
// writer with its own cursor, and blocks nobody but itself.
type Upstream struct {
	c    UpstreamConfig
	kick chan struct{} // one slot: poll now
	ask  chan struct{} // one slot: ask the other replicas now
	read chan struct{} // holds a slot per read of the source on behalf of a stream

	mu      sync.Mutex // guards all below
	epoch   revocation.Epoch
	ring    ring
	ledger  ledger
	polled  time.Time // start of the last good poll
	begun   uint64    // polls begun
	done    uint64    // the number of the last good one
	streams map[*stream]struct{}
	changed chan struct{} // closed and renewed when a wait may have ended
	ready   chan struct{} // closed by the first good poll
	peers   peers
	issuers []string // of a relay: all that it sees itself; empty means all
	stopped bool
	calls   sync.WaitGroup // every goroutine of every call
}

const (
	pollEvery   = 250 * time.Millisecond
	pollOthers  = 50 * time.Millisecond // while others commit to the same log
	openTimeout = 10 * time.Second
	readers     = 4
	maxMembers  = 100_000

	maxObservers = 1000
)

// Errors that end a stream; server.go gives them their gRPC codes.
var (
	errBroken  = errors.New("contract broken")
	errAhead   = errors.New("the watcher has seen a revision that this store does not have; the store went back in time and needs a new epoch")
	errIssuers = errors.New("none of the issuers asked for may be seen")
	errAgain   = errors.New("reconnect and resume")
	errFull    = errors.New("too many watchers")
)

// ErrStopped is what a wait ends with when the Upstream stops.
var ErrStopped = errors.New("revocation upstream has stopped")

// NewUpstream checks the configuration.
func NewUpstream(c UpstreamConfig) (*Upstream, error) {
	if c.Source == nil || c.Authorize == nil {
		return nil, errors.New("watch: Source and Authorize are required")
	}
	if c.Lease == 0 {
		c.Lease = 5 * time.Second
	}
	if c.Lease < 100*time.Millisecond || c.Lease > maxLease {
		return nil, fmt.Errorf("watch: lease of %s is not between 100ms and %s", c.Lease, maxLease)
	}
	if c.MaxStream <= 0 {
		c.MaxStream = time.Hour
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	u := &Upstream{
		c:       c,
		kick:    make(chan struct{}, 1),
		ask:     make(chan struct{}, 1),
		peers:   peers{others: make(map[string]other)},
		read:    make(chan struct{}, readers),
		ledger:  ledger{members: make(map[memberKey]*member)},
		streams: make(map[*stream]struct{}),
		changed: make(chan struct{}),
		ready:   make(chan struct{}),
	}
	if c.Replicas != nil {
		id, err := nameReplica(c.Random)
		if err != nil {
			return nil, err
		}
		u.peers.own = revocation.Replica{ID: id, Name: c.Name, Lease: c.Lease}
	}
	if !c.NewStore {
		u.ledger.grace = c.Now().Add(c.Lease)
	}
	return u, nil
}

// Run tails the source until ctx ends, then closes all streams and returns
// when the last is gone. An unreadable source is logged and tried again; no
// lease is granted beyond the last time it could be read.
func (u *Upstream) Run(ctx context.Context) error {
	defer u.stop()
	if u.c.Replicas != nil {
		told := make(chan struct{})
		go func() { u.replicate(ctx); close(told) }()
		defer func() { <-told }()
	}
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	failing := false
	for {
		err := u.poll(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, errNothingYet) {
			err = nil // a relay that starts: nobody is served yet
		}
		if err != nil && !failing {
			u.c.Logger.Error("revocation log unreadable: granting no leases", "error", err)
		} else if err == nil && failing {
			u.c.Logger.Info("revocation log readable again")
		}
		failing = err != nil
		tick.Reset(u.pollPause())
		select {
		case <-ctx.Done():
			return nil
		case <-u.c.Source.Committed():
		case <-u.kick:
		case <-tick.C:
		}
	}
}

// pollPause is how soon to look at the log again if nothing wakes us: what
// other replicas commit does not, and whoever revoked there waits for us.
func (u *Upstream) pollPause() time.Duration {
	if u.c.Replicas == nil || u.isAlone(u.c.Now()) {
		return pollEvery
	}
	return pollOthers
}

func (u *Upstream) stop() {
	u.mu.Lock()
	u.stopped = true
	for st := range u.streams {
		st.cancel(errAgain)
	}
	u.announce()
	u.mu.Unlock()
	u.calls.Wait()
}

// poll brings the ring up to the source's head.
func (u *Upstream) poll(ctx context.Context) error {
	u.mu.Lock()
	u.begun++
	round := u.begun
	u.mu.Unlock()
	began := u.c.Now()
	epoch, head, err := u.c.Source.Head(ctx)
	if err != nil {
		return fmt.Errorf("reading the log's head: %w", err)
	}
	u.narrow()
	at, err := u.meet(epoch, head)
	if err != nil {
		return err
	}
	for at < head {
		records, upto, err := u.page(ctx, epoch, at)
		if err != nil {
			return err
		}
		if upto == at {
			return fmt.Errorf("log ends at revision %d, its head is %d", at, head)
		}
		encoded := encode(records)
		u.mu.Lock()
		u.ring.push(encoded, upto)
		u.wakeAll()
		u.mu.Unlock()
		at = upto
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.polled, u.done = began, round
	u.announce()
	u.ledger.sweep(began)
	select {
	case <-u.ready:
	default:
		close(u.ready)
	}
	for st := range u.streams {
		if len(st.renews) > 0 { // it may have waited for a fresh look
			st.poke()
		}
	}
	return nil
}

// narrow follows what a relay may see: watchers that saw something else start
// over.
func (u *Upstream) narrow() {
	if u.c.parent == nil {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if issuers := u.c.parent().issuers; !slices.Equal(issuers, u.issuers) {
		u.issuers = issuers
		for st := range u.streams {
			st.cancel(errAgain)
		}
	}
}

// meet compares the source's head with ours, starting over in a new epoch,
// and returns where to read on.
func (u *Upstream) meet(epoch revocation.Epoch, head revocation.Revision) (revocation.Revision, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if epoch == "" || len(epoch) > maxEpoch {
		return 0, fmt.Errorf("epoch of %d bytes", len(epoch))
	}
	if epoch != u.epoch {
		if u.epoch != "" {
			u.c.Logger.Warn("revocation log has a new epoch: every watcher starts over", "epoch", string(epoch))
		}
		if u.epoch != "" || !u.c.NewStore {
			u.startOver()
		}
		u.epoch = epoch
		u.ring.reset(head)
		u.ledger.forget()
		for st := range u.streams {
			st.cancel(errAgain)
		}
		u.announce()
	}
	if head < u.ring.head {
		return 0, fmt.Errorf("revision stepped back from %d to %d within epoch %q", u.ring.head, head, epoch)
	}
	return u.ring.head, nil
}

// startOver is what else a new epoch means among replicas: the store may have
// lost the row of one that has given leases by it, up to now. The same may have
// happened before the first look, however long ago we started. The caller holds
// the mutex.
func (u *Upstream) startOver() {
	if u.c.Replicas == nil {
		return
	}
	if end := u.c.Now().Add(u.c.Lease); end.After(u.ledger.grace) {
		u.ledger.grace = end
	}
}

// page reads the records after a revision and makes sure that they are of
// this epoch.
func (u *Upstream) page(ctx context.Context, epoch revocation.Epoch, after revocation.Revision) ([]revocation.Record, revocation.Revision, error) {
	records, upto, err := u.c.Source.Since(ctx, after, maxRecords)
	if err != nil {
		return nil, 0, fmt.Errorf("reading the log: %w", err)
	}
	now, _, err := u.c.Source.Head(ctx)
	if err != nil {
		return nil, 0, fmt.Errorf("reading the log's head: %w", err)
	}
	if now != epoch {
		return nil, 0, fmt.Errorf("epoch changed while the log was read: %w", errAgain)
	}
	if upto < after || (upto == after && len(records) > 0) {
		return nil, 0, fmt.Errorf("log answers up to revision %d when asked after %d", upto, after)
	}
	return records, upto, nil
}

// wakeAll tells the writers to look again. The caller holds the mutex.
func (u *Upstream) wakeAll() {
	for st := range u.streams {
		st.poke()
	}
}

func (s *stream) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// announce lets all waiters look again, whatever has changed but an
// acknowledgement (member.tell). The caller holds the mutex.
func (u *Upstream) announce() {
	close(u.changed)
	u.changed = make(chan struct{})
}

// unread is how an Outcome says that this upstream itself has not seen a revision.
const unread = "(this upstream has not read the revision)"

// Await returns when every watcher has acknowledged rev or its lease has
// ended; when ctx ends first it returns what is still pending and ctx's error.
// With an error, somebody is pending. After a start it waits out the leases of
// the run before (see NewStore).
func (u *Upstream) Await(ctx context.Context, rev revocation.Revision) (revocation.Outcome, error) {
	w := u.wait(rev)
	for {
		ended := ctx.Err() != nil
		o, s := u.look(w, ended)
		switch {
		case len(o.Pending) == 0:
			return sorted(o), nil
		case ended:
			return sorted(o), ctx.Err()
		case s.stopped:
			o, _ = u.look(w, true)
			return sorted(o), ErrStopped
		}
		pause := pollEvery
		if !s.next.IsZero() {
			pause = max(s.next.Sub(u.c.Now()), time.Millisecond)
		}
		if w.others {
			pause = min(pause, max(w.again.Sub(u.c.Now()), time.Millisecond))
		}
		timer := time.NewTimer(pause)
		select {
		case <-s.changed:
		case <-s.moved:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// Past waits until a revision above rev has been read from the log, or the log
// has another epoch, and returns the newest. It ends with ErrStopped when the
// Upstream stops.
func (u *Upstream) Past(ctx context.Context, in revocation.Epoch, rev revocation.Revision) (revocation.Epoch, revocation.Revision, error) {
	for {
		u.mu.Lock()
		epoch, head, changed, stopped := u.epoch, u.ring.head, u.changed, u.stopped
		u.mu.Unlock()
		switch {
		case epoch != "" && (epoch != in || head > rev):
			return epoch, head, nil
		case stopped:
			return epoch, head, ErrStopped
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return epoch, head, ctx.Err()
		}
	}
}

// sight is when a look at the books can find something else.
type sight struct {
	changed <-chan struct{} // anything but an acknowledgement
	moved   <-chan struct{} // who is waited for has acknowledged; nil if nobody
	next    time.Time       // by itself; zero if it cannot
	stopped bool
}

// wait is what one Await waits for.
type wait struct {
	rev   revocation.Revision
	round uint64    // polls begun before it
	since time.Time // when it began

	survey uint64        // of the other replicas, begun before it
	others bool          // it waits for one of them
	again  time.Time     // when they are asked next
	asked  time.Duration // how long after that
}

// wait begins one. The log is to be looked at once more: rev may be of an epoch
// that has just begun, and the head of the one before may be above it. So are
// the other replicas: one may have come.
func (u *Upstream) wait(rev revocation.Revision) *wait {
	u.mu.Lock()
	defer u.mu.Unlock()
	return &wait{rev: rev, round: u.begun, survey: u.peers.surveys.begun, since: u.c.Now(), asked: surveyFirst}
}

// look says how far a wait is. While a watcher is pending it names that one
// alone, but for the whole outcome.
func (u *Upstream) look(w *wait, whole bool) (o revocation.Outcome, s sight) {
	u.mu.Lock()
	defer u.mu.Unlock()
	s.changed, s.stopped = u.changed, u.stopped
	now := u.c.Now()
	if m := u.ledger.pending(w.rev, now); m != nil && !whole {
		o.Pending, s.next, s.moved = []string{m.name}, m.leaseEnd, m.moves()
	} else {
		o, s.next = u.ledger.outcome(w.rev, w.since, now)
	}
	if u.done <= w.round {
		select {
		case u.kick <- struct{}{}:
		default:
		}
	}
	if u.done <= w.round || u.ring.head < w.rev {
		o.Pending, s.next = append(o.Pending, unread), time.Time{}
	}
	if u.c.Replicas != nil {
		u.lookAround(w, &o)
	}
	return o, s
}

// unasked is how an Outcome says that other replicas may be there.
const unasked = "(other replicas have not been asked)"

// lookAround adds what the other replicas say, and has them asked again if that
// does not suffice. The caller holds the mutex.
func (u *Upstream) lookAround(w *wait, o *revocation.Outcome) {
	asked := &u.peers.surveys
	w.others = u.peers.outcome(o, u.epoch, w.since)
	if asked.done <= w.survey {
		o.Pending, w.others = append(o.Pending, unasked), true
	}
	now := u.c.Now()
	if !w.others || now.Before(w.again) {
		return
	}
	w.again, w.asked = now.Add(w.asked), min(2*w.asked, surveyLast)
	asked.asked = asked.begun + 1
	select {
	case u.ask <- struct{}{}:
	default:
	}
}
