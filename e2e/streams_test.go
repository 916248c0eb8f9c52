package e2e

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/tegata/tegata/internal/stack"
	"github.com/tegata/tegata/manifests/envoy"
)

// Requests that outlive their check, through the shipped envoy-streams.yaml:
// a real websocket, a real gRPC stream, and server-sent events.

// live is an API with long-lived requests, and what it has heard.
type live struct {
	mu    sync.Mutex
	heard map[string]time.Time // when a websocket last brought something, by its path
}

// websocket answers each message, and notes when it came.
func (l *live) websocket(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer func() { _ = c.CloseNow() }()
	for {
		kind, message, err := c.Read(r.Context())
		if err != nil {
			return
		}
		l.mu.Lock()
		l.heard[r.URL.Path] = time.Now()
		l.mu.Unlock()
		if c.Write(r.Context(), kind, message) != nil {
			return
		}
	}
}

func (l *live) last(path string) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.heard[path]
}

// events sends an event now and then (HTML, server-sent events).
func (l *live) events(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	for n := 0; r.Context().Err() == nil; n++ {
		_, _ = fmt.Fprintf(w, "data: %d\n\n", n)
		w.(http.Flusher).Flush()
		time.Sleep(5 * time.Millisecond)
	}
}

// slowly answers when the test is long over.
func (l *live) slowly(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// liveAPI serves a live over HTTP, and gRPC's health service.
func liveAPI(t *testing.T) (l *live, httpPort, grpcPort string) {
	t.Helper()
	l = &live{heard: map[string]time.Time{}}
	mux := http.NewServeMux()
	mux.HandleFunc("/live/ws/", l.websocket)
	mux.HandleFunc("/live/events", l.events)
	mux.HandleFunc("/live/slow", l.slowly)
	api := &http.Server{Handler: mux, ReadHeaderTimeout: time.Second}
	services := grpc.NewServer()
	healthv1.RegisterHealthServer(services, health.NewServer())
	var serving sync.WaitGroup
	listening := func(serve func(net.Listener) error) string {
		var lc net.ListenConfig
		listener, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		serving.Go(func() { _ = serve(listener) })
		return port(t, listener.Addr().String())
	}
	httpPort, grpcPort = listening(api.Serve), listening(services.Serve)
	t.Cleanup(func() {
		services.Stop()
		_ = api.Close()
		serving.Wait()
	})
	return l, httpPort, grpcPort
}

// liveStack is the shipped gateway for long-lived requests before a live API,
// with a policy that asks for orders:read but on /live/events.
func liveStack(t *testing.T, change func(*stack.Config)) (*stack.Stack, *live) {
	t.Helper()
	api, httpPort, grpcPort := liveAPI(t)
	held := freeAddress(t)
	s := ownStack(t, func(c *stack.Config) {
		c.Bootstrap = envoy.BootstrapStreams
		withEnvoy(t, c, "port_value: 9194 }", "port_value: "+port(t, held)+" }")
		withEnvoy(t, c, "port_value: 3000 }", "port_value: "+httpPort+" }")
		withEnvoy(t, c, "port_value: 3001 }", "port_value: "+grpcPort+" }")
		c.Set["authz.ext_proc.listen"] = held
		c.Set["authz.policy.dir"] = policyDir(t, `
import rego.v1

default allow := false

allow if "orders:read" in input.token.scopes
allow if {
	not input.token
	input.attributes.request.http.path == "/live/events"
}
`)
		change(c)
	})
	return s, api
}

// socket is a websocket through the gateway on which somebody talks all the time.
type socket struct {
	path  string
	ended chan error
}

func openSocket(t *testing.T, s *stack.Stack, token, name string) *socket {
	t.Helper()
	path := "/live/ws/" + name
	c, resp, err := websocket.Dial(t.Context(), s.GatewayURL+path, &websocket.DialOptions{
		HTTPHeader: http.Header{"Authorization": {"Bearer " + token}},
	})
	if err != nil {
		t.Fatalf("opening a websocket: %v (%v)", err, resp)
	}
	w := &socket{path: path, ended: make(chan error, 1)}
	talk := func() error {
		if err := c.Write(t.Context(), websocket.MessageText, []byte("hello")); err != nil {
			return err
		}
		_, _, err := c.Read(t.Context())
		return err
	}
	if err := talk(); err != nil {
		t.Fatalf("talking over a websocket: %v", err)
	}
	go func() {
		defer func() { _ = c.CloseNow() }()
		for {
			if err := talk(); err != nil {
				w.ended <- err
				return
			}
		}
	}()
	return w
}

// openWatch is a gRPC stream that has begun; its end is sent to ended.
func openWatch(t *testing.T, s *stack.Stack, token string) (ended chan error) {
	t.Helper()
	u, err := url.Parse(s.GatewayURL)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient(u.Host, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+token)
	watch, err := healthv1.NewHealthClient(conn).Watch(ctx, &healthv1.HealthCheckRequest{})
	if err == nil {
		_, err = watch.Recv()
	}
	if err != nil {
		t.Fatalf("opening a gRPC stream: %v", err)
	}
	ended = make(chan error, 1)
	go func() {
		_, err := watch.Recv()
		ended <- err
	}()
	return ended
}

// openEvents is a stream of events that has begun; its end is sent to ended.
func openEvents(t *testing.T, s *stack.Stack, token string) (ended chan error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.GatewayURL+"/live/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := new(http.Transport).RoundTrip(req)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("opening a stream of events: %v %v", resp, err)
	}
	events := bufio.NewReader(resp.Body)
	if _, err := events.ReadString('\n'); err != nil {
		t.Fatalf("reading an event: %v", err)
	}
	ended = make(chan error, 1)
	go func() {
		defer func() { _ = resp.Body.Close() }()
		_, err := io.Copy(io.Discard, events)
		ended <- err
	}()
	return ended
}

// wantEnd waits for an end, and wants it not to be a proper one.
func wantEnd(t *testing.T, what string, ended chan error, within time.Duration) {
	t.Helper()
	select {
	case err := <-ended:
		if err == nil {
			t.Errorf("%s ended as if nothing were wrong", what)
		}
	case <-time.After(within):
		t.Errorf("%s goes on after %v", what, within)
	}
}

func wantGoingOn(t *testing.T, what string, ended chan error) {
	t.Helper()
	select {
	case err := <-ended:
		t.Errorf("%s has ended: %v", what, err)
	default:
	}
}

// soon is what an end may take to reach a client: Envoy closes its side of an
// HTTP/1 connection a second later (delayed_close_timeout).
const soon = 3 * time.Second

// underway is what bytes that have left Envoy may take until the API has them.
const underway = 200 * time.Millisecond

// TestARevocationEndsWhatItLetThrough: when the revocation is answered, Envoy
// passes on nothing more of the revoked token's websocket, on which there is
// talk all the time; gRPC streams and events end too, and those of others go on.
func TestARevocationEndsWhatItLetThrough(t *testing.T) {
	s, api := liveStack(t, func(*stack.Config) {})
	token, other := mustMint(t, s, "orders:read"), mustMint(t, s, "orders:read")
	socket, watch, events := openSocket(t, s, token, "a"), openWatch(t, s, token), openEvents(t, s, token)
	slow := make(chan answer, 1)
	go func() { slow <- ask(s, http.MethodGet, "/live/slow", token) }()
	others, public := openSocket(t, s, other, "b"), openEvents(t, s, "")
	eventually(t, 5*time.Second, "all are held", func() bool { return metric(t, s.AuthzManagement, "tegata_held_requests") == 5 })

	mustRevoke(t, s, token)
	answered := time.Now()
	wantEnd(t, "the websocket", socket.ended, soon)
	wantEnd(t, "the gRPC stream", watch, soon)
	wantEnd(t, "the stream of events", events, soon)
	if last := api.last(socket.path); last.After(answered.Add(underway)) {
		t.Errorf("the API was told something %v after the revocation was answered", last.Sub(answered))
	}
	select {
	case a := <-slow:
		wantRefused(t, "a request whose response had not begun", a, http.StatusUnauthorized, "invalid_token")
	case <-time.After(soon):
		t.Error("a request whose response had not begun goes on")
	}
	before := api.last(others.path)
	eventually(t, 5*time.Second, "others are heard", func() bool { return api.last(others.path).After(before) })
	wantGoingOn(t, "the websocket of another token", others.ended)
	wantGoingOn(t, "a request without a token", public)
	if n := metric(t, s.AuthzManagement, `tegata_held_requests_ended_total{reason="revoked"}`); n != 4 {
		t.Errorf("%v requests were ended because of a revocation, want 4", n)
	}
}

// TestALogoutEndsTheSessionsStreams: a person's logout.
func TestALogoutEndsTheSessionsStreams(t *testing.T) {
	s, _ := liveStack(t, func(*stack.Config) {})
	p := login(t, s)
	socket, watch := openSocket(t, s, p.tokens.AccessToken, "a"), openWatch(t, s, p.tokens.AccessToken)
	p.logout(t)
	wantEnd(t, "the websocket", socket.ended, soon)
	select {
	case err := <-watch:
		if code := status.Code(err); code == codes.OK {
			t.Error("the gRPC stream ended as if nothing were wrong")
		}
	case <-time.After(soon):
		t.Error("the gRPC stream goes on")
	}
}

// TestHeldRequestsEndWithTheLease: an authz that is cut off ends what it cannot
// vouch for, no later than it stops letting new requests through.
func TestHeldRequestsEndWithTheLease(t *testing.T) {
	s, api := liveStack(t, func(*stack.Config) {})
	socket := openSocket(t, s, mustMint(t, s, "orders:read"), "a")
	signal(t, s.Issuer.PID(), syscall.SIGSTOP)
	t.Cleanup(func() { signal(t, s.Issuer.PID(), syscall.SIGCONT) })
	cut := time.Now()
	wantEnd(t, "the websocket", socket.ended, lease+soon)
	if last := api.last(socket.path).Sub(cut); last < lease/3 || last > lease {
		t.Errorf("the API heard for %v after the cut: want some time, and at most the lease of %v", last, lease)
	}
}

// TestHeldRequestsEndWithTheirToken: a token that expires, here an opaque one.
func TestHeldRequestsEndWithTheirToken(t *testing.T) {
	f := newForeign(t)
	s, api := liveStack(t, func(c *stack.Config) {
		onlyIssuers(t, c, f.trusted(f.introspected(time.Minute, ""), "      leeway: 1s"))
	})
	exp := time.Now().Add(3 * time.Second).Truncate(time.Second)
	socket := openSocket(t, s, f.issue(func(claims map[string]any) { claims["exp"] = exp.Unix() }), "a")
	wantEnd(t, "the websocket", socket.ended, 4*time.Second+soon)
	if last := api.last(socket.path); last.Before(exp.Add(-time.Second)) || last.After(exp.Add(2*time.Second+200*time.Millisecond)) {
		t.Errorf("the API heard the last %v after the token's end", last.Sub(exp))
	}
}

// TestWhatCannotBeHeldIsRefused: an Envoy that does not pass on which token was
// let through, or whose authz does not say.
func TestWhatCannotBeHeldIsRefused(t *testing.T) {
	s, _ := liveStack(t, func(c *stack.Config) {
		withEnvoy(t, c, "forwarding_namespaces: { untyped: [envoy.filters.http.ext_authz] }", "forwarding_namespaces: {}")
	})
	a := ask(s, http.MethodGet, "/live/slow", mustMint(t, s, "orders:read"))
	if a.status != http.StatusServiceUnavailable {
		t.Errorf("got %v, want 503", a)
	}
	log := readFile(t, s.Dir+"/authz.log")
	if !strings.Contains(log, "forwarding_namespaces") {
		t.Errorf("the log does not say what is wrong:\n%s", log)
	}
}

// TestHeldRequestsMayBeSilent: nothing happens on them for longer than Envoy
// takes to look whether the one who holds them is there.
func TestHeldRequestsMayBeSilent(t *testing.T) {
	s, _ := liveStack(t, func(*stack.Config) {})
	watch := openWatch(t, s, mustMint(t, s, "orders:read"))
	time.Sleep(8 * time.Second)
	wantGoingOn(t, "the gRPC stream", watch)
}

// TestOnlyHeldRequestsLast: elsewhere there are no websockets.
func TestOnlyHeldRequestsLast(t *testing.T) {
	s, _ := liveStack(t, func(*stack.Config) {})
	_, resp, err := websocket.Dial(t.Context(), s.GatewayURL+"/orders", &websocket.DialOptions{
		HTTPHeader: http.Header{"Authorization": {"Bearer " + mustMint(t, s, "orders:read")}},
	})
	if err == nil || resp == nil || resp.StatusCode != http.StatusForbidden {
		t.Errorf("got %v, %v, want 403", resp, err)
	}
}

// TestHeldRequestsEndWithAFrozenWatcher: an authz that does not run cannot end
// anything; Envoy notices before its lease has ended.
func TestHeldRequestsEndWithAFrozenWatcher(t *testing.T) {
	s, api := liveStack(t, func(*stack.Config) {})
	socket := openSocket(t, s, mustMint(t, s, "orders:read"), "a")
	signal(t, s.Authz.PID(), syscall.SIGSTOP)
	t.Cleanup(func() { signal(t, s.Authz.PID(), syscall.SIGCONT) })
	stopped := time.Now()
	wantEnd(t, "the websocket", socket.ended, lease+soon)
	if last := api.last(socket.path).Sub(stopped); last > lease {
		t.Errorf("the API heard for %v, longer than a lease", last)
	}
}

// TestHeldRequestsNeedTheirWatcher: if the authz that holds a request is gone,
// the request ends.
func TestHeldRequestsNeedTheirWatcher(t *testing.T) {
	s, _ := liveStack(t, func(*stack.Config) {})
	socket := openSocket(t, s, mustMint(t, s, "orders:read"), "a")
	if err := syscall.Kill(s.Authz.PID(), syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		t.Fatal(err)
	}
	wantEnd(t, "the websocket", socket.ended, 10*time.Second)
}

// metric is the sum of the samples of a figure that begin so.
func metric(t *testing.T, management, prefix string) (sum float64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, management+"/metrics", nil)
	a := do(req, err)
	for line := range bytes.Lines(a.body) {
		var value float64
		name, rest, _ := strings.Cut(string(line), " ")
		if !strings.HasPrefix(name, prefix) {
			continue
		}
		if _, err := fmt.Sscan(rest, &value); err == nil {
			sum += value
		}
	}
	return sum
}
