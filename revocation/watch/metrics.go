package watch

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/tegata/tegata/revocation"
)

// RegisterMetrics registers the upstream's metrics:
//
//	tegata_revocation_head             newest revision read from the log
//	tegata_revocation_watchers         streams of enforcement points and relays that are open
//	tegata_revocation_watchers_behind  of them, not acknowledged the head
//	tegata_revocation_watchers_leased  watchers that hold a lease, connected or not
//	tegata_revocation_watchers_unleased  open streams of watchers that hold none
//	tegata_revocation_watchers_lost    watchers without a stream that may still trust, or did until lately
//	tegata_revocation_lag_revisions    the most that an open stream has not acknowledged
//	tegata_revocation_lag_seconds      since the oldest revision was committed that an open stream has not acknowledged
//	tegata_revocation_observers        streams that only look on
//	tegata_revocation_log_age_seconds  since the log was last read with success
//	tegata_revocation_replicas         upstreams on this log, this one included
func (u *Upstream) RegisterMetrics(r prometheus.Registerer) error {
	return register(r,
		gauge("tegata_revocation_head", "Newest revision read from the revocation log.", func() float64 { return float64(u.stats().head) }),
		gauge("tegata_revocation_watchers", "Open revocation streams.", func() float64 { return float64(u.stats().open) }),
		gauge("tegata_revocation_watchers_behind", "Open revocation streams that have not acknowledged the head.", func() float64 { return float64(u.stats().behind) }),
		gauge("tegata_revocation_watchers_leased", "Watchers that hold a lease, connected or not.", func() float64 { return float64(u.stats().leased) }),
		gauge("tegata_revocation_watchers_unleased", "Open revocation streams of watchers that hold no lease.", func() float64 { return float64(u.stats().unleased) }),
		gauge("tegata_revocation_watchers_lost", "Watchers without a stream that may still trust, or did until lately.", func() float64 { return float64(u.stats().lost) }),
		gauge("tegata_revocation_lag_revisions", "Revisions that the slowest open revocation stream has not acknowledged.", func() float64 { return float64(u.stats().lag) }),
		gauge("tegata_revocation_lag_seconds", "Seconds since the oldest revision was committed that some open revocation stream has not acknowledged.", func() float64 { return u.stats().lagTime.Seconds() }),
		gauge("tegata_revocation_observers", "Open revocation streams that enforce nothing.", func() float64 { return float64(u.stats().observers) }),
		gauge("tegata_revocation_log_age_seconds", "Seconds since the revocation log was last read with success.", func() float64 { return u.stats().age.Seconds() }),
		gauge("tegata_revocation_replicas", "Upstreams that share the revocation log, this one included.", func() float64 { return float64(u.stats().replicas) }),
	)
}

// stats is what the metrics show.
type stats struct {
	head                 revocation.Revision
	open, behind, leased int
	unleased, lost       int
	observers, replicas  int
	lag                  revocation.Revision
	lagTime, age         time.Duration
}

func (u *Upstream) stats() stats {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := u.c.Now()
	s := stats{head: u.ring.head, replicas: 1}
	if !u.polled.IsZero() {
		s.age = now.Sub(u.polled)
	}
	for st := range u.streams {
		if st.member.observer {
			s.observers++
		}
	}
	for _, m := range u.ledger.members {
		s.add(m, behind(m.acked, u.ring.head), u.lag(m, now), now)
	}
	for _, o := range u.peers.others {
		if o.end().After(now) {
			s.replicas++
		}
	}
	return s
}

// add counts one watcher.
func (s *stats) add(m *member, lag revocation.Revision, lagTime time.Duration, now time.Time) {
	leased := m.leaseEnd.After(now)
	if leased {
		s.leased++
	}
	if m.stream == nil {
		s.lost++
		return
	}
	s.open++
	if !leased {
		s.unleased++
	}
	if lag > 0 {
		s.behind++
	}
	s.lag, s.lagTime = max(s.lag, lag), max(s.lagTime, lagTime)
}

// RegisterMetrics registers the watcher's metrics:
//
//	tegata_revocation_revision         revision that is applied
//	tegata_revocation_records          records in force
//	tegata_revocation_trust            0 unknown, 1 fresh, 2 stale
//	tegata_revocation_lease_seconds    until the lease ends; negative since
//	tegata_revocation_connects_total   streams opened
func (w *Watcher) RegisterMetrics(r prometheus.Registerer) error {
	return register(r,
		gauge("tegata_revocation_revision", "Revocation revision that is applied.", func() float64 { return float64(w.c.Set.Revision()) }),
		gauge("tegata_revocation_records", "Revocation records in force.", func() float64 { return float64(w.c.Set.Len()) }),
		gauge("tegata_revocation_trust", "Trust in the revocation state: 0 unknown, 1 fresh, 2 stale.", func() float64 { return float64(w.Trust()) }),
		gauge("tegata_revocation_lease_seconds", "Seconds until the revocation lease ends; negative since it ended.", w.leaseLeft),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "tegata_revocation_connects_total", Help: "Revocation streams opened."},
			func() float64 { return float64(w.connects.Load()) }),
	)
}

func (w *Watcher) leaseLeft() float64 {
	l := w.lease.Load()
	if l == nil {
		return 0
	}
	return l.end.Sub(w.c.Now()).Seconds()
}

func gauge(name, help string, f func() float64) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, f)
}

func register(r prometheus.Registerer, all ...prometheus.Collector) error {
	for _, c := range all {
		if err := r.Register(c); err != nil {
			return err
		}
	}
	return nil
}
