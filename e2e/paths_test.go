package e2e

import (
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tegata/tegata/internal/stack"
	"github.com/tegata/tegata/policies"
)

// pathTable has a route that our token may read on each side of one that it
// may not.
const pathTable = `
/orders:
  GET: { scopes: [orders:read] }
/orders/{id}:
  GET: { scopes: [orders:read] }
/orders/{id}/secret:
  GET: { scopes: [admin] }
/orders/admin:
  GET: { scopes: [admin] }
/admin:
  GET: { scopes: [admin] }
/admin/{rest...}:
  GET: { scopes: [admin] }
`

// mayRead says, as plainly as can be, which paths pathTable opens to
// orders:read. Segments are decoded after the path was cut at slashes.
func mayRead(path string) bool {
	path, _, _ = strings.Cut(path, "?")
	segments := strings.Split(strings.TrimPrefix(path, "/"), "/")
	for i, s := range segments {
		decoded, err := url.PathUnescape(s)
		if err != nil || decoded == "" || decoded == "." || decoded == ".." {
			return false
		}
		segments[i] = decoded
	}
	if segments[0] != "orders" {
		return false
	}
	return len(segments) == 1 || (len(segments) == 2 && segments[1] != "admin")
}

// pathPolicy is the shipped policy with pathTable.
func pathPolicy(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.CopyFS(dir, policies.FS); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "tegata", "routes", "data.yaml"), pathTable)
	return dir
}

// TestPathConfusionOpensNothing: whatever a client writes as a path, what the
// API receives of an allowed request is a path that the token may read.
func TestPathConfusionOpensNothing(t *testing.T) {
	dir := pathPolicy(t)
	s := ownStack(t, func(c *stack.Config) { c.Set["authz.policy.dir"] = dir })
	confuse(t, s, mustMint(t, s, "orders:read"))
}

// confuse asks a gateway whose policy has pathTable for paths in all spellings.
func confuse(t *testing.T, s *stack.Stack, token string) {
	t.Helper()
	wantOK(t, "/orders", ask(s, http.MethodGet, "/orders", token))
	wantOK(t, "/orders/7", ask(s, http.MethodGet, "/orders/7", token))
	for _, path := range []string{"/admin", "/admin/x", "/orders/admin", "/orders/7/secret"} {
		wantRefused(t, path, ask(s, http.MethodGet, path, token), http.StatusForbidden, "insufficient_scope")
	}
	allowed := 0
	for _, path := range spellings(2000) {
		a := raw(s, http.MethodGet, path, "Authorization: Bearer "+token)
		switch {
		case a.err != nil:
			t.Errorf("%q: %v", path, a.err)
		case a.status == http.StatusOK:
			allowed++
			if got := echo(t, a).Path; !mayRead(got) {
				t.Errorf("%q was allowed, and the API received %q", path, got)
			}
		case a.status/100 != 4:
			t.Errorf("%q: got %v, want 200 or 4xx", path, a)
		}
	}
	if allowed == 0 {
		t.Error("nothing was allowed: the test tests nothing")
	}
}

// spellings are paths made of what has confused others, the same in each run.
func spellings(n int) []string {
	r := rand.New(rand.NewPCG(1, 2))
	pieces := []string{
		"orders", "orders", "orders", "admin", "admin", "secret", "7", "a%2Fb",
		"", ".", "..", "%2e", "%2e%2e", "%2E.", ".%2e", "..;", "..;x=1", "%252e%252e",
		"ORDERS", "%6frders", "%61dmin", "adm%69n", "orders;x=1", "admin;x=1", "orders%3b", "orders%20", "admin%00", "admin%09",
		"..%2fadmin", "..%2Fadmin", "..%5cadmin", `..\admin`, `orders\..\admin`, "%c0%ae%c0%ae", "%ef%bc%8f", "orders%2f..%2fadmin",
	}
	ends := []string{"", "", "", "", "/", "//", "?", "?x=/admin", "#/admin", "%3f", "/.", "/..", "/%2e%2e/admin"}
	paths := []string{"//admin", "/orders/../admin", "/orders/..%2fadmin", "/./admin", "/admin/.", "http://x/admin", "*", "/%61dmin", "///orders///..///admin"}
	for len(paths) < n {
		var b strings.Builder
		for range 1 + r.IntN(4) {
			b.WriteString("/" + pieces[r.IntN(len(pieces))])
		}
		b.WriteString(ends[r.IntN(len(ends))])
		paths = append(paths, b.String())
	}
	return paths
}
