package watch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/tegata/tegata/revocation"
	pb "github.com/tegata/tegata/revocation/revocationpb"
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
}

// Upstream serves tegata.revocation.v1.Revocations from a Source. One
// goroutine tails the source into a ring; each stream has a reader and a
// writer with its own cursor, and blocks nobody but itself.
type Upstream struct {
	c    UpstreamConfig
	kick chan struct{} // one slot: poll now
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
	stopped bool
	calls   sync.WaitGroup // every goroutine of every call
}

const (
	pollEvery   = 250 * time.Millisecond
	openTimeout = 10 * time.Second
	readers     = 4
	maxMembers  = 100_000
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
		read:    make(chan struct{}, readers),
		ledger:  ledger{members: make(map[memberKey]*member)},
		streams: make(map[*stream]struct{}),
		changed: make(chan struct{}),
		ready:   make(chan struct{}),
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
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	failing := false
	for {
		err := u.poll(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil && !failing {
			u.c.Logger.Error("revocation log unreadable: granting no leases", "error", err)
		} else if err == nil && failing {
			u.c.Logger.Info("revocation log readable again")
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return nil
		case <-u.c.Source.Committed():
		case <-u.kick:
		case <-tick.C:
		}
	}
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

// announce lets waiters look again. The caller holds the mutex.
func (u *Upstream) announce() {
	close(u.changed)
	u.changed = make(chan struct{})
}

// Pending names the watchers that had not yet applied a revision when a wait ended.
type Pending struct {
	Revision revocation.Revision
	Watchers []string

	// Serving names watchers without a lease that go on accepting tokens by
	// their configuration: nothing is promised for them and no wait helps.
	Serving []string
}

// unread is how Pending says that this upstream itself has not seen a revision.
const unread = "(this upstream has not read the revision)"

// Await returns when every watcher has acknowledged rev or its lease has
// ended; when ctx ends first it returns what is still pending and ctx's error.
// After a start it waits out the leases of the run before (see NewStore).
func (u *Upstream) Await(ctx context.Context, rev revocation.Revision) (Pending, error) {
	// The log is to be looked at once more: rev may be of an epoch that has
	// just begun, and the head of the one before may be above it.
	u.mu.Lock()
	since := u.begun
	u.mu.Unlock()
	for {
		p, next, changed, stopped := u.look(rev, since)
		if len(p.Watchers) == 0 {
			return p, nil
		}
		if stopped {
			return p, ErrStopped
		}
		wait := pollEvery
		if !next.IsZero() {
			wait = max(next.Sub(u.c.Now()), time.Millisecond)
		}
		timer := time.NewTimer(wait)
		select {
		case <-changed:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			p, _, _, _ := u.look(rev, since)
			return p, ctx.Err()
		}
		timer.Stop()
	}
}

func (u *Upstream) look(rev revocation.Revision, since uint64) (p Pending, next time.Time, changed <-chan struct{}, stopped bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.done <= since {
		select {
		case u.kick <- struct{}{}:
		default:
		}
	}
	if u.done <= since || u.ring.head < rev {
		return Pending{Revision: rev, Watchers: []string{unread}}, next, u.changed, u.stopped
	}
	p, next = u.ledger.pending(rev, u.c.Now())
	return p, next, u.changed, u.stopped
}

// pipe is one stream as the upstream sees it; server.go makes it from gRPC.
// Recv and Send each have one caller at a time and end when the call's context
// does.
type pipe interface {
	Recv() (*pb.WatchRequest, error)
	Send(*pb.WatchResponse) error
}

// serve runs one call. Its reader may outlive it by the moment it takes the
// transport to end the call; Run waits for that too.
func (u *Upstream) serve(ctx context.Context, id Identity, p pipe) error {
	if !u.enter() {
		return errAgain
	}
	defer u.calls.Done()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	first := make(chan *pb.WatchRequest)
	begin := make(chan *stream)
	u.calls.Go(func() { cancel(u.reader(ctx, p, first, begin)) })

	open, err := receiveOpen(ctx, first)
	if err != nil {
		return err
	}
	st, err := u.open(ctx, cancel, id, open)
	if err != nil {
		return err
	}
	defer u.close(st)
	select {
	case begin <- st:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return u.writer(ctx, p, st)
}

func (u *Upstream) enter() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.stopped {
		return false
	}
	u.calls.Add(1)
	return true
}

func receiveOpen(ctx context.Context, first <-chan *pb.WatchRequest) (*pb.Open, error) {
	t := time.NewTimer(openTimeout)
	defer t.Stop()
	select {
	case m := <-first:
		if open := m.GetOpen(); open != nil {
			return open, nil
		}
		return nil, fmt.Errorf("%w: the first message is not open", errBroken)
	case <-t.C:
		return nil, fmt.Errorf("%w: no open within %s", errBroken, openTimeout)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// reader hands over the first message, then feeds the stream, until the call
// ends; it returns why.
func (u *Upstream) reader(ctx context.Context, p pipe, first chan<- *pb.WatchRequest, begin <-chan *stream) error {
	m, err := p.Recv()
	if err != nil {
		return err
	}
	select {
	case first <- m:
	case <-ctx.Done():
		return ctx.Err()
	}
	var st *stream
	select {
	case st = <-begin:
	case <-ctx.Done():
		return ctx.Err()
	}
	for {
		m, err := p.Recv()
		if err != nil {
			return err
		}
		if err := u.receive(st, m); err != nil {
			return err
		}
	}
}

func (u *Upstream) receive(st *stream, m *pb.WatchRequest) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if _, live := u.streams[st]; !live {
		return errAgain
	}
	acked, err := st.receive(m, u.ring.head, u.c.Now())
	if err != nil {
		return err
	}
	if acked {
		u.announce()
	}
	st.poke()
	return nil
}

// open checks what the watcher asks for and enters it in the books.
func (u *Upstream) open(ctx context.Context, cancel func(error), id Identity, o *pb.Open) (*stream, error) {
	stale, err := checkOpen(o)
	if err != nil {
		return nil, err
	}
	issuers, err := visible(id.Issuers, o.GetIssuers())
	if err != nil {
		return nil, err
	}
	select {
	case <-u.ready:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if err := u.notAhead(ctx, o); err != nil {
		return nil, err
	}

	u.mu.Lock()
	defer u.mu.Unlock()
	if u.stopped {
		return nil, errAgain
	}
	if len(u.ledger.members) >= maxMembers {
		return nil, errFull
	}
	st := &stream{epoch: u.epoch, filter: issuers, wake: make(chan struct{}, 1), cancel: cancel}
	if o.GetEpoch() == string(u.epoch) {
		st.whole, st.cursor = true, revocation.Revision(o.GetRevision())
	}
	m, old := u.ledger.join(memberKey{name: id.Name, instance: string(o.GetInstance())}, st, st.cursor)
	m.name, m.onStale = id.Name+"/"+o.GetNode(), stale
	st.member = m
	if old != nil {
		delete(u.streams, old)
		old.cancel(errAgain)
	}
	u.streams[st] = struct{}{}
	u.announce()
	return st, nil
}

// notAhead refuses a watcher that has seen more of this epoch than the store has.
func (u *Upstream) notAhead(ctx context.Context, o *pb.Open) error {
	u.mu.Lock()
	epoch, head := u.epoch, u.ring.head
	u.mu.Unlock()
	if o.GetEpoch() != string(epoch) || o.GetRevision() <= uint64(head) {
		return nil
	}
	now, head, err := u.c.Source.Head(ctx)
	if err != nil {
		return fmt.Errorf("reading the log's head: %w", err)
	}
	if now != epoch {
		return errAgain
	}
	if o.GetRevision() > uint64(head) {
		return errAhead
	}
	return nil
}

func checkOpen(o *pb.Open) (onStale string, err error) {
	stale, ok := onStaleOf(o.GetOnStale())
	switch {
	case !ok:
		return "", fmt.Errorf("%w: on_stale %d", errBroken, o.GetOnStale())
	case len(o.GetNode()) > maxName, len(o.GetInstance()) > maxInstance, len(o.GetEpoch()) > maxEpoch, len(o.GetIssuers()) > maxIssuers:
		return "", fmt.Errorf("%w: open is too large", errBroken)
	}
	for _, iss := range o.GetIssuers() {
		if iss == "" || len(iss) > maxIssuer {
			return "", fmt.Errorf("%w: issuer of %d bytes", errBroken, len(iss))
		}
	}
	return stale, nil
}

// visible is what is wanted of what may be seen; nil is everything.
func visible(may, want []string) (map[string]bool, error) {
	if len(want) == 0 {
		want, may = may, nil
	}
	if len(want) == 0 {
		return nil, nil
	}
	allowed := make(map[string]bool, len(may))
	for _, iss := range may {
		allowed[iss] = true
	}
	out := make(map[string]bool, len(want))
	for _, iss := range want {
		if len(may) == 0 || allowed[iss] {
			out[iss] = true
		}
	}
	if len(out) == 0 {
		return nil, errIssuers
	}
	return out, nil
}

func (u *Upstream) close(st *stream) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.streams, st)
	u.ledger.leave(st.member, st, u.c.Now())
	u.announce()
}

// writer sends what there is to send until the call ends.
func (u *Upstream) writer(ctx context.Context, p pipe, st *stream) error {
	age := time.NewTimer(u.c.MaxStream)
	defer age.Stop()
	beat := time.NewTicker(u.c.Lease / 4)
	defer beat.Stop()
	err := p.Send(&pb.WatchResponse{Message: &pb.WatchResponse_Opened{Opened: &pb.Opened{
		Epoch: string(st.epoch), Snapshot: !st.whole, LeaseMillis: u.c.Lease.Milliseconds(),
	}}})
	if err != nil {
		return err
	}
	if !st.whole {
		if err := u.snapshot(ctx, p, st); err != nil {
			return err
		}
	}
	for {
		if err := u.flush(ctx, p, st); err != nil {
			return err
		}
		select {
		case <-st.wake:
		case <-beat.C:
			if err := p.Send(heartbeat(st.cursor)); err != nil {
				return err
			}
		case <-age.C:
			return errAgain
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func heartbeat(at revocation.Revision) *pb.WatchResponse {
	return &pb.WatchResponse{Message: &pb.WatchResponse_Heartbeat{Heartbeat: &pb.Heartbeat{Revision: uint64(at)}}}
}

// flush sends until there is nothing more.
func (u *Upstream) flush(ctx context.Context, p pipe, st *stream) error {
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		u.mu.Lock()
		var msg *pb.WatchResponse
		read := false
		_, live := u.streams[st]
		if live {
			msg, read = st.next(&u.ring, grant{now: u.c.Now(), lease: u.c.Lease, polled: u.polled})
		}
		u.mu.Unlock()
		switch {
		case !live:
			return errAgain
		case read:
			if err := u.catchUp(ctx, p, st); err != nil {
				return err
			}
		case msg == nil:
			return nil
		default:
			if err := p.Send(msg); err != nil {
				return err
			}
		}
	}
}

// pageFor reads for a stream, a few streams at a time, so that many slow ones
// cannot starve the tail of the source.
func (u *Upstream) pageFor(ctx context.Context, st *stream, after revocation.Revision) ([]*pb.Record, revocation.Revision, error) {
	select {
	case u.read <- struct{}{}:
		defer func() { <-u.read }()
	case <-ctx.Done():
		return nil, 0, context.Cause(ctx)
	}
	records, upto, err := u.page(ctx, st.epoch, after)
	return filter(encode(records), st.filter), upto, err
}

// snapshot sends everything there is. Nothing is copied aside: it reads the
// source page by page, at the watcher's pace.
func (u *Upstream) snapshot(ctx context.Context, p pipe, st *stream) error {
	at := revocation.Revision(0)
	for {
		records, upto, err := u.pageFor(ctx, st, at)
		if err != nil {
			return err
		}
		for _, part := range cut(records) {
			err := p.Send(&pb.WatchResponse{Message: &pb.WatchResponse_SnapshotChunk{SnapshotChunk: &pb.SnapshotChunk{Records: part}}})
			if err != nil {
				return err
			}
		}
		u.mu.Lock()
		done := upto >= u.ring.head
		if !done && upto == at {
			u.mu.Unlock()
			return fmt.Errorf("log ends at revision %d: %w", at, errAgain)
		}
		at = upto
		if done {
			st.whole, st.cursor = true, at
		}
		u.mu.Unlock()
		if done {
			return p.Send(&pb.WatchResponse{Message: &pb.WatchResponse_SnapshotEnd{SnapshotEnd: &pb.SnapshotEnd{
				Epoch: string(st.epoch), Revision: uint64(at),
			}}})
		}
	}
}

// catchUp sends one page from the source to a stream that has fallen off the
// ring. What expired meanwhile is missing there, and could match nothing.
func (u *Upstream) catchUp(ctx context.Context, p pipe, st *stream) error {
	u.mu.Lock()
	at := st.cursor
	u.mu.Unlock()
	records, upto, err := u.pageFor(ctx, st, at)
	if err != nil {
		return err
	}
	if upto == at {
		return fmt.Errorf("nothing after revision %d in the log: %w", at, errAgain)
	}
	for _, d := range deltas(at, records, upto) {
		u.mu.Lock()
		st.cursor = revocation.Revision(d.GetDelta().GetRevision())
		u.mu.Unlock()
		if err := p.Send(d); err != nil {
			return err
		}
	}
	return nil
}
