package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tegata/tegata/internal/stack"
	"github.com/tegata/tegata/policies"
)

// TestPolicyReloadsUnderTraffic: a change takes effect without a request lost;
// a broken policy changes nothing, and its repair does.
func TestPolicyReloadsUnderTraffic(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, policies.FS); err != nil {
		t.Fatal(err)
	}
	s := ownStack(t, func(c *stack.Config) { c.Set["authz.policy.dir"] = dir })
	token := mustMint(t, s, "orders:read")
	get := func() answer { return ask(s, http.MethodGet, "/orders", token) }
	wantOK(t, "at first", get())
	tr := startTraffic(t, get, isStatus(http.StatusOK, http.StatusForbidden))

	table := filepath.Join(dir, "tegata", "routes", "data.yaml")
	shipped := readFile(t, table)
	strict := strings.Replace(shipped, "orders:read", "orders:admin", 1)
	if strict == shipped {
		t.Fatal("the shipped table has no orders:read any more")
	}
	writeFile(t, table, strict)
	eventually(t, 10*time.Second, "the stricter table decides", func() bool { return get().status == http.StatusForbidden })

	broken := filepath.Join(dir, "broken.rego")
	writeFile(t, broken, "package envoy.authz\n\nallow := {")
	eventually(t, 10*time.Second, "the broken policy is reported", func() bool {
		return strings.Contains(readFile(t, filepath.Join(s.Dir, "authz.log")), "broken.rego")
	})
	tr.more(100)
	wantRefused(t, "with a broken policy beside it, the stricter table", get(), http.StatusForbidden, "insufficient_scope")

	writeFile(t, table, shipped)
	if err := os.Remove(broken); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "the repaired policy decides", func() bool { return get().status == http.StatusOK })
	tr.stop(t)
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// writeFile replaces a file at once, as editors and configuration management do.
func writeFile(t *testing.T, path, text string) {
	t.Helper()
	next := path + ".next"
	if err := os.WriteFile(next, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, path); err != nil {
		t.Fatal(err)
	}
}
