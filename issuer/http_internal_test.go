package issuer

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func bare(t *testing.T, base string) (*Issuer, *bytes.Buffer, *prometheus.Registry) {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	m, err := newMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	log := new(bytes.Buffer)
	return &Issuer{c: Config{BaseURL: base, Now: time.Now, Logger: slog.New(slog.NewTextHandler(log, nil))}, metrics: m}, log, registry
}

func TestAPanicIsAServerErrorAndALogLine(t *testing.T) {
	t.Parallel()
	i, log, registry := bare(t, "https://id.example")
	mux := http.NewServeMux()
	mux.HandleFunc("/realms/{realm}/protocol/openid-connect/token", func(http.ResponseWriter, *http.Request) { panic("s3cret detail") })
	w := httptest.NewRecorder()
	i.observe(i.common(mux)).ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/realms/demo/protocol/openid-connect/token", nil))
	if w.Code != http.StatusInternalServerError || strings.Contains(w.Body.String(), "s3cret") || !strings.Contains(w.Body.String(), `"server_error"`) {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
	if !strings.Contains(log.String(), "request panicked") || strings.Count(log.String(), "request served") != 1 {
		t.Errorf("log:\n%s", log)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var counted []string
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "tegata_issuer_requests_total" {
				counted = append(counted, m.String())
			}
		}
	}
	if len(counted) != 1 || !strings.Contains(strings.Join(counted, "\n"), `"token"`) || !strings.Contains(strings.Join(counted, "\n"), `"500"`) {
		t.Errorf("the request is not counted once under its endpoint and status: %v", counted)
	}
}

func TestHSTSOnlyOverHTTPS(t *testing.T) {
	t.Parallel()
	for base, want := range map[string]string{"https://id.example": "max-age=31536000; includeSubDomains", "http://127.0.0.1:8080": ""} {
		i, _, _ := bare(t, base)
		w := httptest.NewRecorder()
		i.common(http.NotFoundHandler()).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		if got := w.Header().Get("Strict-Transport-Security"); got != want {
			t.Errorf("%s: Strict-Transport-Security = %q, want %q", base, got, want)
		}
	}
}

func TestPathsDoNotMultiplyMetrics(t *testing.T) {
	t.Parallel()
	for pattern, want := range map[string]string{
		"":                    "other",
		"/":                   "other",
		"/realms/{realm}":     "realm",
		"/realms/{realm}/{$}": "realm",
		"/realms/{realm}/protocol/openid-connect/token/introspect": "token/introspect",
		"/realms/{realm}/login-actions/authenticate":               "login-actions/authenticate",
		"/.well-known/oauth-authorization-server/realms/{realm}":   ".well-known/oauth-authorization-server",
		"/realms/{realm}/.well-known/openid-configuration":         ".well-known/openid-configuration",
	} {
		if got := endpointOf(&http.Request{Pattern: pattern}); got != want {
			t.Errorf("endpointOf(%q) = %q, want %q", pattern, got, want)
		}
	}
}

func TestBaseURLs(t *testing.T) {
	t.Parallel()
	for base, ok := range map[string]bool{
		"https://id.example": true, "http://127.0.0.1:8080": true,
		"": false, "id.example": false, "https://id.example/": false, "https://id.example/auth": false,
		"ftp://id.example": false, "https://u@id.example": false, "https://id.example?x": false,
	} {
		if err := checkBaseURL(base); (err == nil) != ok {
			t.Errorf("checkBaseURL(%q) = %v", base, err)
		}
	}
}
