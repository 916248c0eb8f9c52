package e2e

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tegata/tegata/internal/stack"
)

// TestPartitionServesUntilTheBound: a silent issuer (stopped, so that every
// connection stays open and nothing answers) is trusted until the lease ends
// and not longer; then authz recovers by itself.
func TestPartitionServesUntilTheBound(t *testing.T) {
	s := theStack(t)
	token := mustMint(t, s, "orders:read")
	wantOK(t, "before", ask(s, http.MethodGet, "/orders", token))
	signal(t, s.Issuer.PID(), syscall.SIGSTOP)
	t.Cleanup(func() { signal(t, s.Issuer.PID(), syscall.SIGCONT) })

	served := 0
	var last answer
	took := eventually(t, lease+2*time.Second, "trust ends", func() bool {
		if last = ask(s, http.MethodGet, "/orders", token); last.status == http.StatusOK {
			served++
		}
		return last.status != http.StatusOK
	})
	if last.status != http.StatusServiceUnavailable || last.header.Get("Retry-After") == "" {
		t.Errorf("after the bound: %v (Retry-After %q), want 503 with Retry-After", last, last.header.Get("Retry-After"))
	}
	if served == 0 || took < lease/3 || took > lease+200*time.Millisecond {
		t.Errorf("served %d requests over %v: want some, for about the lease of %v and never longer", served, took, lease)
	}
	signal(t, s.Issuer.PID(), syscall.SIGCONT)
	eventually(t, 15*time.Second, "it recovers by itself", func() bool {
		return ask(s, http.MethodGet, "/orders", token).status == http.StatusOK
	})
}

// TestErrorResponsesAreErrorsToEnvoy (line 2): with authz.error_responses, what
// cannot be decided is counted as an error, says 503 all the same, and goes
// through where the operator has told Envoy to let errors through.
func TestErrorResponsesAreErrorsToEnvoy(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*stack.Config)
		want   int
	}{
		"failing closed": {func(*stack.Config) {}, http.StatusServiceUnavailable},
		"failing open": {func(c *stack.Config) {
			withEnvoy(t, c, "failure_mode_allow: false", "failure_mode_allow: true")
		}, http.StatusOK},
	} {
		t.Run(name, func(t *testing.T) {
			s := ownStack(t, func(c *stack.Config) {
				c.Set["authz.error_responses"] = "true"
				tt.change(c)
			})
			token := mustMint(t, s, "orders:read")
			wantOK(t, "before", ask(s, http.MethodGet, "/orders", token))
			if a := ask(s, http.MethodPost, "/orders", token); a.status != http.StatusForbidden {
				t.Errorf("what is decided: %v, want a refusal as ever", a)
			}
			signal(t, s.Issuer.PID(), syscall.SIGSTOP)
			t.Cleanup(func() { signal(t, s.Issuer.PID(), syscall.SIGCONT) })
			eventually(t, lease+2*time.Second, "an error is counted", func() bool {
				ask(s, http.MethodGet, "/orders", token)
				return envoyErrors(t, s) > 0
			})
			if a := ask(s, http.MethodGet, "/orders", token); a.status != tt.want {
				t.Errorf("cut off: %v, want %d", a, tt.want)
			}
		})
	}
}

// envoyErrors is how many checks Envoy has seen fail.
func envoyErrors(t *testing.T, s *stack.Stack) int {
	t.Helper()
	resp, err := http.Get(s.EnvoyAdmin + "/stats?filter=http.gateway.ext_authz.error$")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	stats, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	_, count, _ := strings.Cut(strings.TrimSpace(string(stats)), ": ")
	n, err := strconv.Atoi(count)
	if err != nil {
		t.Fatalf("Envoy's statistics: %q", stats)
	}
	return n
}

func signal(t *testing.T, pid int, sig syscall.Signal) {
	t.Helper()
	if pid == 0 { // would mean ourselves
		t.Error("the program is gone")
		return
	}
	if err := syscall.Kill(pid, sig); err != nil {
		t.Errorf("sending %v: %v", sig, err)
	}
}
