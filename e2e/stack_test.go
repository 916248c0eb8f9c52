package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/tegata/tegata/internal/stack"
	"github.com/tegata/tegata/manifests/envoy"
)

// lease is the staleness bound of the stacks here.
const lease = 3 * time.Second

// programs are the binaries under test.
type programs struct {
	tegata, envoy string
	missing       error // why there is no Envoy
}

// found looks once; the temporary build, if any, is removed by TestMain.
var found struct {
	once sync.Once
	programs
	err error
	dir string
}

// shared is the stack that most tests use.
var shared struct {
	once  sync.Once
	stack *stack.Stack
	err   error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if shared.stack != nil {
		shared.stack.Stop()
	}
	if found.dir != "" {
		_ = os.RemoveAll(found.dir)
	}
	os.Exit(code)
}

// binaries returns the programs, and skips the test without Envoy; in CI its
// absence is a failure.
func binaries(t *testing.T) programs {
	t.Helper()
	found.once.Do(func() { found.programs, found.err = findPrograms() })
	if found.err != nil {
		t.Fatal(found.err)
	}
	if found.missing != nil {
		const hint = "make test fetches Envoy; or put envoy on PATH, or name it in TEGATA_ENVOY"
		if os.Getenv("CI") != "" {
			t.Fatalf("no Envoy: %v (%s)", found.missing, hint)
		}
		t.Skipf("no Envoy: %v (%s)", found.missing, hint)
	}
	return found.programs
}

func findPrograms() (p programs, err error) {
	candidates := []string{"envoy", filepath.Join("..", ".tools", "bin", "envoy")}
	if told := os.Getenv("TEGATA_ENVOY"); told != "" {
		candidates = []string{told}
	}
	for _, name := range candidates {
		if p.envoy, p.missing = exec.LookPath(name); p.missing == nil {
			break
		}
	}
	if p.missing != nil {
		return p, nil
	}
	if p.envoy, err = filepath.Abs(p.envoy); err != nil {
		return p, err
	}
	if p.tegata = os.Getenv("TEGATA_BIN"); p.tegata != "" {
		return p, nil
	}
	if found.dir, err = os.MkdirTemp("", "tegata-e2e-*"); err != nil {
		return p, err
	}
	p.tegata = filepath.Join(found.dir, "tegata")
	if out, err := exec.Command("go", "build", "-o", p.tegata, "../cmd/tegata").CombinedOutput(); err != nil {
		return p, fmt.Errorf("building tegata: %w\n%s", err, out)
	}
	return p, nil
}

// theStack is the shared stack, started by the first test that asks.
func theStack(t *testing.T) *stack.Stack {
	t.Helper()
	p := binaries(t)
	shared.once.Do(func() {
		shared.stack, shared.err = stack.Start(context.Background(), config(p))
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	showLogs(t, shared.stack)
	return shared.stack
}

// ownStack starts a stack for one test.
func ownStack(t *testing.T, change func(*stack.Config)) *stack.Stack {
	t.Helper()
	c := config(binaries(t))
	change(&c)
	s, err := stack.Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	showLogs(t, s)
	return s
}

func config(p programs) stack.Config {
	// Drain is for load balancers; here nobody needs the wait.
	return stack.Config{
		Tegata: p.tegata, Envoy: p.envoy, Bootstrap: envoy.Bootstrap, Lease: lease,
		Set: map[string]string{"authz.drain": "10ms"},
	}
}

// showLogs prints the end of the programs' logs if the test fails.
func showLogs(t *testing.T, s *stack.Stack) {
	t.Helper()
	const most = 3000
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		for _, name := range []string{"issuer", "authz"} {
			b, err := os.ReadFile(filepath.Join(s.Dir, name+".log"))
			if err == nil {
				t.Logf("end of %s.log:\n%s", name, b[max(0, len(b)-most):])
			}
		}
	})
}

// eventually asks until yes says so; each question is a request, which is its
// own pace. It returns how long that took.
func eventually(t *testing.T, within time.Duration, what string, yes func() bool) time.Duration {
	t.Helper()
	begun := time.Now()
	for !yes() {
		if time.Since(begun) > within {
			t.Fatalf("after %v still not: %s", within, what)
		}
	}
	return time.Since(begun)
}
