package check

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the figures of a Checker; see docs/operating.md.
type metrics struct {
	byReason  map[Reason]prometheus.Counter
	seconds   prometheus.Histogram
	cached    prometheus.Counter
	evaluated prometheus.Counter
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	decisions := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tegata_decisions_total",
		Help: "Decisions, by reason; allowed is one of them.",
	}, []string{"reason"})
	policies := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tegata_policy_decisions_total",
		Help: "Decisions of the policy, by where they came from (cache, evaluation).",
	}, []string{"from"})
	m := &metrics{
		byReason: map[Reason]prometheus.Counter{},
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "tegata_decision_seconds",
			Help:    "Time from a request's arrival in check to its decision.",
			Buckets: []float64{5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 5e-3, 2.5e-2, 0.1, 1},
		}),
		cached:    policies.WithLabelValues("cache"),
		evaluated: policies.WithLabelValues("evaluation"),
	}
	for _, reason := range reasons {
		m.byReason[reason] = decisions.WithLabelValues(string(reason))
	}
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

func (m *metrics) decided(d Decision) {
	m.byReason[d.Reason].Inc()
	m.seconds.Observe(d.Took.Seconds())
}
