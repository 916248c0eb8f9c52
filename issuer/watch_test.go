package issuer_test

import (
	"context"
	"net"
	"net/http"
	"net/url"
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
	set := revocation.NewSet()
	w, err := watch.NewWatcher(watch.WatcherConfig{Conn: authorized{conn, bearerOf(s.clientToken(issuer.WatchScope))}, Set: set, Node: "test"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- w.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ran })
	<-w.Synced()

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

// authorized is a connection whose streams carry a token.
type authorized struct {
	*grpc.ClientConn
	token bearerOf
}

func (a authorized) NewStream(ctx context.Context, d *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	return a.ClientConn.NewStream(ctx, d, method, append(opts, grpc.PerRPCCredentials(a.token))...)
}
