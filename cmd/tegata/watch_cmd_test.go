package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/tegata/tegata/revocation"
	"github.com/tegata/tegata/revocation/watch"
)

// transcript is what a program that still runs has written.
type transcript struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (t *transcript) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.Write(p)
}

func (t *transcript) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.String()
}

// operated is an issuer with its management listener, and a file with the
// secret of client svc.
type operated struct{ config, base, management, watch, secret string }

func operate(t *testing.T) operated {
	t.Helper()
	o := operated{management: freeAddress(t), watch: freeAddress(t), secret: filepath.Join(t.TempDir(), "secret")}
	o.config, o.base = issuerFiles(t, "  watch: {listen: '"+o.watch+"', realm: main, lease: 2s}\n")
	runs(t, "issuer", "--config", o.config, "--set", "issuer.management="+o.management)
	eventually(t, "the issuer answers", func() bool { return answers(o.base + "/realms/main") })
	if err := os.WriteFile(o.secret, []byte("svc-secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return o
}

func (o operated) tokenURL() string { return o.base + "/realms/main/protocol/openid-connect/token" }

// tegata runs a command to its end.
func tegata(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	code = run(args, &env{ctx: t.Context(), stdin: strings.NewReader(stdin), stdout: &out, stderr: &err, lookupEnv: noEnv})
	return code, out.String(), err.String()
}

// revoke revokes a new token of svc, and waits for all.
func (o operated) revoke(t *testing.T) (out revocation.Outcome) {
	t.Helper()
	code, stdout, stderr := tegata(t, clientToken(t, o.base, ""), "revoke", "--issuer", o.base+"/realms/main", "--client-id", "svc", "--client-secret-file", o.secret, "--wait=all", "--json")
	if err := json.Unmarshal([]byte(stdout), &out); code != exitOK || err != nil {
		t.Fatalf("exit %d: %s%s", code, stdout, stderr)
	}
	return out
}

// follows runs a watcher as authz has one.
func (o operated) follows(t *testing.T, node string) (w *watch.Watcher, stop func()) {
	t.Helper()
	conns, err := dialWatch("authz.revocations", revocationsConfig{Address: o.watch, ClientID: "svc", ClientSecret: "svc-secret", TokenURL: o.tokenURL()})
	if err != nil {
		t.Fatal(err)
	}
	w, err = watch.NewWatcher(watch.WatcherConfig{Conns: conns.conns(), Set: revocation.NewSet(), Node: node})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- w.Run(ctx) }()
	stop = sync.OnceFunc(func() { cancel(); <-ran; conns.hangUp() })
	t.Cleanup(stop)
	eventually(t, node+" trusts", func() bool { return w.Trust() == revocation.Fresh })
	return w, stop
}

// TestWatchShowsRevocationsAsTheyCome, to people and to programs, whole only
// when asked; nobody who revokes waits for it or counts it.
func TestWatchShowsRevocationsAsTheyCome(t *testing.T) {
	t.Parallel()
	o := operate(t)
	if got := o.revoke(t); got.Revision != 1 {
		t.Fatalf("revoked at %d", got.Revision)
	}
	start := func(more ...string) (out, side *transcript) {
		out, side = new(transcript), new(transcript)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan int, 1)
		args := append([]string{"watch", "--address", o.watch, "--token-url", o.tokenURL(), "--client-id", "svc", "--client-secret-file", o.secret}, more...)
		go func() {
			done <- run(args, &env{ctx: ctx, stdin: strings.NewReader(""), stdout: out, stderr: side, lookupEnv: noEnv})
		}()
		t.Cleanup(func() {
			cancel()
			if code := <-done; code != exitOK {
				t.Errorf("exit %d: %s", code, side)
			}
		})
		return out, side
	}
	people, side := start()
	programs, _ := start("--json", "--full", "--held")
	eventually(t, "both follow", func() bool {
		return strings.Contains(side.String(), "following from revision 1") && strings.Contains(programs.String(), `"opened"`)
	})
	if got := o.revoke(t); got.Applied != 0 || got.Expired != 0 || len(got.Pending) != 0 {
		t.Errorf("outcome = %+v: observers are counted", got)
	}
	eventually(t, "both show it", func() bool {
		return strings.Contains(people.String(), "\n") && strings.Contains(programs.String(), `"record"`)
	})

	var events []watchEvent
	for line := range strings.Lines(programs.String()) {
		var ev watchEvent
		if err := json.Unmarshal([]byte(line), &ev); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		events = append(events, ev)
	}
	if len(events) != 3 || events[0].Event != "held" || events[0].Revision != 1 || events[1].Event != "opened" || events[1].InForce != 1 {
		t.Fatalf("events = %+v", events)
	}
	last := events[2]
	if last.Event != "record" || last.Revision != 2 || last.Issuer != o.base+"/realms/main" || last.Kind != "token" || last.Reason != revocation.ReasonRevoked ||
		len(last.Target) < 20 || last.Delay == nil || *last.Delay < 0 || *last.Delay > 20 || last.CommittedAt == nil || last.ExpiresAt == nil {
		t.Errorf("record = %+v", last)
	}
	line := people.String()
	for _, want := range []string{"  2  " + o.base + "/realms/main  token " + last.Target[:8] + "…  revoked  +"} {
		if !strings.Contains(line, want) {
			t.Errorf("shown %q, want %q in it", line, want)
		}
	}
	if strings.Contains(line, last.Target) || strings.Count(line, "\n") != 1 {
		t.Errorf("shown %q: not shortened, or not the new one alone", line)
	}
}

func TestWatchSaysWhyItIsNotLetIn(t *testing.T) {
	t.Parallel()
	o := operate(t)
	wrong := filepath.Join(t.TempDir(), "wrong")
	if err := os.WriteFile(wrong, []byte("wrong\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, want string
		code       int
		args       []string
	}{
		{"a wrong secret", "not let in", exitFailed, []string{"--address", o.watch, "--token-url", o.tokenURL(), "--client-id", "svc", "--client-secret-file", wrong}},
		{"no identity", "how is the upstream shown who asks", exitUsage, []string{"--address", o.watch}},
		{"plaintext beyond loopback", "required beyond loopback", exitUsage, []string{"--address", "id.example.com:8082", "--token-url", o.tokenURL(), "--client-id", "svc", "--client-secret-file", wrong}},
		{"a configuration that says nothing of it", "says nothing", exitUsage, []string{"--config", o.config}},
	} {
		code, stdout, stderr := tegata(t, "", append([]string{"watch"}, tt.args...)...)
		if code != tt.code || !strings.Contains(stderr, tt.want) || stdout != "" || strings.Contains(stderr, "svc-secret") {
			t.Errorf("%s: exit %d, %s%s", tt.name, code, stdout, stderr)
		}
	}
}

// TestStatusSaysWhoFollows, and fails while somebody is behind or lost.
func TestStatusSaysWhoFollows(t *testing.T) {
	t.Parallel()
	o := operate(t)
	management := "http://" + o.management
	eventually(t, "leases of a run before have ended", func() bool { code, _, _ := tegata(t, "", "status", "--management", management); return code == exitOK })
	w, stop := o.follows(t, "zone-a\x1b[2J")
	_ = o.revoke(t)
	var stdout string
	eventually(t, "all is well", func() bool {
		var code int
		code, stdout, _ = tegata(t, "", "status", "--management", management)
		return code == exitOK
	})
	for _, want := range []string{"issuer ", "head 1 of epoch", "leases of 2.0 s", "WATCHER", "svc/zone-a", " ok ", " deny "} {
		if !strings.Contains(stdout, want) {
			t.Errorf("%q is not in\n%s", want, stdout)
		}
	}
	if strings.Contains(stdout, "\x1b") {
		t.Error("a watcher's name steers the terminal")
	}
	code, stdout, _ := tegata(t, "", "status", "--management", management, "--json")
	var s programStatus
	if err := json.Unmarshal([]byte(stdout), &s); code != exitOK || err != nil || s.Program != "issuer" || len(s.Upstream.Watchers) != 1 {
		t.Fatalf("exit %d: %s", code, stdout)
	}
	if got := s.Upstream.Watchers[0]; got.Acknowledged != w.Status().Revision || got.State != watch.StateOK || got.Lease <= 0 || got.Lease > 2 {
		t.Errorf("watcher = %+v", got)
	}

	stop()
	eventually(t, "it is missed", func() bool {
		code, stdout, _ = tegata(t, "", "status", "--management", management)
		return code == exitFailed && strings.Contains(stdout, " lost ")
	})
	if code, _, stderr := tegata(t, "", "status", "--management", "http://"+freeAddress(t)); code != exitFailed || !strings.Contains(stderr, "refused") {
		t.Errorf("nobody there: exit %d, %s", code, stderr)
	}
	if code, _, stderr := tegata(t, "", "status", "--management", o.base); code != exitFailed || !strings.Contains(stderr, "no management listener") {
		t.Errorf("the wrong listener: exit %d, %s", code, stderr)
	}
	if code, _, _ := tegata(t, "", "status", "--management", "localhost"); code != exitUsage {
		t.Errorf("no URL: exit %d", code)
	}
}

// TestTheTrailSaysWhoRevokedWhatAndWhenItWasApplied, in the log of the issuer
// and by tegata status, and never names the token.
func TestTheTrailSaysWhoRevokedWhatAndWhenItWasApplied(t *testing.T) {
	t.Parallel()
	management, listen := freeAddress(t), freeAddress(t)
	config, base := issuerFiles(t, "  watch: {listen: '"+listen+"', realm: main, lease: 2s}\n")
	log := new(transcript)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan int, 1)
	go func() {
		args := []string{"issuer", "--config", config, "--set", "issuer.management=" + management, "--set", "log.level=info"}
		done <- run(args, &env{ctx: ctx, stdin: strings.NewReader(""), stdout: io.Discard, stderr: log, lookupEnv: noEnv})
	}()
	t.Cleanup(func() { cancel(); <-done })
	eventually(t, "the issuer answers", func() bool { return answers(base + "/realms/main") })
	o := operated{config: config, base: base, management: management, watch: listen, secret: filepath.Join(t.TempDir(), "secret")}
	if err := os.WriteFile(o.secret, []byte("svc-secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, _ = o.follows(t, "gateway")
	token := clientToken(t, base, "")
	if code, _, stderr := tegata(t, token, "revoke", "--issuer", base+"/realms/main", "--client-id", "svc", "--client-secret-file", o.secret); code != exitOK {
		t.Fatal(stderr)
	}

	var lines []map[string]any
	eventually(t, "both lines are written", func() bool {
		lines = nil
		for line := range strings.Lines(log.String()) {
			var l map[string]any
			if json.Unmarshal([]byte(line), &l) == nil && l["audit"] != nil {
				lines = append(lines, l)
			}
		}
		return len(lines) == 2
	})
	for n, want := range []map[string]any{
		{"audit": "revocation.committed", "revision": 1.0, "issuer": base + "/realms/main", "kind": "token", "reason": "revoked", "actor": "client:svc"},
		{"audit": "revocation.settled", "revision": 1.0, "applied": 1.0, "expired": 0.0},
	} {
		for name, value := range want {
			if lines[n][name] != value {
				t.Errorf("line %d: %s = %v, want %v", n, name, lines[n][name], value)
			}
		}
	}
	if lines[0]["epoch"] != lines[1]["epoch"] || lines[0]["epoch"] == "" || lines[1]["took_seconds"].(float64) > 20 || lines[0]["target"] == "" {
		t.Errorf("lines = %v", lines)
	}
	if strings.Contains(log.String(), token) {
		t.Error("the token is in the log")
	}

	status := []string{"status", "--management", "http://" + management, "--revision"}
	code, stdout, stderr := tegata(t, "", append(status, "1")...)
	for _, want := range []string{"client:svc", "token " + lines[0]["target"].(string), "settled", "applied 1, expired 0, pending 0, unbounded 0", "reason"} {
		if code != exitOK || !strings.Contains(stdout, want) {
			t.Errorf("exit %d: %q is not in\n%s%s", code, want, stdout, stderr)
		}
	}
	if code, _, stderr := tegata(t, "", append(status, "2")...); code != exitFailed || !strings.Contains(stderr, "no such revocation") {
		t.Errorf("what is not there: exit %d, %s", code, stderr)
	}
}

// TestStatusOfARelaySaysWhatItFollows and who follows it.
func TestStatusOfARelaySaysWhatItFollows(t *testing.T) {
	t.Parallel()
	o := operate(t)
	dir := t.TempDir()
	writeWorkload(t, dir)
	health := freeAddress(t)
	text := fmt.Sprintf(`
log: {level: error}
relay:
  listen: %s
  tls: {cert_file: w.crt, key_file: w.key, client_ca_file: w.crt}
  peers: [spiffe://example.com/authz]
  management: %s
  revocations: {address: '%s', client_id: svc, client_secret: svc-secret, token_url: '%s'}
`, freeAddress(t), health, o.watch, o.tokenURL())
	file := filepath.Join(dir, "relay.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	runs(t, "relay", "--config", file)
	both := []string{"status", "--management", "http://" + o.management, "--management", "http://" + health + "/"}
	var stdout string
	eventually(t, "both are well", func() bool {
		var code int
		code, stdout, _ = tegata(t, "", both...)
		return code == exitOK && strings.Contains(stdout, " relay ")
	})
	for _, want := range []string{"relay ", "follows: fresh at revision 0", "no watchers", "applied 0, expired 0, pending 0, unbounded 0"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("%q is not in\n%s", want, stdout)
		}
	}
	// The relay's configuration is enough to watch.
	out := new(transcript)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan int, 1)
	go func() {
		done <- run([]string{"watch", "--config", file}, &env{ctx: ctx, stdin: strings.NewReader(""), stdout: io.Discard, stderr: out, lookupEnv: noEnv})
	}()
	eventually(t, "it follows", func() bool { return strings.Contains(out.String(), "following from revision") })
	cancel()
	if code := <-done; code != exitOK {
		t.Errorf("exit %d: %s", code, out)
	}
}
