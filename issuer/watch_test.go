package issuer_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/tegata/tegata/issuer"
	"github.com/tegata/tegata/revocation"
	"github.com/tegata/tegata/revocation/revocationpb"
	"github.com/tegata/tegata/revocation/watch"
)

// serveWatch serves the revocation stream of s until the test ends.
func (s *server) serveWatch(t *testing.T) *grpc.ClientConn {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer(watch.ServerOptions(5 * time.Second)...)
	s.iss.RegisterWatch(g)
	served := make(chan error, 1)
	go func() { served <- g.Serve(l) }()
	t.Cleanup(func() {
		g.Stop()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// bearerOf adds a token to every call.
type bearerOf string

func (b bearerOf) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

func (bearerOf) RequireTransportSecurity() bool { return false }

func (s *server) clientToken(scope string) string {
	s.t.Helper()
	status, answer := s.post("token", "svc", "svc-secret", url.Values{"grant_type": {"client_credentials"}, "scope": {scope}})
	if status != http.StatusOK {
		s.t.Fatalf("no token: %d %v", status, answer)
	}
	return answer["access_token"].(string)
}

func TestWatchIsForThoseWithTheScope(t *testing.T) {
	t.Parallel()
	s := start(t)
	conn := s.serveWatch(t)
	revoked := s.clientToken(issuer.WatchScope)
	s.post("revoke", "svc", "svc-secret", url.Values{"token": {revoked}})
	user := s.redeem(newBrowser(t, s).login("app", "alice", "openid"))
	tests := []struct {
		name   string
		values []string // of metadata authorization
		want   codes.Code
	}{
		{"no token", nil, codes.Unauthenticated},
		{"not a bearer", []string{"Basic c3ZjOnN2Yy1zZWNyZXQ="}, codes.Unauthenticated},
		{"two tokens", []string{"Bearer a", "Bearer b"}, codes.Unauthenticated},
		{"garbage", []string{"Bearer x.y.z"}, codes.Unauthenticated},
		{"foreign issuer", []string{"Bearer eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJodHRwczovL2V2aWwuZXhhbXBsZSJ9.AAAA"}, codes.Unauthenticated},
		{"without the scope", []string{"Bearer " + s.clientToken("orders:write")}, codes.PermissionDenied},
		{"a user's token", []string{"Bearer " + user["access_token"].(string)}, codes.PermissionDenied},
		{"a refresh token", []string{"Bearer " + user["refresh_token"].(string)}, codes.Unauthenticated},
		{"a revoked token", []string{"Bearer " + revoked}, codes.Unauthenticated},
	}
	for _, tt := range tests {
		ctx := metadata.NewOutgoingContext(t.Context(), metadata.MD{"authorization": tt.values})
		stream, err := revocationpb.NewRevocationsClient(conn).Watch(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = stream.Recv(); status.Code(err) != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
		}
	}
}

func TestARevocationIsAppliedBeforeItIsAnswered(t *testing.T) {
	t.Parallel()
	s := start(t)
	conn := s.serveWatch(t)
	set := s.watcher(t, conn)

	tokens := s.redeem(newBrowser(t, s).login("app", "alice", "openid"))
	_, claims := s.post("token/introspect", "rs", "rs-secret", url.Values{"token": {tokens["access_token"].(string)}})
	s.post("logout", "app", "app-secret", url.Values{"refresh_token": {tokens["refresh_token"].(string)}})

	view := set.Begin()
	defer view.End()
	if _, dead := view.Revoked(revocation.Token{
		Issuer: s.base + "/realms/demo", ID: claims["jti"].(string), Session: claims["sid"].(string),
		Subject: claims["sub"].(string), Client: "app", HasRev: true,
	}); !dead {
		t.Errorf("logout was answered, and the watcher does not know (revision %d, %d records)", view.Revision(), set.Len())
	}
}

// watcher is the set of a watcher that follows s.
func (s *server) watcher(t *testing.T, conn *grpc.ClientConn) *revocation.Set {
	t.Helper()
	set := revocation.NewSet()
	w, err := watch.NewWatcher(watch.WatcherConfig{Conns: []grpc.ClientConnInterface{authorized{conn, bearerOf(s.clientToken(issuer.WatchScope))}}, Set: set, Node: "test"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- w.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ran })
	<-w.Synced()
	return set
}

// TestWhoeverRevokesSaysHowLongToWait: RFC 7240 §4, on RFC 7009.
func TestWhoeverRevokesSaysHowLongToWait(t *testing.T) {
	t.Parallel()
	s := start(t)
	set := s.watcher(t, s.serveWatch(t))
	revoke := func(token, id, secret string, prefer ...string) (http.Header, map[string]any) {
		t.Helper()
		form := url.Values{"token": {token}, "client_id": {id}}
		if secret != "" {
			form.Set("client_secret", secret)
		}
		status, header, body := s.call("revoke", form, http.Header{"Prefer": prefer})
		if status != http.StatusOK {
			t.Fatalf("revoke: %d %v", status, body)
		}
		return header, body
	}
	_, _, tokens := s.call("token", url.Values{
		"grant_type": {"authorization_code"}, "code": {newBrowser(t, s).login("spa", "alice", "openid")},
		"client_id": {"spa"}, "redirect_uri": {callback}, "code_verifier": {verifier},
	}, nil)
	spa := tokens["access_token"].(string)

	if h, body := revoke(s.clientToken("orders:read"), "svc", "svc-secret"); h.Get(issuer.HeaderPending) != "" || len(body) > 0 {
		t.Errorf("nobody is behind: %v %v", h, body)
	}
	// The watcher's lease is 5 s, and a decision runs on its old state.
	hold := set.Begin()
	defer hold.End()
	began := time.Now()
	for _, tt := range []struct{ prefer, applied string }{
		{"respond-async", "respond-async"}, {"wait=0", "wait=0"}, {"respond-async, wait=0", "wait=0"},
	} {
		h, body := revoke(s.clientToken("orders:read"), "svc", "svc-secret", tt.prefer)
		if h.Get(issuer.HeaderPending) == "" || h.Get(issuer.HeaderApplied) != "0" || h.Get("Preference-Applied") != tt.applied || len(body) > 0 {
			t.Errorf("%s: %v %v", tt.prefer, h, body)
		}
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("none of them waits: %s", took)
	}
	names := func(body map[string]any) string {
		return fmt.Sprint(body["applied"], body["expired"], body["pending"], body["unbounded"])
	}
	if h, body := revoke(spa, "spa", "", "wait=0, return=representation"); !strings.HasSuffix(names(body), "[]") || strings.Contains(names(body), "test") ||
		!slices.Equal(h.Values("Preference-Applied"), []string{"wait=0", "return=representation"}) {
		t.Errorf("a public client is told %v %v", h, body)
	}
	if _, body := revoke("unknown", "svc", "svc-secret", "return=representation"); body["revision"] != 0.0 || names(body) != "0 0 [] []" {
		t.Errorf("nothing was revoked: %v", body)
	}
	h, body := revoke(s.clientToken("orders:read"), "svc", "svc-secret", "wait=1, return=representation")
	if names(body) != "0 0 [svc/test] []" || h.Get(issuer.HeaderPending) != "1" {
		t.Errorf("after a second: %v %v", h, body)
	}
	began = time.Now()
	h, body = revoke(s.clientToken("orders:read"), "svc", "svc-secret", "wait=600, return=representation")
	if names(body) != "0 1 [] []" || h.Get(issuer.HeaderPending) != "" || h.Get(issuer.HeaderExpired) != "1" || time.Since(began) > 10*time.Second {
		t.Errorf("all the way, which is a lease: %v %v after %s", h, body, time.Since(began))
	}
}

// authorized is a connection whose streams carry a token.
type authorized struct {
	*grpc.ClientConn
	token bearerOf
}

func (a authorized) NewStream(ctx context.Context, d *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	return a.ClientConn.NewStream(ctx, d, method, append(opts, grpc.PerRPCCredentials(a.token))...)
}
