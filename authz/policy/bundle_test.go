package policy

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/bundle"
)

// tarball is a bundle whose policy is body, signed if key is not nil.
func tarball(t testing.TB, revision, body string, key *ecdsa.PrivateKey, change func(*bundle.Bundle)) []byte {
	t.Helper()
	const path = "/p.rego"
	raw := []byte("package envoy.authz\n\n" + body)
	module, err := ast.ParseModuleWithOpts(path, string(raw), ast.ParserOptions{RegoVersion: ast.RegoV1})
	if err != nil {
		t.Fatal(err)
	}
	b := bundle.Bundle{
		Manifest: bundle.Manifest{Revision: revision},
		Modules:  []bundle.ModuleFile{{URL: path, Path: path, Parsed: module, Raw: raw}},
		Data:     map[string]any{"tegata": map[string]any{"routes": map[string]any{"/o": map[string]any{"GET": map[string]any{}}}}},
	}
	b.Manifest.Init()
	if change != nil {
		change(&b)
	}
	if key != nil {
		private, err := x509.MarshalECPrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		text := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private})
		if err := b.GenerateSignature(bundle.NewSigningConfig(string(text), "ES256", ""), "k1", false); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	if err := bundle.NewWriter(&out).Write(b); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func signingKey(t testing.TB) (*ecdsa.PrivateKey, map[string]BundleKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	return key, map[string]BundleKey{"k1": {PEM: string(text), Algorithm: "ES256"}}
}

func allows(t testing.TB, e *Engine) bool {
	t.Helper()
	r, err := e.Current().Evaluate(t.Context(), ast.NewObject())
	if err != nil {
		t.Fatal(err)
	}
	return r.Allowed
}

func TestABundleOnDiskIsFollowed(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "b.tar.gz")
	put := func(b []byte) {
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(tarball(t, "r1", "allow := true", nil, nil))
	e, err := New(t.Context(), Config{Bundle: &BundleConfig{File: file}, Deadline: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if !allows(t, e) || !strings.HasPrefix(e.Current().Revision(), "r1@") {
		t.Errorf("revision %s", e.Current().Revision())
	}
	if route, ok := e.Current().Route("GET", "/o"); !ok || route != "/o" {
		t.Error("the bundle's routes are not there")
	}
	first := e.Current()
	put([]byte("no bundle"))
	if err := e.Reload(t.Context()); err == nil || e.Current() != first {
		t.Errorf("a broken bundle: %v, serving %s", err, e.Current().Revision())
	}
	put(tarball(t, "r2", "allow := false", nil, nil))
	if err := e.Reload(t.Context()); err != nil || allows(t, e) {
		t.Errorf("the repaired bundle: %v", err)
	}
}

func TestOnlySignedBundlesPassAKey(t *testing.T) {
	t.Parallel()
	key, keys := signingKey(t)
	other, _ := signingKey(t)
	good := tarball(t, "r", "allow := true", key, nil)
	for name, tt := range map[string]struct {
		bundle []byte
		keys   map[string]BundleKey
		want   bool
	}{
		"signed":                    {good, keys, true},
		"signed, nobody asks":       {good, nil, true},
		"unsigned, nobody asks":     {tarball(t, "r", "allow := true", nil, nil), nil, true},
		"unsigned":                  {tarball(t, "r", "allow := true", nil, nil), keys, false},
		"signed by another":         {tarball(t, "r", "allow := true", other, nil), keys, false},
		"changed after signing":     {swap(t, good), keys, false},
		"cut off":                   {good[:len(good)/2], keys, false},
		"a key id that is not ours": {good, map[string]BundleKey{"k2": keys["k1"]}, false},
		"wasm": {tarball(t, "r", "allow := true", nil, func(b *bundle.Bundle) {
			b.WasmModules = []bundle.WasmModuleFile{{URL: "/policy.wasm", Path: "/policy.wasm", Raw: []byte("wasm")}}
		}), nil, false},
		"a delta": {delta(t), nil, false},
		"empty":   {nil, nil, false},
	} {
		c := BundleConfig{Keys: tt.keys}
		if _, err := c.parseBundle(tt.bundle); (err == nil) != tt.want {
			t.Errorf("%s: %v, want accepted: %v", name, err, tt.want)
		}
	}
}

// swap replaces the policy of a signed bundle and keeps its signature.
func swap(t testing.TB, signed []byte) []byte {
	t.Helper()
	b, err := bundle.NewCustomReader(bundle.NewTarballLoaderWithBaseURL(bytes.NewReader(signed), "")).WithSkipBundleVerification(true).Read()
	if err != nil {
		t.Fatal(err)
	}
	raw := []byte("package envoy.authz\n\nallow := 1 == 1")
	b.Modules[0].Raw = raw
	if b.Modules[0].Parsed, err = ast.ParseModuleWithOpts("/p.rego", string(raw), ast.ParserOptions{RegoVersion: ast.RegoV1}); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := bundle.NewWriter(&out).Write(b); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func delta(t testing.TB) []byte {
	t.Helper()
	b := bundle.Bundle{Patch: bundle.Patch{Data: []bundle.PatchOperation{{Op: "upsert", Path: "/a", Value: 1}}}}
	b.Manifest.Init()
	var out bytes.Buffer
	if err := bundle.NewWriter(&out).Write(b); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestAWrongBundleConfigurationIsRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]Config{
		"nothing":      {Bundle: &BundleConfig{}},
		"both":         {Bundle: &BundleConfig{File: "a", URL: "http://b"}},
		"two sources":  {Bundle: &BundleConfig{File: "a"}, Dir: "b"},
		"a shared key": {Bundle: &BundleConfig{File: "a", Keys: map[string]BundleKey{"k": {PEM: "secret", Algorithm: "HS256"}}}},
		"none":         {Bundle: &BundleConfig{File: "a", Keys: map[string]BundleKey{"k": {PEM: "x", Algorithm: "none"}}}},
	} {
		if _, err := New(t.Context(), c); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

// service is a bundle service whose answer can be changed.
type service struct {
	mu      sync.Mutex
	bundle  []byte
	etag    string
	status  int
	asked   []http.Header
	changed chan struct{}
}

func (s *service) set(status int, etag string, b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status, s.etag, s.bundle = status, etag, b
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.asked = append(s.asked, r.Header)
	hold, changed := s.status == http.StatusOK && strings.Contains(r.Header.Get("Prefer"), "wait=") && r.Header.Get("If-None-Match") == s.etag, s.changed
	s.mu.Unlock()
	if hold {
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("Content-Type", "application/vnd.openpolicyagent.bundles")
	w.Header().Set("ETag", s.etag)
	switch {
	case s.status != http.StatusOK:
		w.WriteHeader(s.status)
	case r.Header.Get("If-None-Match") == s.etag:
		w.WriteHeader(http.StatusNotModified)
	default:
		_, _ = w.Write(s.bundle)
	}
}

func TestABundleServiceIsFollowed(t *testing.T) {
	t.Parallel()
	s := &service{changed: make(chan struct{})}
	s.set(http.StatusOK, `"1"`, tarball(t, "r1", "allow := true", nil, nil))
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	c := BundleConfig{
		URL: server.URL, Header: http.Header{"Authorization": {"Bearer b"}}, LongPoll: 30 * time.Second,
		MinDelay: time.Millisecond, MaxDelay: 5 * time.Millisecond, Persist: filepath.Join(t.TempDir(), "kept.tar.gz"),
	}
	e, err := New(t.Context(), Config{Bundle: &c, Deadline: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	until := func(what string, yes func() bool) {
		t.Helper()
		for begun := time.Now(); !yes(); time.Sleep(time.Millisecond) {
			if time.Since(begun) > 20*time.Second {
				t.Fatalf("still not: %s (%+v)", what, e.Status())
			}
		}
	}
	s.set(http.StatusOK, `"2"`, tarball(t, "r2", "allow := false", nil, nil))
	until("the second bundle decides", func() bool { return !allows(t, e) })
	s.set(http.StatusInternalServerError, `"2"`, nil)
	until("the failure is reported", func() bool { return e.Status().LastError != nil })
	s.set(http.StatusOK, `"3"`, []byte("no bundle"))
	until("the broken bundle is reported", func() bool {
		err := e.Status().LastError
		return err != nil && strings.Contains(err.Error(), "reading the bundle")
	})
	if allows(t, e) || !strings.HasPrefix(e.Current().Revision(), "r2@") {
		t.Errorf("serving %s", e.Current().Revision())
	}
	s.set(http.StatusOK, `"4"`, tarball(t, "r4", "allow := true", nil, nil))
	until("the repaired bundle decides", func() bool { return allows(t, e) && e.Status().LastError == nil })
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Run = %v", err)
	}
	s.mu.Lock()
	last := s.asked[len(s.asked)-1]
	s.mu.Unlock()
	if last.Get("Authorization") != "Bearer b" || !strings.Contains(last.Get("Prefer"), "modes=snapshot;wait=30") {
		t.Errorf("asked with %v", last)
	}

	// At the next start the server is away: what was kept serves.
	s.set(http.StatusServiceUnavailable, "", nil)
	e, err = New(t.Context(), Config{Bundle: &c, Deadline: time.Minute})
	if err != nil || !allows(t, e) || !strings.HasPrefix(e.Current().Revision(), "r4@") {
		t.Fatalf("without the server: %v", err)
	}
	c.Persist = ""
	if _, err := New(t.Context(), Config{Bundle: &c}); err == nil {
		t.Error("with nothing kept and no server it starts")
	}
}

// FuzzBundle: no bytes make reading a bundle panic.
func FuzzBundle(f *testing.F) {
	f.Add(tarball(f, "r", "allow := true", nil, nil))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		c := BundleConfig{}
		s, err := c.parseBundle(b)
		if err == nil && s.revision == "" {
			t.Error("a bundle without a revision")
		}
	})
}
