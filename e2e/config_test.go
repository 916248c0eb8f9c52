package e2e

import (
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tegata/tegata/internal/stack"
)

// TestConfigurationReloadsUnderTraffic: a change of the file takes effect by
// itself, or at once on SIGHUP, without a request lost; a broken file changes
// nothing and says where it is broken.
func TestConfigurationReloadsUnderTraffic(t *testing.T) {
	s := ownStack(t, func(*stack.Config) {})
	token := mustMint(t, s, "orders:read")
	get := func() answer { return ask(s, http.MethodGet, "/orders", token) }
	wantOK(t, "at first", get())

	file, log := filepath.Join(s.Dir, "tegata.yaml"), filepath.Join(s.Dir, "authz.log")
	first := readFile(t, file)
	other := strings.Replace(first, "audience: [orders-api]", "audience: [another-api]", 1)
	if other == first {
		t.Fatal("the stack's configuration has no such audience any more")
	}
	tr := startTraffic(t, get, isStatus(http.StatusOK, http.StatusUnauthorized))
	tr.more(50)

	writeFile(t, file, other)
	eventually(t, 20*time.Second, "the file's change is applied", func() bool { return get().status == http.StatusUnauthorized })

	writeFile(t, file, strings.Replace(first, "on_stale: deny", "on_stale: perhaps", 1))
	eventually(t, 20*time.Second, "the broken file is reported", func() bool {
		return strings.Contains(readFile(t, log), "authz.on_stale")
	})
	tr.more(50)
	if got := get().status; got != http.StatusUnauthorized {
		t.Errorf("with a broken file: %d, want what was before it", got)
	}

	writeFile(t, file, first)
	if err := syscall.Kill(s.Authz.PID(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, "the first file is applied again", func() bool { return get().status == http.StatusOK })
	tr.stop(t)

	// The connection that came with it carries revocations as ever.
	mustRevoke(t, s, token)
	wantRefused(t, "after the revocation's answer", get(), http.StatusUnauthorized, "invalid_token")
}
