package verify

import (
	"errors"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tegata/tegata/authz/turns"
)

// results are the values of the label result; what is none of these errors is "ok".
var results = []struct {
	err  error
	name string
}{
	{nil, "ok"},
	{ErrMalformed, "malformed"},
	{ErrIssuer, "issuer"},
	{ErrAlgorithm, "algorithm"},
	{ErrType, "type"},
	{ErrKey, "key"},
	{ErrSignature, "signature"},
	{ErrInactive, "inactive"},
	{ErrExpired, "expired"},
	{ErrNotYet, "not_yet"},
	{ErrAudience, "audience"},
	{ErrClaims, "claims"},
	{ErrBinding, "binding"},
	{ErrProof, "proof"},
	{ErrNonce, "nonce"},
	{ErrUnavailable, "unavailable"},
	{turns.ErrNone, "overloaded"},
}

// metrics are the figures of a Verifier; see docs/operating.md.
type metrics struct {
	results      []prometheus.Counter // in the order of results
	hits, misses prometheus.Counter
	requests     *prometheus.CounterVec
	questions    *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer, c *cache) (*metrics, error) {
	tokens := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tegata_token_verifications_total",
		Help: "Tokens verified, from the cache or not, by result; ok is one of them.",
	}, []string{"result"})
	lookups := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tegata_token_cache_lookups_total",
		Help: "Lookups in the cache of verified tokens, by result (hit, miss).",
	}, []string{"result"})
	m := &metrics{
		hits: lookups.WithLabelValues("hit"), misses: lookups.WithLabelValues("miss"),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tegata_key_fetches_total",
			Help: "Requests for the keys of an issuer, and for its discovery document, by result (ok, error).",
		}, []string{"issuer", "result"}),
		questions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tegata_introspections_total",
			Help: "Questions to an issuer about a token, by result (active, inactive, error).",
		}, []string{"issuer", "result"}),
	}
	for _, result := range results {
		m.results = append(m.results, tokens.WithLabelValues(result.name))
	}
	if r == nil {
		return m, nil
	}
	collectors := append(usage(c), tokens, lookups, m.requests, m.questions)
	for _, collector := range collectors {
		if err := r.Register(collector); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func usage(c *cache) []prometheus.Collector {
	return []prometheus.Collector{
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "tegata_token_cache_entries",
			Help: "Tokens in the cache of verified tokens.",
		}, func() float64 { entries, _ := c.usage(); return float64(entries) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "tegata_token_cache_bytes",
			Help: "Estimated size of the cache of verified tokens.",
		}, func() float64 { _, bytes := c.usage(); return float64(bytes) }),
	}
}

// verified counts one use of a token. errors.Is would cost more than a cache
// hit: the common case comes first.
func (m *metrics) verified(err error) {
	if err == nil {
		m.results[0].Inc()
		return
	}
	for i, result := range results[1:] {
		if errors.Is(err, result.err) {
			m.results[i+1].Inc()
			return
		}
	}
}

// counted is a copy of the client whose requests are counted.
func (m *metrics) counted(client *http.Client, issuer string) *http.Client {
	c := *client
	if c.Transport == nil {
		c.Transport = http.DefaultTransport
	}
	c.Transport = counter{
		next:   c.Transport,
		ok:     m.requests.WithLabelValues(issuer, "ok"),
		failed: m.requests.WithLabelValues(issuer, "error"),
	}
	return &c
}

// counter counts the requests that pass through it.
type counter struct {
	next       http.RoundTripper
	ok, failed prometheus.Counter
}

func (c counter) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := c.next.RoundTrip(r)
	if err != nil || resp.StatusCode != http.StatusOK {
		c.failed.Inc()
	} else {
		c.ok.Inc()
	}
	return resp, err
}
