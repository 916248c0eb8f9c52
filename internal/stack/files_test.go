package stack_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/tegata/tegata/manifests/envoy"
)

// TestShippedBootstrapIsValid: the file that operators copy is one that Envoy
// accepts, as it is.
func TestShippedBootstrapIsValid(t *testing.T) {
	t.Parallel()
	path := findEnvoy(t)
	file := filepath.Join(t.TempDir(), "envoy.yaml")
	if err := os.WriteFile(file, envoy.Bootstrap, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), path, "--mode", "validate", "-c", file).CombinedOutput()
	if err != nil {
		t.Errorf("envoy --mode validate: %v\n%s", err, out)
	}
}

// findEnvoy returns an Envoy; outside CI its lack skips the test.
func findEnvoy(t *testing.T) string {
	t.Helper()
	for _, name := range []string{os.Getenv("TEGATA_ENVOY"), "envoy", "../../.tools/bin/envoy"} {
		if name == "" {
			continue
		}
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("CI") != "" {
		t.Fatal("Envoy is missing, and in CI nothing may be")
	}
	t.Skip("Envoy is missing: make test fetches it, or put envoy on PATH")
	return ""
}

// TestBootstrapHasThePortsThatAreReplaced: the stack replaces four default
// ports; each must stand in the file exactly once, in the form it looks for.
func TestBootstrapHasThePortsThatAreReplaced(t *testing.T) {
	t.Parallel()
	for _, port := range []string{"8000", "3000", "9191", "9901"} {
		if n := bytes.Count(envoy.Bootstrap, []byte("port_value: "+port+" }")); n != 1 {
			t.Errorf("port %s stands %d times in envoy.yaml, want once", port, n)
		}
	}
}
