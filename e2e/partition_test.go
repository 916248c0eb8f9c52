package e2e

import (
	"net/http"
	"syscall"
	"testing"
	"time"
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
