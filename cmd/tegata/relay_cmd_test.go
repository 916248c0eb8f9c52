package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tegata/tegata/revocation"
	"github.com/tegata/tegata/revocation/watch"
)

// writeWorkload writes a certificate that is its own authority: for localhost,
// and for a SPIFFE id.
func writeWorkload(t *testing.T, dir string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		DNSNames: []string{"localhost"}, URIs: []*url.URL{{Scheme: "spiffe", Host: "example.com", Path: "/authz"}},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"w.crt": {Type: "CERTIFICATE", Bytes: der}, "w.key": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// runsUntil is runs with a way to stop it before the test ends.
func runsUntil(t *testing.T, args ...string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var stderr bytes.Buffer
	done := make(chan int, 1)
	go func() {
		done <- run(args, &env{ctx: ctx, stdin: strings.NewReader(""), stdout: &bytes.Buffer{}, stderr: &stderr, lookupEnv: noEnv})
	}()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if code := <-done; code != exitOK {
			t.Errorf("tegata %s: exit %d\n%s", strings.Join(args, " "), code, stderr.String())
		}
	}
	t.Cleanup(stop)
	return stop
}

// TestRelaysBetweenAnIssuerAndAWatcher: two relays over TLS, a watcher below
// that prefers the first and moves to the second when that stops. Whoever
// revokes counts all of them, and what is answered is applied at the leaf.
func TestRelaysBetweenAnIssuerAndAWatcher(t *testing.T) {
	t.Parallel()
	watchAddress := freeAddress(t)
	config, base := issuerFiles(t, "  watch: {listen: '"+watchAddress+"', realm: main}\n")
	runs(t, "issuer", "--config", config)
	eventually(t, "the issuer answers", func() bool { return answers(base + "/realms/main") })

	dir := t.TempDir()
	writeWorkload(t, dir)
	relay := func(name string) (address string, stop func()) {
		listen, health := freeAddress(t), freeAddress(t)
		_, port, _ := strings.Cut(listen, ":")
		text := fmt.Sprintf(`
log: {level: error}
relay:
  listen: %s
  tls: {cert_file: w.crt, key_file: w.key, client_ca_file: w.crt}
  peers: [spiffe://example.com/authz]
  management: %s
  revocations: {address: '%s', client_id: svc, client_secret: svc-secret, token_url: '%s/realms/main/protocol/openid-connect/token'}
`, listen, health, watchAddress, base)
		file := filepath.Join(dir, name+".yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		stop = runsUntil(t, "relay", "--config", file)
		eventually(t, name+" is ready", func() bool { return answers("http://" + health + "/health/ready") })
		return "localhost:" + port, stop
	}
	first, stopFirst := relay("first")
	second, _ := relay("second")

	cert, key := filepath.Join(dir, "w.crt"), filepath.Join(dir, "w.key")
	conns, err := dialWatch("authz.revocations", revocationsConfig{
		Address: first, Others: []string{second}, TLS: clientTLSConfig{CAFile: cert, CertFile: cert, KeyFile: key},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conns.hangUp)
	set := revocation.NewSet()
	w, err := watch.NewWatcher(watch.WatcherConfig{Conns: conns.conns(), Set: set, Node: "leaf"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- w.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ran })
	eventually(t, "the leaf trusts", func() bool { return w.Trust() == revocation.Fresh })

	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("svc-secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	revoke := func() (o revocation.Outcome) {
		var stdout, stderr bytes.Buffer
		args := []string{"revoke", "--issuer", base + "/realms/main", "--client-id", "svc", "--client-secret-file", secret, "--wait=all", "--json"}
		token := clientToken(t, base, "")
		code := run(args, &env{ctx: t.Context(), stdin: strings.NewReader(token), stdout: &stdout, stderr: &stderr, lookupEnv: noEnv})
		if err := json.Unmarshal(stdout.Bytes(), &o); code != exitOK || err != nil {
			t.Fatalf("exit %d: %s%s", code, stdout.String(), stderr.String())
		}
		if set.Revision() < o.Revision && w.Trust() == revocation.Fresh {
			t.Errorf("answered %+v, and the leaf trusts revision %d", o, set.Revision())
		}
		return o
	}
	if o := revoke(); o.Applied != 3 || o.Expired != 0 {
		t.Errorf("outcome = %+v, want all three to have applied it", o)
	}
	stopFirst()
	if o := revoke(); o.Applied < 1 || len(o.Pending) > 0 {
		t.Errorf("outcome = %+v", o)
	}
	eventually(t, "the leaf hears by the second", func() bool { return set.Revision() >= 2 && w.Trust() == revocation.Fresh })
	if o := revoke(); o.Applied != 2 {
		t.Errorf("outcome = %+v, want the second and the leaf", o)
	}
}

// TestTwoIssuersOnOneStore: who revokes at one waits for the watchers of the
// other, and counts them.
func TestTwoIssuersOnOneStore(t *testing.T) {
	t.Parallel()
	one, two := freeAddress(t), freeAddress(t)
	config, base := issuerFiles(t, "  watch: {listen: '"+one+"', realm: main}\n")
	runs(t, "issuer", "--config", config)
	eventually(t, "the first answers", func() bool { return answers(base + "/realms/main") })
	web := freeAddress(t)
	runs(t, "issuer", "--config", config, "--set", "issuer.listen="+web, "--set", "issuer.watch.listen="+two)
	eventually(t, "the second answers", func() bool { return answers("http://" + web + "/realms/main") })

	conns, err := dialWatch("authz.revocations", revocationsConfig{
		Address: two, ClientID: "svc", ClientSecret: "svc-secret", TokenURL: base + "/realms/main/protocol/openid-connect/token",
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conns.hangUp)
	set := revocation.NewSet()
	w, err := watch.NewWatcher(watch.WatcherConfig{Conns: conns.conns(), Set: set, Node: "leaf"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- w.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ran })
	eventually(t, "the leaf trusts", func() bool { return w.Trust() == revocation.Fresh })

	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("svc-secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		var stdout, stderr bytes.Buffer
		args := []string{"revoke", "--issuer", base + "/realms/main", "--client-id", "svc", "--client-secret-file", secret, "--wait=all", "--json"}
		code := run(args, &env{ctx: t.Context(), stdin: strings.NewReader(clientToken(t, base, "")), stdout: &stdout, stderr: &stderr, lookupEnv: noEnv})
		var o revocation.Outcome
		if err := json.Unmarshal(stdout.Bytes(), &o); code != exitOK || err != nil {
			t.Fatalf("exit %d: %s%s", code, stdout.String(), stderr.String())
		}
		if o.Applied != 1 || set.Revision() < o.Revision {
			t.Errorf("answered %+v, and the other's watcher is at %d", o, set.Revision())
		}
	}
}
