package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tegata/tegata/internal/stack"
	"github.com/tegata/tegata/policies"
)

// soakFor is how long the soak lasts: TEGATA_SOAK, or a few seconds.
func soakFor(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("TEGATA_SOAK")
	if text == "" {
		return 10 * time.Second
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("TEGATA_SOAK: %v", err)
	}
	return d
}

// TestSoak: while keys are rotated, policies and configuration reloaded, the
// issuer restarted, connections opened and closed and tokens revoked, every
// answer is the right one; and at the end nothing has piled up.
func TestSoak(t *testing.T) {
	p := binaries(t)
	dir := t.TempDir()
	if err := os.CopyFS(dir, policies.FS); err != nil {
		t.Fatal(err)
	}
	s := ownStack(t, func(c *stack.Config) { c.Set["authz.policy.dir"] = dir })
	const callers = 4
	k := &soak{stack: s, program: p.tegata, policyDir: dir}
	begun, lasts := time.Now(), soakFor(t)
	var asking, disturbing sync.WaitGroup
	for n := range callers {
		asking.Go(func() { k.ask(t, rand.New(rand.NewPCG(1, uint64(n)))) })
	}
	disturbing.Go(func() { k.disturb(t) })

	time.Sleep(lasts / 4) // what is kept for a while is there now
	first := k.figures(t)
	time.Sleep(lasts - time.Since(begun))
	k.stopping.Store(true)
	disturbing.Wait()
	asking.Wait()
	last := k.figures(t)

	t.Logf("%d answers, %d of them 503, %d tokens, %d revoked, disturbed %d times", k.answers.Load(), k.unavailable.Load(), k.minted.Load(), k.revoked.Load(), k.disturbed.Load())
	if k.answers.Load() < 1000 || k.revoked.Load() == 0 || k.disturbed.Load() == 0 {
		t.Error("too little has happened to show anything")
	}
	if k.unavailable.Load() > k.answers.Load()/20 {
		t.Error("more than one answer in twenty was 503: leases were lost for long")
	}
	for name, f := range last {
		if f.goroutines > first[name].goroutines+20 {
			t.Errorf("%s had %d goroutines and has %d", name, first[name].goroutines, f.goroutines)
		}
		if f.rss > first[name].rss*3/2+(40<<20) {
			t.Errorf("%s had %d MiB and has %d", name, first[name].rss>>20, f.rss>>20)
		}
	}
}

// soak is one run.
type soak struct {
	stack              *stack.Stack
	program, policyDir string
	stopping           atomic.Bool

	answers, unavailable, minted, revoked, disturbed atomic.Int64
}

// held is a token and what is known of it.
type held struct {
	token string
	write bool
	dead  time.Time // from when on it must be refused; zero while it lives
}

// ask asks with tokens of its own, whose fate nobody else decides.
func (k *soak) ask(t *testing.T, rng *rand.Rand) {
	var tokens []*held
	for !k.stopping.Load() {
		switch n := rng.IntN(100); {
		case len(tokens) == 0 || n == 0:
			if h := k.mint(rng); h != nil {
				tokens = append(tokens, h)
			}
		case n == 1:
			k.revoke(tokens[rng.IntN(len(tokens))])
		case n == 2:
			http.DefaultClient.CloseIdleConnections()
			_ = raw(k.stack, http.MethodGet, "/orders") // a connection of its own
		default:
			k.judge(t, tokens[rng.IntN(len(tokens))], rng.IntN(4) == 0)
		}
		if len(tokens) > 40 {
			tokens = slices.Delete(tokens, 0, 20)
		}
	}
}

// mint returns nil while the issuer is away.
func (k *soak) mint(rng *rand.Rand) *held {
	h := &held{write: rng.IntN(2) == 0}
	scope := "orders:read"
	if h.write {
		scope += " orders:write"
	}
	var err error
	if h.token, err = mint(k.stack, scope); err != nil {
		time.Sleep(10 * time.Millisecond) // the issuer starts again
		return nil
	}
	k.minted.Add(1)
	return h
}

func (k *soak) revoke(h *held) {
	if !h.dead.IsZero() {
		return
	}
	a := service(k.stack, "revoke", url.Values{"token": {h.token}})
	if a.err != nil || a.status != http.StatusOK {
		// Nothing was answered, so either may hold from now on.
		h.dead = time.Now().Add(24 * time.Hour)
		return
	}
	k.revoked.Add(1)
	h.dead = time.Now()
	if a.header.Get("Tegata-Revocation-Pending") != "" {
		h.dead = h.dead.Add(2 * lease) // said to be applied by the end of the lease
	}
}

// judge asks, and holds the answer against what must be.
func (k *soak) judge(t *testing.T, h *held, write bool) {
	method := http.MethodGet
	if write {
		method = http.MethodPost
	}
	begun := time.Now()
	a := ask(k.stack, method, "/orders", h.token)
	k.answers.Add(1)
	if a.status == http.StatusServiceUnavailable {
		k.unavailable.Add(1)
		return
	}
	want := http.StatusOK
	if write && !h.write {
		want = http.StatusForbidden
	}
	switch {
	case h.dead.IsZero() && a.status != want:
		t.Errorf("a live token, %s: %v, want %d", method, a, want)
	case !h.dead.IsZero() && !begun.Before(h.dead) && a.status != http.StatusUnauthorized:
		t.Errorf("a token that was dead %v before it was shown: %v", begun.Sub(h.dead), a)
	}
}

// disturb does one thing after the other until the end.
func (k *soak) disturb(t *testing.T) {
	table := filepath.Join(k.policyDir, "tegata", "routes", "data.yaml")
	broken := filepath.Join(k.policyDir, "broken.rego")
	shipped := readFile(t, table)
	for n := 0; !k.stopping.Load(); n++ {
		switch n % 6 {
		case 0:
			writeFile(t, table, shipped+fmt.Sprintf("# %d\n", n))
		case 1:
			writeFile(t, broken, "package envoy.authz\n\nallow := {")
		case 2:
			_ = os.Remove(broken)
		case 3:
			if n%60 != 3 { // a realm has at most 64 keys that are not retired
				continue
			}
			out, err := exec.CommandContext(t.Context(), k.program, "keys", "rotate", "--now",
				"--config", filepath.Join(k.stack.Dir, "tegata.yaml"), "--realm", stack.Realm).CombinedOutput()
			if err != nil {
				t.Errorf("rotating keys: %v\n%s", err, out)
			}
		case 4:
			signal(t, k.stack.Authz.PID(), syscall.SIGHUP)
		case 5:
			k.stack.Issuer.Kill()
			if err := k.stack.Issuer.Start(t.Context()); err != nil {
				t.Errorf("starting the issuer again: %v", err)
			}
		}
		k.disturbed.Add(1)
		time.Sleep(500 * time.Millisecond) // so that it takes effect beside the traffic
	}
}

// figures are those that must not grow without end.
type figures struct{ goroutines, rss int64 }

func (k *soak) figures(t *testing.T) map[string]figures {
	t.Helper()
	all := map[string]figures{}
	for name, base := range map[string]string{"authz": k.stack.AuthzManagement, "issuer": k.stack.IssuerManagement} {
		var f figures
		eventually(t, 10*time.Second, name+" tells its figures", func() bool {
			resp, err := http.Get(base + "/metrics")
			a := read(resp, err)
			f = figures{goroutines: figure(a.body, "go_goroutines"), rss: figure(a.body, "process_resident_memory_bytes")}
			return f.goroutines > 0 && f.rss > 0
		})
		all[name] = f
	}
	return all
}

// figure reads one metric without labels.
func figure(metrics []byte, name string) int64 {
	for line := range strings.Lines(string(metrics)) {
		if text, ok := strings.CutPrefix(line, name+" "); ok {
			f, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
			if err != nil {
				return 0
			}
			return int64(f)
		}
	}
	return 0
}
