package e2e

import (
	"encoding/json"
	"net/http"
	"os/exec"
	"strings"
	"testing"
)

// TestScopedTokenPassesUntilItIsRevoked is the main job.
func TestScopedTokenPassesUntilItIsRevoked(t *testing.T) {
	s := theStack(t)
	wantRefused(t, "no token", ask(s, http.MethodGet, "/orders", ""), http.StatusUnauthorized, "")

	token, other := mustMint(t, s, "orders:read"), mustMint(t, s, "orders:read")
	wantOK(t, "orders:read", ask(s, http.MethodGet, "/orders", token))

	write := ask(s, http.MethodPost, "/orders", token)
	wantRefused(t, "orders:read on a write route", write, http.StatusForbidden, "insufficient_scope")
	if got := write.header.Get("WWW-Authenticate"); !strings.Contains(got, `scope="orders:write"`) {
		t.Errorf("the challenge does not name the scope that would do: %s", got)
	}

	mustRevoke(t, s, token)
	wantRefused(t, "the first request after the revocation's answer", ask(s, http.MethodGet, "/orders", token), http.StatusUnauthorized, "invalid_token")
	wantOK(t, "another token of the same client", ask(s, http.MethodGet, "/orders", other))
}

// TestUpstreamBelievesOnlyUs: what a client claims to be never reaches the API.
func TestUpstreamBelievesOnlyUs(t *testing.T) {
	s := theStack(t)
	token := mustMint(t, s, "orders:read")
	a := raw(s, http.MethodGet, "/orders", "Authorization: Bearer "+token, "x-tegata-subject: root", "X-Tegata-Client: root", "x-tegata-other: root")
	wantOK(t, "with forged headers", a)
	if strings.Contains(string(a.body), "root") {
		t.Errorf("a forged header reached the API: %s", a.body)
	}
}

// TestDemoTellsTheTruth runs the demo as a user does.
func TestDemoTellsTheTruth(t *testing.T) {
	p := binaries(t)
	out, err := exec.CommandContext(t.Context(), p.tegata, "demo", "--once", "--json", "--envoy", p.envoy).Output()
	if err != nil {
		t.Errorf("tegata demo --once: %v", err)
	}
	var report struct {
		Steps []struct {
			Name, Want, Got string
			OK              bool
		}
		OK bool
	}
	if err := json.Unmarshal(out, &report); err != nil {
		t.Fatalf("not JSON: %v\n%s", err, out)
	}
	if !report.OK || len(report.Steps) < 6 {
		t.Errorf("not ok, or too few steps: %+v", report)
	}
	for _, step := range report.Steps {
		if !step.OK {
			t.Errorf("%s: got %s, want %s", step.Name, step.Got, step.Want)
		}
	}
}
