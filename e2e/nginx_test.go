package e2e

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tegata/tegata/internal/stack"
)

// nginx returns the path of NGINX, and skips the test without it; in CI its
// absence is a failure.
func nginx(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"nginx", "/usr/sbin/nginx"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	const hint = "no NGINX: sudo apt-get install nginx, or brew install nginx"
	if os.Getenv("CI") != "" {
		t.Fatal(hint)
	}
	t.Skip(hint)
	return ""
}

// behindNGINX puts the shipped nginx.conf in front of s's API and returns s
// with NGINX for its gateway.
func behindNGINX(t *testing.T, s *stack.Stack, door string) *stack.Stack {
	t.Helper()
	config, err := os.ReadFile(filepath.Join("..", "manifests", "nginx", "nginx.conf"))
	if err != nil {
		t.Fatal(err)
	}
	gateway, dir := freeAddress(t), t.TempDir()
	text := string(config)
	for from, to := range map[string]string{
		"127.0.0.1:8000": gateway,
		"127.0.0.1:3000": strings.TrimPrefix(s.APIURL, "http://"),
		"127.0.0.1:9193": door,
		"/dev/stdout":    filepath.Join(dir, "access.log"),
	} {
		if !strings.Contains(text, from) {
			t.Fatalf("the shipped nginx.conf has no %q any more", from)
		}
		text = strings.Replace(text, from, to, 1)
	}
	// Where a user who is not root may write.
	text = strings.Replace(text, "http {\n", "http {\n    client_body_temp_path "+dir+"/body;\n    proxy_temp_path "+dir+"/proxy;\n"+
		"    fastcgi_temp_path "+dir+"/fastcgi;\n    uwsgi_temp_path "+dir+"/uwsgi;\n    scgi_temp_path "+dir+"/scgi;\n", 1)
	file := filepath.Join(dir, "nginx.conf")
	writeFile(t, file, text)
	p := &stack.Process{
		Name: "nginx", LogFile: filepath.Join(dir, "nginx.log"), ReadyURL: "http://" + gateway + "/healthz",
		Args: []string{nginx(t), "-p", dir, "-c", file, "-g", "daemon off; master_process off; pid " + dir + "/pid; error_log stderr;"},
	}
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	behind := *s
	behind.Dir, behind.GatewayURL, behind.Envoy = dir, "http://"+gateway, p
	return &behind
}

// TestNGINXAsks: the shipped nginx.conf tells the story of Envoy, with every
// status and header as it is meant.
func TestNGINXAsks(t *testing.T) {
	nginx(t)
	door, dir := freeAddress(t), pathPolicy(t)
	s := ownStack(t, func(c *stack.Config) {
		c.Envoy = ""
		c.Set["authz.http.listen"] = door
		c.Set["authz.policy.dir"] = dir
	})
	n := behindNGINX(t, s, door)
	decides(t, n)
	token := mustMint(t, s, "orders:read")
	confuse(t, n, token)

	// NGINX resolves these to /orders for itself, and would pass them on as
	// they are: nobody knows what the API makes of them.
	for _, path := range []string{"/admin/../orders", "/admin/%2e%2e/orders", "/admin%2f..%2forders", "/orders/."} {
		if a := raw(n, http.MethodGet, path, "Authorization: Bearer "+token); a.status != http.StatusBadRequest {
			t.Errorf("%s: %v, want 400", path, a)
		}
	}

	n.Envoy.Stop() // flushes its log
	log, err := os.ReadFile(filepath.Join(n.Dir, "access.log"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"status":"200"`, `"reason":"allowed","route":"/orders"`, `"client":"` + stack.ServiceID + `"`,
		`"reason":"insufficient_scope","route":"/orders/{id}/secret"`, `"reason":"revoked"`,
	} {
		if !strings.Contains(string(log), want) {
			t.Errorf("the access log never says %s", want)
		}
	}
	if strings.Contains(string(log), token[:30]) {
		t.Error("the access log has a token")
	}
}

// TestNGINXFailsClosed: without a lease, and without authz, nothing passes and
// the client hears when to come back.
func TestNGINXFailsClosed(t *testing.T) {
	nginx(t)
	door := freeAddress(t)
	s := ownStack(t, func(c *stack.Config) {
		c.Envoy = ""
		c.Set["authz.http.listen"] = door
	})
	n := behindNGINX(t, s, door)
	token := mustMint(t, s, "orders:read")
	wantOK(t, "under a lease", ask(n, http.MethodGet, "/orders", token))
	notNow := func(what, why string) {
		t.Helper()
		var a answer
		eventually(t, 3*lease, what, func() bool {
			a = ask(n, http.MethodGet, "/orders", token)
			return a.status != http.StatusOK
		})
		if a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" || !strings.Contains(string(a.body), why) {
			t.Errorf("%s: %v %q %s", what, a, a.header, a.body)
		}
	}
	s.Issuer.Kill()
	notNow("without a lease", `"error":"stale_revocations"`)
	s.Authz.Kill()
	notNow("without authz", `"error":"unavailable"`)
}
