// Package keycloak starts a real Keycloak, for what must be asked of one. It
// must not know what that is.
package keycloak

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// The administrator of a Keycloak started here.
const (
	Admin         = "admin"
	AdminPassword = "admin-password-for-loopback"
)

// Start starts the Keycloak that is unpacked at home in development mode with
// one realm, on free ports of loopback. end stops it and what it started.
func Start(ctx context.Context, home, realm string, file []byte) (base string, end func(), err error) {
	imports := filepath.Join(home, "data", "import")
	if err := os.RemoveAll(filepath.Join(home, "data")); err != nil { // of the run before
		return "", nil, err
	}
	if err := os.MkdirAll(imports, 0o700); err != nil {
		return "", nil, err
	}
	if err := os.WriteFile(filepath.Join(imports, "realm.json"), file, 0o600); err != nil {
		return "", nil, err
	}
	port, err := freePort()
	if err != nil {
		return "", nil, err
	}
	management, err := freePort()
	if err != nil {
		return "", nil, err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(home, "bin", "kc.sh"), "start-dev", "--import-realm",
		"--http-host=127.0.0.1", fmt.Sprintf("--http-port=%d", port), fmt.Sprintf("--http-management-port=%d", management))
	cmd.Env = append(os.Environ(), "KC_BOOTSTRAP_ADMIN_USERNAME="+Admin, "KC_BOOTSTRAP_ADMIN_PASSWORD="+AdminPassword)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // kc.sh starts Java
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	end = func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait() // killed
	}
	base = fmt.Sprintf("http://127.0.0.1:%d", port)
	if err := answers(ctx, base+"/realms/"+realm); err != nil {
		end()
		return "", nil, err
	}
	return base, end, nil
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// answers waits until the URL does.
func answers(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Minute) // on a busy machine
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer: %w", url, ctx.Err())
		case <-time.After(time.Second):
		}
	}
}
