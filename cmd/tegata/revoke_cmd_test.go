package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tegata/tegata/revocation"
)

// nextPort is below what systems give to connections and to listeners on port
// 0: between the moment that an address was found free and the program that
// listens there, nobody takes it.
var nextPort atomic.Int64

// freeAddress is one on which nothing listens, another each time.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 1000 {
		port := 18_000 + (int64(os.Getpid())*100+nextPort.Add(1))%14_000
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		_ = l.Close()
		return l.Addr().String()
	}
	t.Fatal("no address is free")
	return ""
}

const testRealm = `
realm: main
clientScopes:
  - name: revocation:watch
clients:
  - clientId: svc
    secret: svc-secret
    serviceAccountsEnabled: true
    standardFlowEnabled: false
    optionalClientScopes: [revocation:watch]
`

// issuerFiles writes a configuration with its realm and returns its path and
// the issuer's base URL.
func issuerFiles(t *testing.T, more string) (config, base string) {
	t.Helper()
	dir := t.TempDir()
	config, web := filepath.Join(dir, "tegata.yaml"), freeAddress(t)
	text := "log: {level: error}\nissuer:\n  base_url: http://" + web + "\n  listen: " + web + "\n  management: 127.0.0.1:0\n  realms: [main.yaml]\n" + more
	for name, body := range map[string]string{"tegata.yaml": text, "main.yaml": testRealm} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return config, "http://" + web
}

// runs runs a command until the test ends.
func runs(t *testing.T, args ...string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var stderr bytes.Buffer
	done := make(chan int, 1)
	go func() {
		done <- run(args, &env{ctx: ctx, stdin: strings.NewReader(""), stdout: io.Discard, stderr: &stderr, lookupEnv: noEnv})
	}()
	t.Cleanup(func() {
		cancel()
		if code := <-done; code != exitOK {
			t.Errorf("tegata %s: exit %d\n%s", strings.Join(args, " "), code, stderr.String())
		}
	})
}

// eventually asks until the answer is yes.
func eventually(t *testing.T, what string, ask func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); <-tick.C {
		if ask() {
			return
		}
	}
	t.Fatalf("not in time: %s", what)
}

func answers(address string) bool {
	resp, err := http.Get(address) //nolint:noctx // loopback
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// clientToken is a token of client svc.
func clientToken(t *testing.T, base, scope string) string {
	t.Helper()
	resp, err := http.PostForm(base+"/realms/main/protocol/openid-connect/token", url.Values{ //nolint:noctx // loopback
		"grant_type": {"client_credentials"}, "client_id": {"svc"}, "client_secret": {"svc-secret"}, "scope": {scope},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var answer struct {
		Token string `json:"access_token"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.Token == "" {
		t.Fatalf("no token: %s %v", resp.Status, err)
	}
	return answer.Token
}

// TestRevokeCommandSaysWhoHasAppliedIt against a whole issuer.
func TestRevokeCommandSaysWhoHasAppliedIt(t *testing.T) {
	t.Parallel()
	config, base := issuerFiles(t, "  watch: {listen: '127.0.0.1:0'}\n")
	runs(t, "issuer", "--config", config)
	eventually(t, "the issuer answers", func() bool { return answers(base + "/realms/main") })
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("svc-secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	revoke := func(token string, more ...string) (int, string, string) {
		var stdout, stderr bytes.Buffer
		args := append([]string{"revoke", "--issuer", base + "/realms/main", "--client-id", "svc"}, more...)
		code := run(args, &env{ctx: t.Context(), stdin: strings.NewReader(token + "\n"), stdout: &stdout, stderr: &stderr, lookupEnv: noEnv})
		return code, stdout.String(), stderr.String()
	}
	token := clientToken(t, base, "")
	if code, _, stderr := revoke(token, "--wait=none"); code != exitFailed || !strings.Contains(stderr, "401 unauthorized_client") {
		t.Errorf("without the secret: exit %d, %s", code, stderr)
	}
	code, stdout, stderr := revoke(token, "--client-secret-file", secret, "--wait=all")
	if want := "revoked at revision 1: applied by 0, expired at 0, pending at 0, unbounded at 0\n"; code != exitOK || stdout != want {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
	code, stdout, _ = revoke(clientToken(t, base, ""), "--client-secret-file", secret, "--wait=2s", "--json")
	var o revocation.Outcome
	if err := json.Unmarshal([]byte(stdout), &o); code != exitOK || err != nil || o.Revision != 2 || o.Pending == nil {
		t.Errorf("exit %d: %s", code, stdout)
	}
	if code, stdout, _ := revoke("unknown", "--client-secret-file", secret); code != exitOK || !strings.HasPrefix(stdout, "nothing to revoke") {
		t.Errorf("exit %d: %s", code, stdout)
	}
}

func TestRevokeCommandRefusesWhatCannotBeRight(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, token, want string
		args              []string
	}{
		{"a wait without a unit", "t", "--wait", []string{"--issuer=https://id.example", "--client-id=c", "--wait=5"}},
		{"a negative wait", "t", "--wait", []string{"--issuer=https://id.example", "--client-id=c", "--wait=-1s"}},
		{"a wait beyond all leases", "t", "--wait", []string{"--issuer=https://id.example", "--client-id=c", "--wait=11m"}},
		{"plaintext beyond loopback", "t", "in the clear", []string{"--issuer=http://id.example", "--client-id=c"}},
		{"no URL", "t", "not an http", []string{"--issuer=id.example", "--client-id=c"}},
		{"no token", " \n", "no token", []string{"--issuer=https://id.example", "--client-id=c"}},
	} {
		var stderr bytes.Buffer
		code := run(append([]string{"revoke"}, tt.args...), &env{ctx: t.Context(), stdin: strings.NewReader(tt.token), stdout: io.Discard, stderr: &stderr, lookupEnv: noEnv})
		if code != exitUsage || !strings.Contains(stderr.String(), tt.want) {
			t.Errorf("%s: exit %d, %s", tt.name, code, stderr.String())
		}
	}
}
