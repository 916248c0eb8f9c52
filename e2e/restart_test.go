package e2e

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/tegata/tegata/internal/stack"
)

// TestRestartedAuthzForgetsNoRevocation: whatever happens to authz under
// traffic, a revoked token never passes again: it refuses until it has its
// first snapshot.
func TestRestartedAuthzForgetsNoRevocation(t *testing.T) {
	s := theStack(t)
	dead, alive := mustMint(t, s, "orders:read"), mustMint(t, s, "orders:read")
	mustRevoke(t, s, dead)
	deadTraffic := startTraffic(t, func() answer { return ask(s, http.MethodGet, "/orders", dead) }, isStatus(http.StatusUnauthorized, http.StatusServiceUnavailable))
	aliveTraffic := startTraffic(t, func() answer { return ask(s, http.MethodGet, "/orders", alive) }, isStatus(http.StatusOK, http.StatusServiceUnavailable))
	deadTraffic.more(50)
	for _, end := range []func(){s.Authz.Kill, s.Authz.Stop} {
		end()
		if err := s.Authz.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		eventually(t, 10*time.Second, "a good token passes again", func() bool {
			return ask(s, http.MethodGet, "/orders", alive).status == http.StatusOK
		})
		wantRefused(t, "the revoked token after the restart", ask(s, http.MethodGet, "/orders", dead), http.StatusUnauthorized, "invalid_token")
		deadTraffic.more(50)
	}
	deadTraffic.stop(t)
	aliveTraffic.stop(t)
}

// TestColdAuthzWithoutIssuerAllowsNothing: no snapshot, no trust.
func TestColdAuthzWithoutIssuerAllowsNothing(t *testing.T) {
	s := theStack(t)
	token := mustMint(t, s, "orders:read")
	s.Issuer.Kill()
	s.Authz.Kill()
	if err := s.Authz.Launch(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { healthy(t) })
	tr := startTraffic(t, func() answer { return ask(s, http.MethodGet, "/orders", token) }, isStatus(http.StatusServiceUnavailable))
	tr.more(200)
	tr.stop(t)
	if err := s.Issuer.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, "it recovers by itself", func() bool {
		return ask(s, http.MethodGet, "/orders", token).status == http.StatusOK
	})
}

// TestKilledIssuerLosesNothing: what was answered before kill -9 holds after it.
func TestKilledIssuerLosesNothing(t *testing.T) {
	s := theStack(t)
	alive := mustMint(t, s, "orders:read")
	for range 3 {
		dead := mustMint(t, s, "orders:read")
		mustRevoke(t, s, dead)
		s.Issuer.Kill()
		if err := s.Issuer.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		eventually(t, 15*time.Second, "a good token of before passes", func() bool {
			return ask(s, http.MethodGet, "/orders", alive).status == http.StatusOK
		})
		wantRefused(t, "revoked before the kill", ask(s, http.MethodGet, "/orders", dead), http.StatusUnauthorized, "invalid_token")
	}
	// authz learned of it while running; a new one must learn it from the store.
	dead := mustMint(t, s, "orders:read")
	mustRevoke(t, s, dead)
	s.Issuer.Kill()
	s.Authz.Kill()
	healthy(t)
	eventually(t, 15*time.Second, "a good token of before passes", func() bool {
		return ask(s, http.MethodGet, "/orders", alive).status == http.StatusOK
	})
	wantRefused(t, "revoked before both died", ask(s, http.MethodGet, "/orders", dead), http.StatusUnauthorized, "invalid_token")
}

// healthy starts what a test left dead in the shared stack.
func healthy(t *testing.T) {
	t.Helper()
	for _, p := range []*stack.Process{shared.stack.Issuer, shared.stack.Authz} {
		if p.PID() != 0 {
			continue
		}
		if err := p.Start(context.Background()); err != nil { // t.Context ends before clean-ups
			t.Error(err)
		}
	}
}
