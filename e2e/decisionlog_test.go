package e2e

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tegata/tegata/internal/stack"
)

// TestDecisionsAreLogged: allowed and refused, as a policy author knows it from
// OPA, and never the token.
func TestDecisionsAreLogged(t *testing.T) {
	file := filepath.Join(t.TempDir(), "decisions.log")
	s := ownStack(t, func(c *stack.Config) {
		c.AuthzYAML = "decision_log:\n  file: { path: " + file + " }\n  mask: [ { path: /input/attributes/request/http/headers/x-secret } ]\n"
	})
	token := mustMint(t, s, "orders:read")
	wantOK(t, "allowed", raw(s, http.MethodGet, "/orders?q=1", "Authorization: Bearer "+token, "X-Secret: hush"))
	wantRefused(t, "refused", ask(s, http.MethodPost, "/orders", token), http.StatusForbidden, "insufficient_scope")
	wantRefused(t, "no token", ask(s, http.MethodGet, "/orders", ""), http.StatusUnauthorized, "")

	type event struct {
		DecisionID string `json:"decision_id"`
		Path       string
		Timestamp  time.Time
		Input      struct {
			Attributes struct {
				Request struct {
					HTTP struct {
						Method  string
						Path    string
						Headers map[string]string
					}
				}
			}
			Token struct{ Client string }
		}
		Result any
		Erased []string
		Custom struct{ Reason, Route, Client string }
	}
	var events []event
	eventually(t, 20*time.Second, "three decisions are logged", func() bool {
		time.Sleep(20 * time.Millisecond) // it is written by and by
		events = nil
		for line := range strings.Lines(readFile(t, file)) {
			var e event
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				return false // a line that is being written
			}
			events = append(events, e)
		}
		return len(events) >= 3
	})
	for i, want := range []string{"allowed", "insufficient_scope", "no_credential"} {
		e := events[i]
		if e.Custom.Reason != want || e.Path != "envoy/authz/allow" || e.DecisionID == "" || e.Timestamp.IsZero() || e.Result == nil || e.Custom.Route != "/orders" {
			t.Errorf("event %d: %+v, want %s", i, e, want)
		}
	}
	first := events[0]
	if h := first.Input.Attributes.Request.HTTP; h.Method != http.MethodGet || h.Path != "/orders?q=1" || h.Headers["x-secret"] != "" || h.Headers["authorization"] != "" {
		t.Errorf("the input is %+v", h)
	}
	if len(first.Erased) != 2 || first.Input.Token.Client != stack.ServiceID || first.Custom.Client != stack.ServiceID {
		t.Errorf("the event is %+v", first)
	}
	if text := readFile(t, file); strings.Contains(text, strings.Split(token, ".")[2]) || strings.Contains(text, "hush") {
		t.Error("a secret is in the log")
	}
}
