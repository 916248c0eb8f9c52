package check

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
)

// metrics are the figures of a Checker; see docs/operating.md.
type metrics struct {
	decisions *prometheus.CounterVec
	places    atomic.Pointer[map[place]counters] // replaced as a whole, under mu
	mu        sync.Mutex
	seconds   prometheus.Histogram
	cached    prometheus.Counter
	evaluated prometheus.Counter
}

// place is where decisions are counted apart. A route is a template of the
// policy's table, so there are few.
type place struct {
	policy, route string
	shadowed      bool
}

// counters are those of one place, by reason.
type counters map[Reason]prometheus.Counter

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	decisions := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tegata_decisions_total",
		Help: "Decisions, by policy, route template and reason (allowed is one); mode shadow: let through although refused.",
	}, []string{"policy", "route", "reason", "mode"})
	policies := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tegata_policy_decisions_total",
		Help: "Decisions of the policy, by where they came from (cache, evaluation).",
	}, []string{"from"})
	m := &metrics{
		decisions: decisions,
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "tegata_decision_seconds",
			Help:    "Time from a request's arrival in check to its decision.",
			Buckets: []float64{5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 5e-3, 2.5e-2, 0.1, 1},
		}),
		cached:    policies.WithLabelValues("cache"),
		evaluated: policies.WithLabelValues("evaluation"),
	}
	m.places.Store(&map[place]counters{})
	m.at(place{}) // so that they are there before the first decision
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{decisions, policies, m.seconds} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("check: registering metrics: %w", err)
		}
	}
	return m, nil
}

// at returns the counters of a place.
func (m *metrics) at(p place) counters {
	if c, ok := (*m.places.Load())[p]; ok {
		return c
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	all := maps.Clone(*m.places.Load())
	if all[p] == nil {
		all[p] = m.count(p)
		m.places.Store(&all)
	}
	return all[p]
}

func (m *metrics) count(p place) counters {
	mode := "enforce"
	if p.shadowed {
		mode = "shadow"
	}
	c := make(counters, len(reasons))
	for _, reason := range reasons {
		c[reason] = m.decisions.WithLabelValues(p.policy, p.route, string(reason), mode)
	}
	return c
}

// decided counts d. A decision that is traced is an example of how long it takes.
func (m *metrics) decided(ctx context.Context, d *Decision) {
	m.at(place{d.Policy, d.Route, d.Shadowed})[d.Reason].Inc()
	if span := trace.SpanContextFromContext(ctx); span.IsSampled() {
		m.seconds.(prometheus.ExemplarObserver).ObserveWithExemplar(d.Took.Seconds(), prometheus.Labels{"trace_id": span.TraceID().String()})
		return
	}
	m.seconds.Observe(d.Took.Seconds())
}
