package watch

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/tegata/tegata/revocation"
	pb "github.com/tegata/tegata/revocation/revocationpb"
)

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
	if !u.current(st) {
		return errAgain
	}
	acked, err := st.receive(m, u.ring.head, u.c.Now())
	if err != nil {
		return err
	}
	if acked {
		st.member.tell()
	}
	st.poke()
	return nil
}

// current says that a stream is open, and of this epoch: one of the epoch before
// is about to end, and what is still said on it has numbers of another history.
// The caller holds the mutex.
func (u *Upstream) current(st *stream) bool {
	_, open := u.streams[st]
	return open && st.epoch == u.epoch
}

// open checks what the watcher asks for and enters it in the books.
func (u *Upstream) open(ctx context.Context, cancel func(error), id Identity, o *pb.Open) (*stream, error) {
	stale, err := checkOpen(o)
	if err != nil {
		return nil, err
	}
	if err := u.await(ctx); err != nil {
		return nil, err
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
	issuers, err := u.visible(id.Issuers, o.GetIssuers())
	if err != nil {
		return nil, err
	}
	st := &stream{epoch: u.epoch, filter: issuers, wake: make(chan struct{}, 1), cancel: cancel}
	if o.GetEpoch() == string(u.epoch) {
		st.whole, st.cursor = true, revocation.Revision(o.GetRevision())
	}
	holds := claim{acked: st.cursor, held: st.cursor}
	if o.GetRelay() {
		holds.acked = 0 // what is below it, it has yet to say
	}
	if o.GetObserver() {
		return st, u.observe(st, id, o)
	}
	m, old := u.ledger.join(memberKey{name: id.Name, instance: string(o.GetInstance())}, st, holds, u.c.Now())
	m.name, m.onStale, m.relay = id.Name+"/"+o.GetNode(), stale, o.GetRelay()
	st.member = m
	if old != nil {
		delete(u.streams, old)
		old.cancel(errAgain)
	}
	u.streams[st] = struct{}{}
	u.announce()
	return st, nil
}

// observe enters a stream that enforces nothing in no book: no revocation waits
// for it. The caller holds the mutex.
func (u *Upstream) observe(st *stream, id Identity, o *pb.Open) error {
	n := 0
	for other := range u.streams {
		if other.member.observer {
			n++
		}
	}
	if n >= maxObservers {
		return fmt.Errorf("%w: %d observers", errFull, n)
	}
	st.member = &member{name: id.Name + "/" + o.GetNode(), observer: true, acked: st.cursor, held: st.cursor, stream: st}
	u.streams[st] = struct{}{}
	return nil
}

// await waits for the first look at the log. A relay has none yet while it
// knows nothing itself: another upstream may.
func (u *Upstream) await(ctx context.Context) error {
	select {
	case <-u.ready:
		return nil
	default:
	}
	if u.c.parent != nil {
		return errAgain
	}
	select {
	case <-u.ready:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
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
		if u.c.parent != nil {
			return errAgain // a relay is behind, which is no wonder
		}
		return errAhead
	}
	return nil
}

func checkOpen(o *pb.Open) (onStale string, err error) {
	stale, ok := onStaleOf(o.GetOnStale())
	switch {
	case o.GetObserver() && (o.GetRelay() || stale != deny):
		return "", fmt.Errorf("%w: an observer neither relays nor accepts", errBroken)
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

// visible is what is wanted of what may be seen, by the watcher and by
// ourselves; nil is everything. The caller holds the mutex.
func (u *Upstream) visible(may, want []string) (map[string]bool, error) {
	if len(u.issuers) > 0 {
		both, err := visible(u.issuers, may)
		if err != nil {
			return nil, err
		}
		may = slices.Collect(maps.Keys(both))
	}
	return visible(may, want)
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
	if st.member.observer {
		return
	}
	u.ledger.leave(st.member, st, u.c.Now())
	u.announce()
}

// writer sends what there is to send until the call ends.
func (u *Upstream) writer(ctx context.Context, p pipe, st *stream) error {
	age := time.NewTimer(u.c.MaxStream)
	defer age.Stop()
	beat := time.NewTicker(u.lease() / 4)
	defer beat.Stop()
	if err := u.greet(ctx, p, st); err != nil {
		return err
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

// greet says where a stream begins, and sends a snapshot if it needs one.
func (u *Upstream) greet(ctx context.Context, p pipe, st *stream) error {
	err := p.Send(&pb.WatchResponse{Message: &pb.WatchResponse_Opened{Opened: &pb.Opened{
		Epoch: string(st.epoch), Snapshot: !st.whole, LeaseMillis: u.lease().Milliseconds(),
		Issuers: slices.Sorted(maps.Keys(st.filter)),
	}}})
	if err != nil || st.whole {
		return err
	}
	return u.snapshot(ctx, p, st)
}

// lease is the longest that is granted: a relay grants no longer than it is
// granted, so that its watchers renew as often as that needs.
func (u *Upstream) lease() time.Duration {
	if u.c.parent == nil {
		return u.c.Lease
	}
	if longest := u.c.parent().longest; longest > 0 {
		return min(u.c.Lease, longest)
	}
	return u.c.Lease
}

// grant is what may be promised now. The caller holds the mutex.
func (u *Upstream) grant() grant {
	g := grant{now: u.c.Now(), lease: u.lease(), polled: u.polled}
	if u.c.parent != nil {
		own := u.c.parent()
		g.own = &own
	}
	if u.c.Replicas != nil {
		// A log that was read before we were there for the others does not count.
		g.limit, g.withheld = u.peers.lease, u.peers.lease == nil || !u.polled.After(u.peers.since)
	}
	return g
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
		live := u.current(st)
		if live {
			msg, read = st.next(&u.ring, u.grant())
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
