package authz

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

const traceID = "4bf92f3577b34da6a3ce929d0e0e4736"

// httpDoor runs r's HTTP doors on l and returns a function that asks as NGINX
// does.
func (r *running) httpDoor(t *testing.T, l net.Listener, c HTTPConfig) (ask func(token string) *http.Response, stop context.CancelFunc, ended chan error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended = make(chan error, 1)
	go func() { ended <- r.RunHTTP(ctx, l, c) }()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, l.Addr().Network(), l.Addr().String())
	}}
	t.Cleanup(transport.CloseIdleConnections)
	client := &http.Client{Transport: transport, Timeout: patience}
	return func(token string) *http.Response {
		t.Helper()
		req, err := http.NewRequest(http.MethodGet, "http://authz/auth/nginx", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header = http.Header{
			"Traceparent":       {"00-" + traceID + "-00f067aa0ba902b7-01"},
			"X-Original-Method": {"GET"}, "X-Original-Uri": {"/orders"}, "X-Forwarded-Host": {"api"}, "Authorization": {"Bearer " + token},
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp
	}, cancel, ended
}

// TestHTTPDoors: they decide as the gRPC door does, on TCP and on a socket,
// and drain with it.
func TestHTTPDoors(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	watch := listen(t, "127.0.0.1:0")
	u, _ := i.serveWatch(t, watch)
	r := start(t, i, watch.Addr().String(), 300*time.Millisecond)
	until(t, "ready", func() bool { return r.Ready() == nil })

	unix, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	spans := tracetest.NewInMemoryExporter()
	traces := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
	none := HTTPConfig{TrustedPeers: []netip.Prefix{}}
	onTCP, _, _ := r.httpDoor(t, listen(t, "127.0.0.1:0"), HTTPConfig{Traces: traces})
	onSocket, stop, ended := r.httpDoor(t, unix, none)
	toStranger, _, _ := r.httpDoor(t, listen(t, "127.0.0.1:0"), none)

	token := i.token(t, "a")
	if resp := onTCP(token); resp.StatusCode != http.StatusOK || resp.Header.Get("X-Tegata-Subject") != "alice" {
		t.Errorf("a good token: %s, %v", resp.Status, resp.Header)
	}
	until(t, "traced", func() bool { return len(spans.GetSpans()) == 1 })
	span := spans.GetSpans()[0]
	if span.Parent.TraceID().String() != traceID || !slices.Contains(span.Attributes, attribute.String("tegata.reason", "allowed")) {
		t.Errorf("span of %s: %v", span.Parent.TraceID(), span.Attributes)
	}
	if resp := onSocket(token); resp.StatusCode != http.StatusOK {
		t.Errorf("on a socket: %s", resp.Status)
	}
	if resp := toStranger(token); resp.StatusCode != http.StatusForbidden {
		t.Errorf("from an untrusted peer: %s, want 403", resp.Status)
	}
	i.revoke("a")
	if _, err := u.Await(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if resp := onTCP(token); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("a revoked token: %s, want 401", resp.Status)
	}

	stop()
	token = i.token(t, "b")
	until(t, "told to look elsewhere", func() bool {
		resp := onSocket(token)
		if resp.StatusCode != http.StatusOK {
			t.Errorf("while draining: %s", resp.Status)
		}
		return resp.Close
	})
	if err := <-ended; err != nil {
		t.Errorf("RunHTTP = %v", err)
	}
	r.stop()
	if err := <-r.ended; err != nil {
		t.Errorf("Run = %v", err)
	}
}

func TestHTTPDoorsWantACertificateWhenToldSo(t *testing.T) {
	t.Parallel()
	r := start(t, newIssuer(t), "127.0.0.1:1", time.Millisecond)
	server := httptest.NewUnstartedServer(nil)
	server.StartTLS()
	server.Close()
	trust := x509.NewCertPool()
	trust.AddCert(server.Certificate())
	for _, want := range []bool{true, false} {
		config := &tls.Config{Certificates: server.TLS.Certificates}
		if !want {
			config.ClientCAs, config.ClientAuth = trust, tls.VerifyClientCertIfGiven
		}
		l := listen(t, "127.0.0.1:0")
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- r.RunHTTP(ctx, l, HTTPConfig{TLS: config}) }()
		client := &http.Client{Timeout: patience, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trust, ServerName: "example.com"}}}
		resp, err := client.Get("https://" + l.Addr().String() + "/auth/envoy/x")
		if err == nil {
			_ = resp.Body.Close()
		}
		if (err == nil) != want {
			t.Errorf("without a certificate: answered %v, want %v (%v)", err == nil, want, err)
		}
		client.CloseIdleConnections()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("RunHTTP = %v", err)
		}
	}
	r.stop()
	if err := <-r.ended; err != nil {
		t.Errorf("Run = %v", err)
	}
}
