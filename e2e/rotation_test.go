package e2e

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tegata/tegata/internal/stack"
)

// TestKeyRotationRefusesNobody: while the key changes, tokens of the old one
// and, from the first, of the new one pass.
func TestKeyRotationRefusesNobody(t *testing.T) {
	p := binaries(t)
	s := theStack(t)
	old := mustMint(t, s, "orders:read")
	var newest atomic.Value
	newest.Store(old)
	onOld := startTraffic(t, func() answer { return ask(s, http.MethodGet, "/orders", old) }, isStatus(http.StatusOK))
	onNew := startTraffic(t, func() answer { return ask(s, http.MethodGet, "/orders", newest.Load().(string)) }, isStatus(http.StatusOK))
	onOld.more(100)

	out, err := exec.CommandContext(t.Context(), p.tegata, "keys", "rotate", "--now",
		"--config", filepath.Join(s.Dir, "tegata.yaml"), "--realm", stack.Realm).CombinedOutput()
	if err != nil {
		t.Fatalf("tegata keys rotate: %v\n%s", err, out)
	}
	eventually(t, 15*time.Second, "signed with the new key", func() bool {
		token := mustMint(t, s, "orders:read")
		newest.Store(token)
		return keyID(t, token) != keyID(t, old)
	})
	onOld.more(200)
	onNew.more(200)
	onOld.stop(t)
	onNew.stop(t)
}

// keyID is the kid of a token's header.
func keyID(t *testing.T, token string) string {
	t.Helper()
	first, _, _ := strings.Cut(token, ".")
	b, err := base64.RawURLEncoding.DecodeString(first)
	if err != nil {
		t.Fatal(err)
	}
	var h struct{ Kid string }
	if err := json.Unmarshal(b, &h); err != nil || h.Kid == "" {
		t.Fatalf("no kid in %s: %v", b, err)
	}
	return h.Kid
}
