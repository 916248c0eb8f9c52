package e2e

import (
	"fmt"
	"net/http"
	"testing"

	"golang.org/x/sync/errgroup"
)

// TestTenThousandTokens: many callers are told apart; revoking some touches
// no other.
func TestTenThousandTokens(t *testing.T) {
	n := 10_000
	if testing.Short() {
		n = 500
	}
	const every = 100 // one of so many is revoked
	s := theStack(t)
	tokens := make([]string, n)
	each(t, n, func(i int) (err error) {
		tokens[i], err = mint(s, "orders:read")
		return err
	})
	check := func(i, want int) error {
		if a := ask(s, http.MethodGet, "/orders", tokens[i]); a.err != nil || a.status != want {
			return fmt.Errorf("token %d: got %v, want %d", i, a, want)
		}
		return nil
	}
	each(t, n, func(i int) error { return check(i, http.StatusOK) })
	for i := 0; i < n; i += every {
		mustRevoke(t, s, tokens[i])
	}
	each(t, n, func(i int) error {
		if i%every == 0 {
			return check(i, http.StatusUnauthorized)
		}
		return check(i, http.StatusOK)
	})
}

// each calls f for 0 … n-1, a few at a time, and fails on the first error.
func each(t *testing.T, n int, f func(int) error) {
	t.Helper()
	var g errgroup.Group
	g.SetLimit(8)
	for i := range n {
		g.Go(func() error { return f(i) })
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}
