package issuer

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tegata/tegata/issuer/delivery"
	"github.com/tegata/tegata/issuer/receiver"
	"github.com/tegata/tegata/revocation"
)

// metrics are counted whether or not they are registered.
type metrics struct {
	requests    *prometheus.CounterVec
	minted      *prometheus.CounterVec
	revocations *prometheus.CounterVec
	pending     prometheus.Counter
	logouts     *prometheus.CounterVec
	heard       *prometheus.CounterVec
	signals     *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tegata_issuer_requests_total", Help: "HTTP requests by endpoint and status.",
		}, []string{"endpoint", "code"}),
		minted: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tegata_issuer_grants_total", Help: "Token responses by grant type.",
		}, []string{"grant"}),
		revocations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tegata_issuer_revocations_total", Help: "Revocations by reason.",
		}, []string{"reason"}),
		pending: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tegata_issuer_revocations_pending_total", Help: "Revocations that some watcher had not applied when they were answered.",
		}),
		logouts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tegata_issuer_backchannel_logouts_total", Help: "Back-channel logout requests to clients by result.",
		}, []string{"result"}),
		heard: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tegata_issuer_foreign_statements_total", Help: "Logouts, events and calls about another issuer's tokens, by what became of them.",
		}, []string{"receiver", "by", "result"}),
		signals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tegata_issuer_events_total", Help: "Security events to clients' streams by result.",
		}, []string{"result"}),
	}
	for _, why := range revocation.Reasons() { // the first of each counts as a rise
		m.revocations.WithLabelValues(string(why))
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.requests, m.minted, m.revocations, m.pending, m.logouts, m.heard, m.signals} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) request(endpoint string, code int) {
	m.requests.WithLabelValues(endpoint, strconv.Itoa(code)).Inc()
}

func (m *metrics) mint(grant string) { m.minted.WithLabelValues(grant).Inc() }

func (m *metrics) revoke(why revocation.Reason) { m.revocations.WithLabelValues(string(why)).Inc() }

func (m *metrics) tell(result delivery.Result) { m.logouts.WithLabelValues(string(result)).Inc() }

func (m *metrics) signal(result delivery.Result) { m.signals.WithLabelValues(string(result)).Inc() }

func (m *metrics) hear(source string, by receiver.By, result receiver.Result) {
	m.heard.WithLabelValues(source, string(by), string(result)).Inc()
}
