package policy

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the figures of an Engine; see docs/operating.md.
type metrics struct {
	reloads  *prometheus.CounterVec
	revision *prometheus.GaugeVec
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		reloads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tegata_policy_reloads_total",
			Help: "Attempts to load the policies, by result (ok, failed).",
		}, []string{"result"}),
		revision: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tegata_policy_revision_info",
			Help: "Always 1; the label names the policy revision that is serving.",
		}, []string{"revision"}),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.reloads, m.revision} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("policy: registering metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) loaded(revision string) {
	m.reloads.WithLabelValues("ok").Inc()
	m.revision.Reset()
	m.revision.WithLabelValues(revision).Set(1)
}

func (m *metrics) failed() { m.reloads.WithLabelValues("failed").Inc() }
