package stack

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/tegata/tegata/manifests/envoy"
)

// allowing is an ext_authz server that allows everything, adds a header, and
// remembers what it was asked.
type allowing struct {
	authv3.UnimplementedAuthorizationServer
	mu   sync.Mutex // guards path, has
	path string
	has  map[string]string
}

func (a *allowing) Check(_ context.Context, r *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	h := r.GetAttributes().GetRequest().GetHttp()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.path, a.has = h.GetPath(), h.GetHeaders()
	return &authv3.CheckResponse{
		Status: &status.Status{Code: int32(codes.OK)},
		HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{
			Headers: []*corev3.HeaderValueOption{{Header: &corev3.HeaderValue{Key: "x-tegata-subject", Value: "alice"}}},
		}},
	}, nil
}

func (a *allowing) saw() (path string, headers map[string]string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.path, a.has
}

// gatewayStack is the shipped bootstrap in a real Envoy, before the sample API.
func gatewayStack(t *testing.T, authz *allowing) *Stack {
	t.Helper()
	s := &Stack{Dir: t.TempDir()}
	var err error
	if s.api, err = startAPI(); err != nil {
		t.Fatal(err)
	}
	ports, err := freePorts(numPorts)
	if err != nil {
		t.Fatal(err)
	}
	s.address(ports)
	c := Config{Envoy: lookEnvoy(t), Bootstrap: envoy.Bootstrap}
	if err := s.write(c, ports); err != nil {
		t.Fatal(err)
	}
	s.declare(c)
	s.Issuer, s.Authz = nil, nil
	t.Cleanup(s.Stop)
	if authz != nil {
		l, err := net.Listen("tcp", s.AuthzAddr)
		if err != nil {
			t.Fatal(err)
		}
		server := grpc.NewServer()
		authv3.RegisterAuthorizationServer(server, authz)
		go func() { _ = server.Serve(l) }()
		t.Cleanup(server.Stop)
	}
	if err := s.Envoy.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// lookEnvoy returns an Envoy; outside CI its lack skips the test.
func lookEnvoy(t *testing.T) string {
	t.Helper()
	for _, name := range []string{os.Getenv("TEGATA_ENVOY"), "envoy", "../../.tools/bin/envoy"} {
		if name == "" {
			continue
		}
		if path, err := exec.LookPath(name); err == nil {
			path, err = filepath.Abs(path)
			if err != nil {
				t.Fatal(err)
			}
			return path
		}
	}
	if os.Getenv("CI") != "" {
		t.Fatal("Envoy is missing, and in CI nothing may be")
	}
	t.Skip("Envoy is missing: make test fetches it, or put envoy on PATH")
	return ""
}

// get sends a path exactly as written.
func get(t *testing.T, base, path string, headers map[string]string) (int, Echo) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.URL.Opaque = path
	if strings.HasPrefix(path, "//") { // would be taken for a host: write the URL out
		req.URL.Opaque = "//" + req.URL.Host + path
	}
	for k, v := range headers {
		req.Header.Set(k, v)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var e Echo
	if resp.StatusCode == http.StatusOK {
		if err := json.NewDecoder(resp.Body).Decode(&e); err != nil {
			t.Fatal(err)
		}
	}
	return resp.StatusCode, e
}

// TestShippedBootstrapsAreValid: the files that operators copy are ones that
// Envoy accepts, as they are, but for the folder of keys.
func TestShippedBootstrapsAreValid(t *testing.T) {
	t.Parallel()
	path := lookEnvoy(t)
	for name, bootstrap := range map[string][]byte{
		"envoy.yaml": envoy.Bootstrap, "envoy-http.yaml": envoy.BootstrapHTTP, "envoy-mtls.yaml": envoy.BootstrapMTLS,
		"envoy-streams.yaml": envoy.BootstrapStreams,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			writeKeys(t, dir)
			file := filepath.Join(dir, name)
			if err := os.WriteFile(file, bytes.ReplaceAll(bootstrap, []byte(envoy.TLSFolder), []byte(dir)), 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := exec.CommandContext(t.Context(), path, "--mode", "validate", "-c", file).CombinedOutput()
			if err != nil {
				t.Errorf("envoy --mode validate: %v\n%s", err, out)
			}
		})
	}
}

// writeKeys writes what envoy.BootstrapMTLS names.
func writeKeys(t *testing.T, dir string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"api.example"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		"server.crt": {Type: "CERTIFICATE", Bytes: cert}, "clients.crt": {Type: "CERTIFICATE", Bytes: cert},
		"server.key": {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestBootstrapsDifferOnlyWhereTheySay: a line that is changed in one of the
// files that ask by gRPC is missed in the others.
func TestBootstrapsDifferOnlyWhereTheySay(t *testing.T) {
	t.Parallel()
	for name, other := range map[string][]byte{"envoy-mtls.yaml": envoy.BootstrapMTLS, "envoy-streams.yaml": envoy.BootstrapStreams} {
		lines := map[string]bool{}
		if name == "envoy-streams.yaml" { // it says why
			lines["route: { cluster: api, timeout: 15s }"] = true
			lines[`tegata: "%DYNAMIC_METADATA(envoy.filters.http.ext_authz)%"`] = true
		}
		for line := range strings.Lines(string(other)) {
			lines[strings.Replace(strings.TrimSpace(line), "- ", "", 1)] = true
		}
		for line := range strings.Lines(string(envoy.Bootstrap)) {
			line = strings.Replace(strings.TrimSpace(line), "- ", "", 1)
			if !strings.HasPrefix(line, "#") && !lines[line] {
				t.Errorf("%s lacks %q", name, line)
			}
		}
	}
}

// TestOnePathOneMeaning: what Envoy lets through, what authz was asked about
// and what the API receives are the same path.
func TestOnePathOneMeaning(t *testing.T) {
	t.Parallel()
	a := &allowing{}
	s := gatewayStack(t, a)
	for _, row := range []struct{ sent, want string }{
		{"/orders", "/orders"},
		{"//orders", "/orders"},
		{"/orders//1", "/orders/1"},
		{"/x/../orders", "/orders"},
		{"/./orders", "/orders"},
		{"/x/%2e%2e/orders", "/orders"},
		{"/x/%2E%2e/orders", "/orders"},
		{`/x\..\orders`, "/orders"},
		{"/orders/a%2Fb", "/orders/a%2Fb"},
		{"/orders/a%2fb", "/orders/a%2fb"},
		{"/orders?x=/../y", "/orders?x=/../y"},
	} {
		code, echo := get(t, s.GatewayURL, row.sent, nil)
		asked, _ := a.saw()
		if code != http.StatusOK || asked != row.want || echo.Path != row.want {
			t.Errorf("%s: %d, authz was asked about %q, the API got %q; want %q", row.sent, code, asked, echo.Path, row.want)
		}
	}
}

// TestClientsCannotSpeakForTegata: x-tegata-* of a client reaches neither
// authz nor the API; what authz adds does.
func TestClientsCannotSpeakForTegata(t *testing.T) {
	t.Parallel()
	a := &allowing{}
	s := gatewayStack(t, a)
	code, echo := get(t, s.GatewayURL, "/orders", map[string]string{"X-Tegata-Subject": "mallory", "X-TEGATA-Admin": "1", "X-Other": "stays"})
	if code != http.StatusOK {
		t.Fatalf("status %d", code)
	}
	_, asked := a.saw()
	for name := range asked {
		if strings.HasPrefix(name, "x-tegata-") {
			t.Errorf("authz saw the client's %s", name)
		}
	}
	if got := echo.Headers["X-Tegata-Subject"]; len(got) != 1 || got[0] != "alice" {
		t.Errorf("the API got X-Tegata-Subject %q, want only alice", got)
	}
	if _, ok := echo.Headers["X-Tegata-Admin"]; ok {
		t.Error("the API got the client's X-Tegata-Admin")
	}
	if _, ok := echo.Headers["X-Other"]; !ok {
		t.Error("X-Other was lost")
	}
}

// TestNobodyToAskIsARefusal: without authz nothing passes, and the status says
// that it is not the caller's fault.
func TestNobodyToAskIsARefusal(t *testing.T) {
	t.Parallel()
	s := gatewayStack(t, nil)
	if code, _ := get(t, s.GatewayURL, "/orders", nil); code != http.StatusServiceUnavailable {
		t.Errorf("status %d, want 503", code)
	}
}
