package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestPortInUseNamesTheKeyAndAWayOut(t *testing.T) {
	t.Parallel()
	l, err := listen(t.Context(), "authz.listen", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	_, err = listen(t.Context(), "authz.listen", l.Addr().String())
	var h hinter
	if !errors.As(err, &h) || !strings.Contains(h.Hint(), "--set authz.listen=") {
		t.Fatalf("no hint: %v", err)
	}
	if want := "authz.listen: " + l.Addr().String() + " is in use by another program"; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
}

func TestUnixSocketOfADeadProgramIsReplacedAndOfALiveOneNot(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "s") // t.TempDir can be longer than a socket's path may be
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	addr := "unix:" + filepath.Join(dir, "s")
	first, err := listen(t.Context(), "k", addr)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := listen(t.Context(), "k", addr); err == nil {
		t.Fatal("took the socket of a live program")
	}
	first.(*net.UnixListener).SetUnlinkOnClose(false) // as after kill -9
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second, err := listen(t.Context(), "k", addr)
	if err != nil {
		t.Fatalf("a dead program's socket: %v", err)
	}
	_ = second.Close()
}

func TestRequestsUnderWayFinishAtShutdown(t *testing.T) {
	t.Parallel()
	arrived, release := make(chan struct{}), make(chan struct{})
	s := newHTTPServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-release
		_, _ = io.WriteString(w, "finished")
	}), nil, slog.New(slog.DiscardHandler))
	l, err := listen(t.Context(), "k", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- serveHTTP(ctx, s, l) }()
	answered := make(chan string, 1)
	go func() {
		resp, err := http.Get("http://" + l.Addr().String())
		if err != nil {
			answered <- err.Error()
			return
		}
		defer func() { _ = resp.Body.Close() }()
		b, _ := io.ReadAll(resp.Body)
		answered <- string(b)
	}()
	<-arrived
	stop()
	close(release)
	if got := <-answered; got != "finished" {
		t.Errorf("answer %q, want %q", got, "finished")
	}
	if err := <-ended; err != nil {
		t.Errorf("serveHTTP: %v", err)
	}
}

func TestManagementSaysWhyItIsNotReady(t *testing.T) {
	t.Parallel()
	var reason error
	h := management(newMetrics(), func() error { return reason }, func() programStatus { return programStatus{} })
	for _, row := range []struct {
		path   string
		reason error
		status int
		body   string
	}{
		{"/health/live", errors.New("no keys"), 200, "live"},
		{"/health/ready", errors.New("no keys of https://id.example.com"), 503, "not ready: no keys of https://id.example.com"},
		{"/health/ready", nil, 200, "ready"},
		{"/metrics", nil, 200, "tegata_build_info"},
		{"/debug/pprof/", nil, 404, ""},
	} {
		reason = row.reason
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, row.path, nil))
		if w.Code != row.status || !strings.Contains(w.Body.String(), row.body) {
			t.Errorf("%s: %d %.80q, want %d %q", row.path, w.Code, w.Body, row.status, row.body)
		}
	}
}

// TestWatchCredentials: each stream shows a fresh token of the client, and a
// refusal is told without what else the issuer answered.
func TestWatchCredentials(t *testing.T) {
	t.Parallel()
	n, refuse := 0, false
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		form, _ := url.ParseQuery(string(body))
		id, secret, _ := r.BasicAuth()
		if id != "authz" || secret != "s3cret" || form.Get("scope") != "revocation:watch" || form.Get("grant_type") != "client_credentials" {
			t.Errorf("asked as %s with %v", id, form)
		}
		w.Header().Set("Content-Type", "application/json")
		if refuse {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, `{"error":"invalid_client","error_description":"s3cret is wrong"}`)
			return
		}
		n++
		_ = json.NewEncoder(w).Encode(map[string]any{"access_token": "token" + string(rune('0'+n)), "token_type": "Bearer", "expires_in": 300})
	}))
	t.Cleanup(issuer.Close)
	c := newTokenCredentials(revocationsConfig{TokenURL: issuer.URL, ClientID: "authz"}, "s3cret", true)
	for _, want := range []string{"Bearer token1", "Bearer token2"} {
		got, err := c.GetRequestMetadata(t.Context())
		if err != nil || got["authorization"] != want {
			t.Errorf("got %v, %v; want %s", got, err, want)
		}
	}
	if !c.RequireTransportSecurity() {
		t.Error("with TLS configured, plaintext must be refused")
	}
	refuse = true
	_, err := c.GetRequestMetadata(t.Context())
	if err == nil || strings.Contains(err.Error(), "s3cret") || !strings.Contains(err.Error(), "invalid_client") {
		t.Errorf("got %v, want invalid_client and no secret", err)
	}
}

func TestSecretComesFromItsFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("from-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := secretOf("key", "", file)
	if err != nil || got != "from-file" {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := secretOf("key", "", file+"x"); err == nil {
		t.Error("a file that is not there was accepted")
	}
}

// TestTLSOffersWhatBCP195Recommends: a handshake works with each cipher suite
// of RFC 9325 §4.2, and with no other of TLS 1.2 that Go knows.
func TestTLSOffersWhatBCP195Recommends(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "a.crt"), filepath.Join(dir, "a.key")
	writePair(t, cert, key, 1, time.Now())
	server, err := serverTLS("issuer.tls", tlsConfig{CertFile: cert, KeyFile: key})
	if err != nil {
		t.Fatal(err)
	}
	accepted := 0
	for _, suite := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		if !slices.Contains(suite.SupportedVersions, tls.VersionTLS12) {
			continue
		}
		// InsecureSkipVerify: the test is about ciphers, the certificate is its own.
		client := &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{suite.ID}, InsecureSkipVerify: true}
		recommended := slices.Contains(recommendedCiphers(), suite.ID)
		err := handshake(t.Context(), server, client)
		if err == nil {
			accepted++
		}
		if err == nil && !recommended {
			t.Errorf("%s is accepted", suite.Name)
		}
		if err != nil && recommended && strings.Contains(suite.Name, "ECDSA") { // the key's kind
			t.Errorf("%s: %v", suite.Name, err)
		}
	}
	if accepted != 2 {
		t.Errorf("%d suites accepted, want the 2 that an ECDSA key can do", accepted)
	}
}

// handshake tries one over a pipe.
func handshake(ctx context.Context, server, client *tls.Config) error {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	heard := make(chan error, 1)
	go func() {
		err := tls.Server(a, server).HandshakeContext(ctx)
		_ = a.Close()
		heard <- err
	}()
	err := tls.Client(b, client).HandshakeContext(ctx)
	_ = b.Close()
	return errors.Join(err, <-heard)
}

// TestCertificatesAreAskedForWhereTheyAreWanted: at the host of issuer.mtls.url
// alone, if there is one (RFC 8705 §5).
func TestCertificatesAreAskedForWhereTheyAreWanted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "a.crt"), filepath.Join(dir, "a.key")
	writePair(t, cert, key, 1, time.Now())
	for _, tt := range []struct {
		url, host string
		asked     bool
	}{
		{"", "id.example.com", true},
		{"https://mtls.example.com:8443", "MTLS.example.com", true},
		{"https://mtls.example.com:8443", "id.example.com", false},
		{"https://mtls.example.com:8443", "", false},
	} {
		server, err := serverTLS("issuer.tls", tlsConfig{CertFile: cert, KeyFile: key})
		if err != nil {
			t.Fatal(err)
		}
		asked := false
		client := &tls.Config{
			ServerName: tt.host, InsecureSkipVerify: true, // the certificate is the test's own
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				asked = true
				return new(tls.Certificate), nil
			},
		}
		if err := handshake(t.Context(), asking(server, tt.url), client); err != nil || asked != tt.asked {
			t.Errorf("%q at %q: asked %v, %v", tt.host, tt.url, asked, err)
		}
	}
}
