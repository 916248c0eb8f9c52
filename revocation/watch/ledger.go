package watch

import (
	"slices"
	"time"

	"github.com/tegata/tegata/revocation"
	pb "github.com/tegata/tegata/revocation/revocationpb"
)

// ledger is what an Upstream remembers of its watchers: what each has
// acknowledged and until when each may trust. It is a pure state machine; the
// Upstream's mutex guards it.
//
// A member outlives its stream until its lease has ended: a watcher that
// cannot be reached may still be trusting.
type ledger struct {
	members map[memberKey]*member
	serial  uint64

	// grace is when the last lease of an earlier run of this upstream has ended.
	grace time.Time
}

// memberKey is an authenticated name and the instance the watcher chose, or a
// serial number if it chose none.
type memberKey struct {
	name, instance string
	serial         uint64
}

type member struct {
	key      memberKey
	name     string
	onStale  string
	acked    revocation.Revision
	held     revocation.Revision // acked, or more for a relay whose watchers are behind
	below    *pb.Below           // of a relay, about held; nil for others
	leaseEnd time.Time
	joined   time.Time // when its stream began
	relay    bool
	observer bool          // in no ledger: nothing waits for it, see Observer
	stream   *stream       // nil once it is gone
	left     time.Time     // when it went
	moved    chan struct{} // closed when it acknowledges more; nil if nobody waits for that
}

// moves returns what is closed when the member acknowledges more. Who waits
// for many waits for one of them at a time: if everybody looked at everybody
// after each acknowledgement, ten thousand watchers would take a hundred
// million looks.
func (m *member) moves() <-chan struct{} {
	if m == nil {
		return nil
	}
	if m.moved == nil {
		m.moved = make(chan struct{})
	}
	return m.moved
}

// tell wakes who waits for the member to move.
func (m *member) tell() {
	if m.moved != nil {
		close(m.moved)
		m.moved = nil
	}
}

// pending says that who waits for rev has to wait for this member.
func (m *member) pending(rev revocation.Revision, now time.Time) bool {
	return m.acked < rev && m.leaseEnd.After(now)
}

// expiredMemory is how long a watcher whose lease has ended is still counted
// by whoever waits for it.
const expiredMemory = time.Minute

// serveMemory is how long a watcher in serve mode is reported after it has
// left: it may be accepting tokens without a bound.
const serveMemory = time.Hour

// claim is what a watcher says it has when it joins.
type claim struct{ acked, held revocation.Revision }

// join makes the stream its watcher's only one and returns the stream it
// replaces. What the watcher holds by an older lease stays on the books.
func (l *ledger) join(k memberKey, st *stream, c claim, now time.Time) (m *member, old *stream) {
	if k.instance == "" {
		l.serial++
		k.serial = l.serial
	}
	m = l.members[k]
	if m == nil {
		m = &member{key: k}
		l.members[k] = m
	}
	old = m.stream
	m.stream, m.acked, m.held, m.joined = st, c.acked, c.held, now
	return m, old
}

// leave keeps the member, unless another stream has taken its place.
func (l *ledger) leave(m *member, st *stream, now time.Time) {
	if m.stream == st {
		m.stream, m.left = nil, now
	}
}

// sweep forgets members that are gone and can trust nothing any more.
func (l *ledger) sweep(now time.Time) {
	for k, m := range l.members {
		memory := expiredMemory
		if m.onStale == serve {
			memory = serveMemory
		}
		if m.stream == nil && now.Sub(m.left) > memory && now.Sub(m.leaseEnd) > memory {
			delete(l.members, k)
		}
	}
}

// forget starts a new epoch: acknowledgements of the old one count no more.
func (l *ledger) forget() {
	for _, m := range l.members {
		m.acked, m.held, m.below = 0, 0, nil
	}
}

// earlierRun is how an Outcome names watchers that an earlier run of the upstream
// may have given a lease.
const earlierRun = "(watchers of an earlier run)"

// outcome says how far rev has reached for who waits since then, and when that
// can next change by itself. Names are in no order.
func (l *ledger) outcome(rev revocation.Revision, since, now time.Time) (o revocation.Outcome, next time.Time) {
	o.Revision, o.Pending, o.Unbounded = rev, []string{}, []string{}
	wait := func(end time.Time) {
		if next.IsZero() || end.Before(next) {
			next = end
		}
	}
	if l.grace.After(now) {
		o.Pending = append(o.Pending, earlierRun)
		wait(l.grace)
	}
	for _, m := range l.members {
		o.Unbounded = prefixed(o.Unbounded, m.name, m.below.GetUnbounded())
		if m.held >= rev {
			o.Applied += int(m.below.GetApplied())
			o.Expired += int(m.below.GetExpired())
		}
		switch {
		case m.acked >= rev:
			o.Applied++
		case m.pending(rev, now):
			o.Pending = m.pendingNames(o.Pending, rev)
			wait(m.leaseEnd)
		case m.onStale == serve:
			o.Unbounded = append(o.Unbounded, m.name)
		case m.stream != nil || m.leaseEnd.After(since):
			o.Expired++
		}
	}
	return o, next
}

// sorted makes an outcome readable.
func sorted(o revocation.Outcome) revocation.Outcome {
	slices.Sort(o.Pending)
	slices.Sort(o.Unbounded)
	return o
}

// pending is any one member that is pending for rev; nil if none is.
func (l *ledger) pending(rev revocation.Revision, now time.Time) *member {
	for _, m := range l.members {
		if m.pending(rev, now) {
			return m
		}
	}
	return nil
}

// floor is the highest revision up to head that nobody is pending for, which
// is what a relay may acknowledge. It does not rise before lowest moves, or is
// not trusting any more; nil if it is head, or if the grace decides.
func (l *ledger) floor(head revocation.Revision, now time.Time) (floor revocation.Revision, lowest *member) {
	if l.grace.After(now) {
		return 0, nil
	}
	floor = head
	for _, m := range l.members {
		if m.acked < floor && m.pending(head, now) {
			floor, lowest = m.acked, m
		}
	}
	return floor, lowest
}

// pendingNames adds those of a member that is pending for rev: a relay that has
// it names who below it has not.
func (m *member) pendingNames(to []string, rev revocation.Revision) []string {
	if names := m.below.GetPending(); m.held >= rev && len(names) > 0 {
		return prefixed(to, m.name, names)
	}
	return append(to, m.name)
}

func prefixed(to []string, relay string, names []string) []string {
	for _, n := range names {
		to = append(to, relay+" > "+n)
	}
	return to
}
