package verify

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tegata/tegata/internal/jose"
)

// hosts is several worlds under their names.
type hosts map[string]http.RoundTripper

func (h hosts) RoundTrip(r *http.Request) (*http.Response, error) {
	next := h[r.URL.Hostname()]
	if next == nil {
		return nil, fmt.Errorf("no such host")
	}
	return next.RoundTrip(r)
}

func TestAWrongConfigurationIsRefused(t *testing.T) {
	t.Parallel()
	good := Issuer{Issuer: home, Audience: []string{audience}}
	change := func(f func(*Issuer)) Config {
		i := good
		f(&i)
		return Config{Issuers: []Issuer{i}}
	}
	tests := []struct {
		name string
		c    Config
		want string // in the error
	}{
		{"no issuer", Config{}, "no issuer"},
		{"two of a name", Config{Issuers: []Issuer{good, good}}, "twice"},
		{"negative size", Config{Issuers: []Issuer{good}, CacheSize: -1}, "cache size"},
		{"negative bytes", Config{Issuers: []Issuer{good}, CacheBytes: -1}, "cache size"},
		{"no name", change(func(i *Issuer) { i.Issuer = "" }), "no name"},
		{"no audience", change(func(i *Issuer) { i.Audience = nil }), "no audience"},
		{"empty audience", change(func(i *Issuer) { i.Audience = []string{""} }), "empty audience"},
		{"any audience and one", change(func(i *Issuer) { i.InsecureAnyAudience = true }), "exclude"},
		{"leeway too long", change(func(i *Issuer) { i.Leeway = time.Hour }), "leeway"},
		{"leeway negative", change(func(i *Issuer) { i.Leeway = -1 }), "leeway"},
		{"alg none", change(func(i *Issuer) { i.Algorithms = []jose.Algorithm{"none"} }), `"none"`},
		{"alg symmetric", change(func(i *Issuer) { i.Algorithms = []jose.Algorithm{jose.HS512} }), `"HS512"`},
		{"issuer without https", change(func(i *Issuer) { i.Issuer = "http://id.example" }), "https"},
		{"keys without https", change(func(i *Issuer) { i.JWKSURL = "http://id.example/jwks" }), "https"},
		{"issuer no URL", change(func(i *Issuer) { i.Issuer = "demo" }), "URL"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := New(tt.c)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
	for _, name := range []string{home, "http://127.0.0.1:8080/realms/demo", "http://localhost:8080", "http://[::1]:8080"} {
		if _, err := New(change(func(i *Issuer) { i.Issuer = name })); err != nil {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestLooseningIsWarnedAbout(t *testing.T) {
	t.Parallel()
	warnings := func(change func(*Issuer)) string {
		i := Issuer{Issuer: home, Audience: []string{audience}}
		change(&i)
		var log bytes.Buffer
		_, err := New(Config{Issuers: []Issuer{i}, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Error(err)
		}
		return log.String()
	}
	if got := warnings(func(i *Issuer) { i.Types = []string{"application/at+JWT"} }); got != "" {
		t.Errorf("nothing is loose: got %s", got)
	}
	if got := warnings(func(i *Issuer) { i.Audience, i.InsecureAnyAudience = nil, true }); !strings.Contains(got, "any audience") {
		t.Errorf("any audience: got %q", got)
	}
	if got := warnings(func(i *Issuer) { i.Types = []string{"JWT"} }); !strings.Contains(got, "type=JWT") {
		t.Errorf("type JWT: got %q", got)
	}
}

// TestRunFetchesByItselfAndEnds: keys are there before the first token, and a
// key that is withdrawn is noticed without any.
func TestRunFetchesByItselfAndEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "k1", "k2")
		v := w.verifier(t, func(c *Config) { c.Now = nil; c.Issuers[0].Leeway = time.Minute })
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- v.Run(ctx) }()
		synctest.Wait()
		if err := v.Ready(); err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		token := w.token(t, map[string]any{"iat": now.Unix(), "exp": now.Add(time.Hour).Unix()})
		verified(t, v, token)
		w.set(func() { w.keys = w.keys[1:] })
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if _, err := v.Verify(ctx, token); err == nil {
			t.Error("a token of a withdrawn key is accepted")
		}
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("got %v", err)
		}
	})
}

func TestFigures(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "k1")
	registry := prometheus.NewRegistry()
	v := w.verifier(t, func(c *Config) { c.Metrics = registry })
	token := w.token(t, nil)
	for range 3 {
		verified(t, v, token)
	}
	for range 2 {
		_, _ = v.Verify(t.Context(), w.token(t, map[string]any{"aud": "x"}))
	}
	w.pass(time.Hour)
	_, _ = v.Verify(t.Context(), token)
	_, _ = v.Verify(t.Context(), "x")
	w.set(func() { w.down = true })
	_, _ = v.Verify(t.Context(), w.token(t, map[string]any{"exp": w.clock().Add(time.Hour).Unix()}))
	got := figures(t, registry)
	for name, want := range map[string]float64{
		"tegata_key_fetches_total https://id.example/realms/demo ok":    2,
		"tegata_key_fetches_total https://id.example/realms/demo error": 1,
		"tegata_token_cache_entries":                                    2,
		"tegata_token_cache_lookups_total hit":                          3,
		"tegata_token_cache_lookups_total miss":                         5,
		"tegata_token_verifications_total audience":                     2,
		"tegata_token_verifications_total expired":                      1,
		"tegata_token_verifications_total malformed":                    1,
		"tegata_token_verifications_total ok":                           4,
		"tegata_token_verifications_total signature":                    0,
	} {
		if v, ok := got[name]; !ok || v != want {
			t.Errorf("%s: got %v, want %v", name, v, want)
		}
	}
	if got["tegata_token_cache_bytes"] < 1000 {
		t.Errorf("tegata_token_cache_bytes: got %v", got["tegata_token_cache_bytes"])
	}
	if _, err := New(Config{Issuers: []Issuer{{Issuer: home, Audience: []string{audience}}}, Metrics: registry}); err == nil {
		t.Error("figures were registered twice")
	}
}

// figures are counters and gauges by name and label values.
func figures(t *testing.T, g prometheus.Gatherer) map[string]float64 {
	t.Helper()
	all := map[string]float64{}
	for _, family := range must(g.Gather())(t) {
		for _, m := range family.GetMetric() {
			name := family.GetName()
			for _, label := range m.GetLabel() {
				name += " " + label.GetValue()
			}
			all[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return all
}
