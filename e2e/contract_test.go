package e2e

import (
	"bytes"
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tegata/tegata/internal/stack"
)

// The contract with Envoy, line by line (docs/ARCHITECTURE.md), each through a
// real one. Paths (line 6) are TestPathConfusionOpensNothing; headers that only
// we assert (line 8) are TestUpstreamBelievesOnlyUs too.

// withEnvoy changes the shipped bootstrap.
func withEnvoy(t *testing.T, c *stack.Config, old, replacement string) {
	t.Helper()
	changed := bytes.Replace(c.Bootstrap, []byte(old), []byte(replacement), 1)
	if bytes.Equal(changed, c.Bootstrap) {
		t.Fatalf("the shipped bootstrap has no %q any more", old)
	}
	c.Bootstrap = changed
}

const failureMode = "                      failure_mode_allow: false\n"

// policyDir writes a policy in package envoy.authz.
func policyDir(t *testing.T, rego string) string {
	t.Helper()
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "p.rego"), "package envoy.authz\n\n"+rego)
	return dir
}

// TestAPolicysBugIsARefusal (lines 1, 2 and 7): whatever goes wrong in a policy,
// Envoy hears a proper refusal, the log the reason, and the caller nothing of it.
func TestAPolicysBugIsARefusal(t *testing.T) {
	s := ownStack(t, func(c *stack.Config) {
		c.Set["authz.policy.deadline"] = "50ms"
		c.Set["authz.policy.dir"] = policyDir(t, `
import rego.v1

path := input.attributes.request.http.path

allow := 7 if path == "/wrong-type"

allow := {"allowed": true, "http_status": "words"} if path == "/wrong-member"

allow := {"body": "no verdict"} if path == "/no-verdict"

allow if {
	path == "/conflict"
	conflict == 1
}

conflict := 1

conflict := count(path)

allow if {
	path == "/endless"
	some a in numbers.range(1, 100000)
	some b in numbers.range(1, 100000)
	a * b < 0
}

allow if path == "/fine"
`)
		c.Set["log.level"] = "debug"
	})
	wantOK(t, "no bug", ask(s, http.MethodGet, "/fine", ""))
	for _, path := range []string{"/wrong-type", "/wrong-member", "/no-verdict", "/conflict", "/endless", "/undefined"} {
		begun := time.Now()
		a := ask(s, http.MethodGet, path, "")
		if a.status != http.StatusForbidden && a.status != http.StatusUnauthorized {
			t.Errorf("%s: %v", path, a)
		}
		var body struct{ Error string }
		if err := json.Unmarshal(a.body, &body); err != nil || body.Error == "" {
			t.Errorf("%s: the body %q is not an error object of ours: Envoy took it for a failure", path, a.body)
		}
		for _, secret := range []string{"rego", "p.rego", "eval_", "deadline", "conflict"} {
			if strings.Contains(strings.ToLower(string(a.body)), secret) {
				t.Errorf("%s: the body tells of the inside: %s", path, a.body)
			}
		}
		if took := time.Since(begun); path == "/endless" && took > time.Second {
			t.Errorf("%s: took %v: Envoy's own timeout decided", path, took)
		}
	}
	log := readFile(t, filepath.Join(s.Dir, "authz.log"))
	for _, reason := range []string{"eval_conflict_error", "want a boolean", "want a number", "has no member allowed", "undefined", "within 50ms"} {
		if !strings.Contains(log, reason) {
			t.Errorf("the log does not say %q", reason)
		}
	}
}

// TestBothFormsOfHeaders (line 3): with encode_raw_headers too, a second
// credential is refused, joined or not.
func TestBothFormsOfHeaders(t *testing.T) {
	for name, change := range map[string]func(*stack.Config){
		"headers": func(*stack.Config) {},
		"header_map": func(c *stack.Config) {
			withEnvoy(t, c, failureMode, failureMode+"                      encode_raw_headers: true\n")
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := ownStack(t, change)
			token := mustMint(t, s, "orders:read")
			wantOK(t, "one", raw(s, http.MethodGet, "/orders", "Authorization: Bearer "+token))
			for what, headers := range map[string][]string{
				"two":              {"Authorization: Bearer " + token, "Authorization: Bearer " + token},
				"two, other case":  {"Authorization: Bearer " + token, "AUTHORIZATION: Bearer " + token},
				"joined by comma":  {"Authorization: Bearer " + token + ", Bearer " + token},
				"two schemes":      {"Authorization: Basic YTpi", "Authorization: Bearer " + token},
				"two, other token": {"Authorization: Bearer x", "Authorization: Bearer " + token},
			} {
				if a := raw(s, http.MethodGet, "/orders", headers...); a.status != http.StatusBadRequest && a.status != http.StatusUnauthorized {
					t.Errorf("%s: %v", what, a)
				}
			}
		})
	}
}

// TestTheFourStatesOfABody (line 5): absent, whole, cut off by Envoy's limit,
// malformed. Only a policy that reads the body minds a malformed one.
func TestTheFourStatesOfABody(t *testing.T) {
	s := ownStack(t, func(c *stack.Config) {
		withEnvoy(t, c, failureMode, failureMode+
			"                      with_request_body: { max_request_bytes: 64, allow_partial_message: true }\n")
		c.Set["authz.policy.dir"] = policyDir(t, `
import rego.v1

path := input.attributes.request.http.path

allow if path == "/any"

allow if {
	path == "/reads"
	input.parsed_body.go == "yes"
}

allow if {
	path == "/cut"
	input.truncated_body
}
`)
	})
	send := func(path, body string) int {
		req, err := http.NewRequest(http.MethodPost, s.GatewayURL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		return do(req, nil).status
	}
	large := `{"go": "yes", "more": "` + strings.Repeat("x", 200) + `"}`
	for _, tt := range []struct {
		path, body string
		allowed    bool
	}{
		{"/any", "", true},
		{"/any", `{"go": "yes"}`, true},
		{"/any", large, true},
		{"/any", `{"go": `, true},
		{"/reads", "", false},
		{"/reads", `{"go": "yes"}`, true},
		{"/reads", `{"go": "no"}`, false},
		{"/reads", large, false},
		{"/reads", `{"go": "yes"`, false},
		{"/reads", `{"go": "yes"} {"go": "yes"}`, false},
		{"/cut", `{"go": "yes"}`, false},
		{"/cut", large, true},
	} {
		if got := send(tt.path, tt.body); (got == http.StatusOK) != tt.allowed || !tt.allowed && got != http.StatusForbidden && got != http.StatusUnauthorized {
			t.Errorf("%s with %d bytes %.20q: %d, want allowed: %v", tt.path, len(tt.body), tt.body, got, tt.allowed)
		}
	}
}

// TestMetadataReachesTheAccessLog (lines 7 and 8): what was decided is beside
// each request; the token is not.
func TestMetadataReachesTheAccessLog(t *testing.T) {
	s := ownStack(t, func(*stack.Config) {})
	token := mustMint(t, s, "orders:read")
	wantOK(t, "allowed", ask(s, http.MethodGet, "/orders", token))
	wantRefused(t, "refused", ask(s, http.MethodPost, "/orders", token), http.StatusForbidden, "insufficient_scope")
	file := filepath.Join(s.Dir, "envoy.log")
	type line struct {
		Method string
		Status int
		Tegata map[string]any
	}
	var lines []line
	eventually(t, 20*time.Second, "both are in the access log", func() bool {
		lines = nil
		for text := range strings.Lines(readFile(t, file)) {
			var l line
			if json.Unmarshal([]byte(text), &l) == nil && l.Tegata["subject"] != nil {
				lines = append(lines, l)
			}
		}
		time.Sleep(10 * time.Millisecond) // Envoy writes its log by and by
		return len(lines) >= 2
	})
	for _, l := range lines {
		want := "allowed"
		if l.Method == http.MethodPost {
			want = "insufficient_scope"
		}
		if l.Tegata["reason"] != want || l.Tegata["route"] != "/orders" || l.Tegata["client"] != stack.ServiceID ||
			l.Tegata["decision_id"] == "" || l.Tegata["policy_revision"] == "" {
			t.Errorf("%s %d: metadata %v", l.Method, l.Status, l.Tegata)
		}
	}
	for _, name := range []string{"envoy.log", "authz.log", "issuer.log"} {
		if strings.Contains(readFile(t, filepath.Join(s.Dir, name)), strings.Split(token, ".")[2]) {
			t.Errorf("the token's signature is in %s", name)
		}
	}
}
