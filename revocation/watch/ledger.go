package watch

import (
	"slices"
	"time"

	"github.com/tegata/tegata/revocation"
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
	leaseEnd time.Time
	stream   *stream   // nil once it is gone
	left     time.Time // when it went
}

// expiredMemory is how long a watcher whose lease has ended is still counted
// by whoever waits for it.
const expiredMemory = time.Minute

// serveMemory is how long a watcher in serve mode is reported after it has
// left: it may be accepting tokens without a bound.
const serveMemory = time.Hour

// join makes the stream its watcher's only one and returns the stream it
// replaces. What the watcher holds by an older lease stays on the books.
func (l *ledger) join(k memberKey, st *stream, acked revocation.Revision) (m *member, old *stream) {
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
	m.stream, m.acked = st, acked
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
		m.acked = 0
	}
}

// earlierRun is how an Outcome names watchers that an earlier run of the upstream
// may have given a lease.
const earlierRun = "(watchers of an earlier run)"

// outcome says how far rev has reached for who waits since then, and when that
// can next change by itself.
func (l *ledger) outcome(rev revocation.Revision, since, now time.Time) (o revocation.Outcome, next time.Time) {
	o.Revision, o.Pending, o.Unbounded = rev, []string{}, []string{}
	wait := func(name string, end time.Time) {
		o.Pending = append(o.Pending, name)
		if next.IsZero() || end.Before(next) {
			next = end
		}
	}
	if l.grace.After(now) {
		wait(earlierRun, l.grace)
	}
	for _, m := range l.members {
		switch {
		case m.acked >= rev:
			o.Applied++
		case m.leaseEnd.After(now):
			wait(m.name, m.leaseEnd)
		case m.onStale == serve:
			o.Unbounded = append(o.Unbounded, m.name)
		case m.stream != nil || m.leaseEnd.After(since):
			o.Expired++
		}
	}
	slices.Sort(o.Pending)
	slices.Sort(o.Unbounded)
	return o, next
}
