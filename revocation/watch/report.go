package watch

import (
	"cmp"
	"encoding/hex"
	"slices"
	"time"

	"github.com/tegata/tegata/revocation"
)

// Report says who follows an Upstream and how far each is, for operators.
// Durations are seconds, by the clock of whoever reports.
type Report struct {
	Epoch    revocation.Epoch    `json:"epoch"`
	Head     revocation.Revision `json:"head"`
	LogAge   float64             `json:"log_age_seconds"` // since the log was last read with success; negative: never
	MaxLease float64             `json:"max_lease_seconds"`

	// EarlierRun is how long leases of the run before may still be held; until
	// then every revocation waits for them.
	EarlierRun float64 `json:"earlier_run_seconds,omitempty"`

	Replicas  []ReplicaReport  `json:"replicas"`  // that share the log, this one first; empty without a store
	Watchers  []WatcherReport  `json:"watchers"`  // enforcement points and relays, by name
	Observers []ObserverReport `json:"observers"` // who look on, and delay nothing
}

// State says in one word whether all is well.
type State string

// The states of watchers and replicas.
const (
	StateOK       State = "ok"
	StateBehind   State = "behind"   // has not acknowledged a revision that is older than BehindAfter
	StateUnleased State = "unleased" // connected, and trusts nothing
	StateLost     State = "lost"     // not connected: stopped, or cut off and trusting for the rest of its lease
	StateEnded    State = "ended"    // a replica that has not been heard of for a lease
)

// BehindAfter is how long a revision may be on its way: what is less is no
// news for an operator.
const BehindAfter = time.Second

// WatcherReport is one member of the ledger.
type WatcherReport struct {
	Name         string              `json:"name"`     // authenticated name/what it calls itself
	Instance     string              `json:"instance"` // random, of one run of it
	Relay        bool                `json:"relay,omitempty"`
	OnStale      string              `json:"on_stale"`
	State        State               `json:"state"`
	Acknowledged revocation.Revision `json:"acknowledged"`
	Lag          revocation.Revision `json:"lag_revisions"`
	LagTime      float64             `json:"lag_seconds"`   // since the commit of the first revision that it lacks
	Lease        float64             `json:"lease_seconds"` // until it ends; 0: there is none
	Gone         float64             `json:"gone_seconds,omitempty"`

	Held  revocation.Revision `json:"held,omitempty"`  // of a relay: what it has in force itself
	Below *revocation.Outcome `json:"below,omitempty"` // of a relay: how far Held has reached below it
}

// ReplicaReport is one upstream of those that share the log, as its row says.
type ReplicaReport struct {
	Name         string              `json:"name"`
	ID           string              `json:"id"`
	Self         bool                `json:"self,omitempty"`
	State        State               `json:"state"`
	Acknowledged revocation.Revision `json:"acknowledged"` // by all below it
	Lease        float64             `json:"lease_seconds"`
	Below        revocation.Outcome  `json:"below"`
}

// ObserverReport is one who looks on.
type ObserverReport struct {
	Name         string              `json:"name"`
	Acknowledged revocation.Revision `json:"acknowledged"`
	Lag          revocation.Revision `json:"lag_revisions"`
}

// Well says that nothing in the report is behind or without a lease, and the
// log could be read within a lease.
func (r Report) Well() bool {
	for _, w := range r.Watchers {
		if w.State != StateOK {
			return false
		}
	}
	for _, p := range r.Replicas {
		if p.State != StateOK {
			return false
		}
	}
	return r.LogAge >= 0 && r.LogAge < r.MaxLease
}

// Report returns the state of the moment.
func (u *Upstream) Report() Report {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := u.c.Now()
	r := Report{
		Epoch: u.epoch, Head: u.ring.head, LogAge: -1, MaxLease: u.c.Lease.Seconds(), EarlierRun: left(u.ledger.grace, now),
		Replicas: []ReplicaReport{}, Watchers: make([]WatcherReport, 0, len(u.ledger.members)), Observers: []ObserverReport{},
	}
	if !u.polled.IsZero() {
		r.LogAge = now.Sub(u.polled).Seconds()
	}
	for _, m := range u.ledger.members {
		r.Watchers = append(r.Watchers, u.reportMember(m, now))
	}
	slices.SortFunc(r.Watchers, func(a, b WatcherReport) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Instance, b.Instance))
	})
	for st := range u.streams {
		if st.member.observer {
			r.Observers = append(r.Observers, ObserverReport{st.member.name, st.member.acked, behind(st.member.acked, u.ring.head)})
		}
	}
	slices.SortFunc(r.Observers, func(a, b ObserverReport) int { return cmp.Compare(a.Name, b.Name) })
	if u.c.Replicas != nil {
		r.Replicas = u.peers.report(u.epoch, now)
	}
	return r
}

// reportMember is one watcher. The caller holds the mutex.
func (u *Upstream) reportMember(m *member, now time.Time) WatcherReport {
	w := WatcherReport{
		Name: m.name, Instance: hex.EncodeToString([]byte(m.key.instance)), Relay: m.relay, OnStale: m.onStale,
		Acknowledged: m.acked, Lag: behind(m.acked, u.ring.head), LagTime: u.lag(m, now).Seconds(), Lease: left(m.leaseEnd, now),
	}
	if m.stream == nil {
		w.Gone = now.Sub(m.left).Seconds()
	}
	if m.relay {
		w.Held = m.held
	}
	if b := m.below; b != nil {
		w.Below = &revocation.Outcome{
			Revision: m.held, Applied: int(b.GetApplied()), Expired: int(b.GetExpired()),
			Pending: orEmpty(b.GetPending()), Unbounded: orEmpty(b.GetUnbounded()),
		}
	}
	w.State = u.state(m, now)
	return w
}

// state is a watcher's. The caller holds the mutex.
func (u *Upstream) state(m *member, now time.Time) State {
	switch {
	case m.stream == nil:
		return StateLost
	case u.lag(m, now) > BehindAfter:
		return StateBehind
	case !m.leaseEnd.After(now):
		return StateUnleased
	}
	return StateOK
}

// lag is how long the first revision that a watcher has not acknowledged has
// been there, as far as the ring knows, and not from before it came. The caller
// holds the mutex.
func (u *Upstream) lag(m *member, now time.Time) time.Duration {
	if m.acked >= u.ring.head {
		return 0
	}
	since := u.ring.committed(m.acked)
	if since.Before(m.joined) {
		since = m.joined
	}
	return max(0, now.Sub(since))
}

// report is all replicas, ourselves first.
func (p *peers) report(epoch revocation.Epoch, now time.Time) []ReplicaReport {
	own := ReplicaReport{Name: p.own.Name, ID: p.own.ID, Self: true, State: StateOK, Acknowledged: p.own.Acked, Below: p.own.Below}
	if p.lease != nil {
		own.Lease = max(0, p.lease.left(now).Seconds())
	}
	if !p.lease.valid(now) {
		own.State = StateUnleased
	}
	all := []ReplicaReport{own}
	for _, o := range p.others {
		r := ReplicaReport{Name: o.Name, ID: o.ID, State: StateOK, Acknowledged: o.Acked, Lease: left(o.end(), now), Below: o.Below}
		if !o.end().After(now) {
			r.State = StateEnded
		} else if o.Epoch != epoch {
			r.State = StateBehind
		}
		all = append(all, r)
	}
	slices.SortFunc(all[1:], func(a, b ReplicaReport) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	for i := range all {
		all[i].Below.Pending, all[i].Below.Unbounded = orEmpty(all[i].Below.Pending), orEmpty(all[i].Below.Unbounded)
	}
	return all
}

func orEmpty(names []string) []string { return append([]string{}, names...) }

func behind(at, head revocation.Revision) revocation.Revision {
	if at >= head {
		return 0
	}
	return head - at
}

// left is how long it is until then, in seconds; 0 if it was.
func left(end, now time.Time) float64 { return max(0, end.Sub(now).Seconds()) }

// FollowReport says what a Watcher follows, for operators.
type FollowReport struct {
	Trust     string              `json:"trust"` // unknown, fresh or stale
	Epoch     revocation.Epoch    `json:"epoch"`
	Revision  revocation.Revision `json:"revision"`
	Lease     float64             `json:"lease_seconds"`
	LastError string              `json:"last_error,omitempty"` // why there is no stream
	Connects  int64               `json:"connects"`
}

// Well says that what is followed can be relied on.
func (r FollowReport) Well() bool { return r.Trust == revocation.Fresh.String() }

// Report returns the state of the moment.
func (w *Watcher) Report() FollowReport {
	s := w.Status()
	return FollowReport{
		Trust: s.Trust.String(), Epoch: s.Epoch, Revision: s.Revision, Lease: left(s.LeaseEnds, w.c.Now()), LastError: s.LastError, Connects: s.Connects,
	}
}
