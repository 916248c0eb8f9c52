package watch

import (
	"fmt"
	"time"

	"github.com/tegata/tegata/revocation"
	pb "github.com/tegata/tegata/revocation/revocationpb"
)

// stream is an upstream's side of one Watch call: a cursor into the ring and
// the renewals that wait. It is a pure state machine; the Upstream's mutex
// guards it, but for what its writer goroutine alone uses.
type stream struct {
	member *member
	epoch  revocation.Epoch
	filter map[string]bool // issuers to send; nil means all
	whole  bool            // resumed, or the snapshot's end has been sent
	cursor revocation.Revision
	renews []renew
	wake   chan struct{} // one slot: there may be something to send
	cancel func(error)   // ends the call with that error
}

// renew is a renewal that has not been answered.
type renew struct {
	nonce    uint64
	received time.Time
	need     revocation.Revision // the head then: what must be acknowledged first
}

// receive takes an Ack or a Renew and reports whether anything changed that a
// waiter for acknowledgements cares about.
func (s *stream) receive(m *pb.WatchRequest, head revocation.Revision, now time.Time) (acked bool, err error) {
	switch m := m.GetMessage().(type) {
	case *pb.WatchRequest_Ack:
		return s.acknowledge(m.Ack)
	case *pb.WatchRequest_Renew:
		if s.member.observer {
			return false, fmt.Errorf("%w: an observer holds no lease", errBroken)
		}
		if len(s.renews) == maxRenews {
			s.renews = s.renews[1:]
		}
		s.renews = append(s.renews, renew{nonce: m.Renew.GetNonce(), received: now, need: head})
		return false, nil
	default:
		return false, fmt.Errorf("%w: neither ack nor renew", errBroken)
	}
}

func (s *stream) acknowledge(a *pb.Ack) (changed bool, err error) {
	rev, m := revocation.Revision(a.GetRevision()), s.member
	held := max(rev, revocation.Revision(a.GetHeld()))
	if !s.whole || held > s.cursor {
		return false, fmt.Errorf("%w: acknowledged revision %d, sent %d", errBroken, held, s.cursor)
	}
	if err := checkBelow(a.GetBelow()); err != nil {
		return false, err
	}
	changed = rev > m.acked || held > m.held || a.GetBelow() != nil
	m.acked, m.held = max(m.acked, rev), max(m.held, held)
	if a.GetBelow() != nil {
		m.below = a.GetBelow()
	}
	return changed, nil
}

// next is the next message to send, if there is one. It says read if what
// follows the cursor must be read from the source.
func (s *stream) next(r *ring, g grant) (msg *pb.WatchResponse, read bool) {
	if !s.whole || s.cursor > r.head {
		return nil, !s.whole
	}
	d, ok := r.after(s.cursor)
	switch {
	case !ok:
		return nil, true
	case d != nil:
		s.cursor = revocation.Revision(d.GetDelta().GetRevision())
		return only(d, s.filter), false
	default:
		return s.lease(r.head, g), false
	}
}

// grant is what an upstream may promise at this moment.
type grant struct {
	now    time.Time
	lease  time.Duration
	polled time.Time // when the source was last asked, with success, for its head
	own    *bound    // what a relay itself may rely on; nil for who reads the log
	limit  *lease    // of a replica among several; nil for others

	withheld bool // there is none to give
}

// length is how long a lease may be that answers a renewal received then; not
// positive if there may be none.
func (g grant) length(received time.Time) time.Duration {
	// By both clocks: a machine that was suspended after it looked at the log has
	// not looked for longer than its monotonic clock says.
	age := max(received.Sub(g.polled), received.Round(0).Sub(g.polled.Round(0)))
	d := g.lease - max(0, age)
	if g.own != nil {
		d = min(g.lease, g.own.lease.left(received))
	}
	if g.limit != nil {
		d = min(d, g.limit.left(received))
	}
	return d.Truncate(time.Millisecond)
}

// lease answers the newest renewal for which the watcher has acknowledged the
// head of that time. The stream has sent everything up to head, so the watcher
// has it before it reads the lease.
//
// Counting from when the source was last heard bounds what a commit can be
// missed by: a lease ends at most its full duration after any commit that the
// head named in it does not include.
//
// A relay's own lease bounds what it grants, and is worth nothing below before
// what it names has been sent: the renewal waits for that.
func (s *stream) lease(head revocation.Revision, g grant) *pb.WatchResponse {
	if g.withheld || (g.own != nil && !g.own.covers(s.epoch, head)) {
		return nil
	}
	for i := len(s.renews) - 1; i >= 0; i-- {
		rn := s.renews[i]
		if s.member.held < rn.need {
			continue
		}
		s.renews = s.renews[i+1:]
		d := g.length(rn.received)
		end := rn.received.Add(d)
		if d <= 0 || !end.After(g.now) {
			return nil
		}
		if end.After(s.member.leaseEnd) {
			s.member.leaseEnd = end
		}
		return &pb.WatchResponse{Message: &pb.WatchResponse_Lease{Lease: &pb.Lease{
			Nonce: rn.nonce, DurationMillis: d.Milliseconds(), Revision: uint64(head), NowMillis: g.now.UnixMilli(),
		}}}
	}
	return nil
}
