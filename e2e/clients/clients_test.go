// Package clients lets OAuth clients that others wrote, unmodified, loose on a
// real issuer: what they accept is what the world accepts, and what they
// refuse would be refused everywhere.
//
// Each script here is one library's whole day: discovery, login, refresh,
// revocation, logout, and the bad cases that the library or the issuer must
// catch. It says nothing and ends with 0, or says what went wrong.
package clients

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/tegata/tegata/internal/stack"
)

// within bounds one script, slow test machines included.
const within = time.Minute

//go:embed realm.yaml
var realmFile []byte

// party is one client of the realm, as a script is told of it.
type party struct {
	ID       string         `json:"id"`
	Secret   string         `json:"secret,omitempty"`
	Redirect string         `json:"redirect,omitempty"`
	Key      map[string]any `json:"key,omitempty"` // JWK, private
}

// world is what a script is told, in TEGATA_REALM.
type world struct {
	Issuer   string `json:"issuer"`
	Audience string `json:"audience"`
	User     string `json:"user"`
	Password string `json:"password"`
	Email    string `json:"email"`

	App     party `json:"app"`     // confidential, with a login
	SPA     party `json:"spa"`     // public, with a login
	Service party `json:"service"` // a program with a secret
	Signed  party `json:"signed"`  // a program with a key
}

func TestClientsOfOthers(t *testing.T) {
	w := start(t)
	told, err := json.Marshal(w)
	if err != nil {
		t.Fatal(err)
	}
	node := func(t *testing.T) string {
		return tool(t, "node", "node_modules", "openid-client", "package.json")
	}
	python := func(t *testing.T) string {
		return tool(t, filepath.Join(tools(t), "venv", "bin", "python"), "venv", "bin", "python")
	}
	for _, tt := range []struct {
		script string
		with   func(*testing.T) string
	}{
		{"openid-client.mjs", node},
		{"oauth4webapi.mjs", node},
		{"with_authlib.py", python},
	} {
		t.Run(tt.script, func(t *testing.T) {
			t.Parallel()
			run(t, tt.with(t), tt.script, told)
		})
	}
	t.Run("go-oidc", func(t *testing.T) {
		t.Parallel()
		person(t, w)
		program(t, w)
	})
}

// run runs a script from where its library is installed: Node finds modules
// from where the script is.
func run(t *testing.T, program, script string, told []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	dir := t.TempDir()
	for _, name := range []string{script, "browser.mjs"} {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(tools(t), "node_modules"), filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, program, filepath.Join(dir, script))
	cmd.Env = append(os.Environ(), "TEGATA_REALM="+string(told), "PYTHONDONTWRITEBYTECODE=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// tools is where the Makefile installs the libraries.
func tools(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("..", "..", ".tools", "clients"))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// tool is a program, if it and what it needs of the libraries are there. Else
// the test is skipped; in CI it fails.
func tool(t *testing.T, program string, needs ...string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err == nil {
		_, err = os.Stat(filepath.Join(append([]string{tools(t)}, needs...)...))
	}
	if err == nil {
		return path
	}
	const hint = "make test fetches clients; it wants Node 20 with npm, and Python 3"
	if os.Getenv("CI") != "" {
		t.Fatalf("%v (%s)", err, hint)
	}
	t.Skipf("%v (%s)", err, hint)
	return ""
}

// start starts an issuer with the realm of these tests.
func start(t *testing.T) world {
	t.Helper()
	w := world{
		Audience: stack.Audience, User: stack.UserName, Password: stack.UserPassword, Email: "alice@example.com",
		App:     party{ID: "app", Secret: "app-secret-for-loopback", Redirect: "http://127.0.0.1/callback"},
		SPA:     party{ID: "spa", Redirect: "http://127.0.0.1/callback"},
		Service: party{ID: "service", Secret: "service-secret-for-loopback"},
		Signed:  signed(t),
	}
	public := map[string]any{}
	for _, name := range []string{"kty", "crv", "x", "y", "kid"} {
		public[name] = w.Signed.Key[name]
	}
	jwks, err := json.Marshal(map[string]any{"keys": []any{public}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := stack.Start(t.Context(), stack.Config{
		Tegata: binary(t), Realm: bytes.Replace(realmFile, []byte("{} # of the test"), jwks, 1),
		Set: map[string]string{"authz.drain": "10ms"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	w.Issuer = s.RealmURL
	return w
}

// signed is a client with a fresh key.
func signed(t *testing.T) party {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := key.PublicKey.Bytes() // 4, x, y
	if err != nil {
		t.Fatal(err)
	}
	scalar, err := key.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	return party{
		ID:  "signed",
		Key: map[string]any{"kty": "EC", "crv": "P-256", "kid": "one", "x": b64(point[1:33]), "y": b64(point[33:]), "d": b64(scalar)},
	}
}

// binary is the tegata to test.
func binary(t *testing.T) string {
	t.Helper()
	if told := os.Getenv("TEGATA_BIN"); told != "" {
		return told
	}
	path := filepath.Join(t.TempDir(), "tegata")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", path, "../../cmd/tegata").CombinedOutput(); err != nil {
		t.Fatal(fmt.Errorf("building tegata: %w\n%s", err, out))
	}
	return path
}
