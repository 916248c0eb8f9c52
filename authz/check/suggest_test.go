package check

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"golang.org/x/time/rate"

	"github.com/tegata/tegata/authz/policy/reads"
	"github.com/tegata/tegata/authz/verify"
)

// TestARefusalNamesTheScopesThatWouldDo, for a policy that does not: with
// exactly these it allows.
func TestARefusalNamesTheScopesThatWouldDo(t *testing.T) {
	t.Parallel()
	b := newBench(t, `
default allow := false
allow if {
	"orders:read" in input.token.scopes
	"audit" in input.token.scopes
}
allow if "admin" in input.token.scopes`, nil)
	b.known.tokens = map[string]*verify.Token{"poor": token("poor", "orders:read"), "rich": token("rich", "audit", "orders:read")}
	r := ask()
	r.Authorization = []string{"Bearer poor"}
	r.Key = func(dst []byte, _ reads.Path) ([]byte, bool) { return dst, true }
	for range 2 { // evaluated, and remembered
		d := b.Check(t.Context(), r)
		if d.Reason != InsufficientScope || d.Status != http.StatusForbidden {
			t.Fatalf("decided %+v", d)
		}
		challenge := d.Headers.Get("WWW-Authenticate")
		if !slices.Equal(d.Result.RequiredScopes, []string{"admin"}) && !slices.Equal(d.Result.RequiredScopes, []string{"audit", "orders:read"}) ||
			!strings.Contains(challenge, `scope="`+strings.Join(d.Result.RequiredScopes, " ")+`"`) {
			t.Errorf("required %v, challenge %s", d.Result.RequiredScopes, challenge)
		}
	}
	if b.cached(t) != 1 {
		t.Errorf("%d from memory, want 1", b.cached(t))
	}
	r.Authorization = []string{"Bearer rich"}
	if d := b.Check(t.Context(), r); !d.Allowed {
		t.Errorf("decided %+v", d)
	}

	// Nobody can make it look for scopes without end; what came out without is
	// not remembered.
	b.suggestions = rate.NewLimiter(0, 0)
	b.known.tokens["other"] = token("other")
	r.Authorization = []string{"Bearer other"}
	if d := b.Check(t.Context(), r); d.Allowed || d.Reason != PolicyDenied {
		t.Errorf("beyond the rate: %+v", d)
	}
	b.suggestions = rate.NewLimiter(rate.Inf, 1)
	if d := b.Check(t.Context(), r); d.Reason != InsufficientScope {
		t.Errorf("below it again: %+v", d)
	}
}
