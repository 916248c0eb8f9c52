package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tegata/tegata/internal/stack"
)

// TestSeveralPoliciesAndAShadow: the path and the host choose who decides, and
// a policy that shadows refuses nothing but says what it would have done.
func TestSeveralPoliciesAndAShadow(t *testing.T) {
	write := func(rego string) string {
		dir := t.TempDir()
		writeFile(t, filepath.Join(dir, "p.rego"), "package envoy.authz\n\n"+rego)
		return dir
	}
	s := ownStack(t, func(c *stack.Config) {
		c.AuthzYAML = "policies:\n" +
			"  - { name: closed, paths: [/closed], dir: " + write("allow := false") + " }\n" +
			"  - { name: trial, hosts: [trial.test], mode: shadow, dir: " + write("default allow := false") + " }\n" +
			"  - { name: open, paths: [/open], dir: " + write("allow := true") + " }\n"
	})
	asHost := func(host, path, token string) answer {
		req, err := http.NewRequest(http.MethodGet, s.GatewayURL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		return do(req, nil)
	}
	token := mustMint(t, s, "orders:read")
	wantOK(t, "the policy that is open", ask(s, http.MethodGet, "/open/x", ""))
	if a := ask(s, http.MethodGet, "/orders", token); a.status != http.StatusForbidden || !strings.Contains(string(a.body), "no_policy") {
		t.Errorf("what no policy is for: %v %s", a, a.body)
	}
	if a := ask(s, http.MethodGet, "/closed/x", token); a.status != http.StatusForbidden {
		t.Errorf("the policy that is closed: %v", a)
	}
	// Envoy resolves this to /closed before it asks; whoever does not is refused.
	for _, path := range []string{"/open/../closed", "/%63losed", "//closed", "/open/..;/closed"} {
		if a := raw(s, http.MethodGet, path, "Authorization: Bearer "+token); a.status == http.StatusOK {
			t.Errorf("%s: %v", path, a)
		}
	}
	wantOK(t, "a shadow, without a token", asHost("trial.test", "/orders", ""))
	wantOK(t, "a shadow, with a forged token", asHost("trial.test", "/orders", token+"x"))
	log, err := os.ReadFile(filepath.Join(s.Dir, "authz.log"))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(log), `"would have been refused","policy":"trial"`); n != 2 {
		t.Errorf("the log tells of %d refusals that did not happen, want 2", n)
	}
}
