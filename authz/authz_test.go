package authz

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/test/bufconn"

	"github.com/tegata/tegata/authz/policy"
	"github.com/tegata/tegata/authz/verify"
	"github.com/tegata/tegata/internal/jose"
	"github.com/tegata/tegata/policies"
	"github.com/tegata/tegata/revocation"
	"github.com/tegata/tegata/revocation/watch"
)

// patience is longer than anything here takes.
const patience = 20 * time.Second

// issuer is an issuer's keys over HTTP, and its log of revocations.
type issuer struct {
	url    string
	signer jose.Signer

	mu      sync.Mutex
	records []revocation.Record
	wake    chan struct{}
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{signer: jose.Signer{ID: "k1", Algorithm: jose.ES256, Key: key}, wake: make(chan struct{}, 1)}
	set, err := jose.NewKeySet(jose.PublicKey{ID: "k1", Algorithm: jose.ES256, Key: key.Public()})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(set)
	}))
	t.Cleanup(server.Close)
	i.url = server.URL
	return i
}

// token mints one with a scope.
func (i *issuer) token(t *testing.T, id string) string {
	t.Helper()
	claims, err := json.Marshal(map[string]any{
		"iss": i.url, "aud": "orders-api", "sub": "alice", "azp": "shop", "client_id": "shop", "jti": id,
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(), "rev": 0, "scope": "orders:read",
	})
	if err != nil {
		t.Fatal(err)
	}
	token, err := i.signer.Sign("at+jwt", claims)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func (i *issuer) revoke(id string) {
	i.mu.Lock()
	i.records = append(i.records, revocation.Record{
		Revision: revocation.Revision(len(i.records) + 1), Issuer: i.url,
		Target: revocation.Target{Kind: revocation.KindToken, ID: id}, IssuedBefore: time.Now(),
		ExpiresAt: time.Now().Add(time.Hour), Reason: revocation.ReasonRevoked, CommittedAt: time.Now(),
	})
	i.mu.Unlock()
	select {
	case i.wake <- struct{}{}:
	default:
	}
}

func (i *issuer) Head(context.Context) (revocation.Epoch, revocation.Revision, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return "epoch", revocation.Revision(len(i.records)), nil
}

func (i *issuer) Since(_ context.Context, after revocation.Revision, limit int) ([]revocation.Record, revocation.Revision, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	rest := slices.Clone(i.records[after:])
	rest = rest[:min(limit, len(rest))]
	return rest, after + revocation.Revision(len(rest)), nil
}

func (i *issuer) Committed() <-chan struct{} { return i.wake }

// serveWatch serves the watch on l until stop is called.
func (i *issuer) serveWatch(t *testing.T, l net.Listener) (u *watch.Upstream, stop func()) {
	t.Helper()
	const lease = 500 * time.Millisecond
	u, err := watch.NewUpstream(watch.UpstreamConfig{
		Source: i, Lease: lease, NewStore: true,
		Authorize: func(context.Context) (watch.Identity, error) { return watch.Identity{Name: "authz"}, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(watch.ServerOptions(lease)...)
	u.Register(server)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = u.Run(ctx) })
	wg.Go(func() { _ = server.Serve(l) })
	stop = sync.OnceFunc(func() {
		server.Stop()
		cancel()
		wg.Wait()
	})
	t.Cleanup(stop)
	return u, stop
}

// running is a Server under test, with a client to it.
type running struct {
	*Server
	config Config
	conn   *grpc.ClientConn
	stop   context.CancelFunc
	ended  chan error
}

// start runs a Server whose upstream is at upstream.
func start(t *testing.T, i *issuer, upstream string, drain time.Duration) *running {
	t.Helper()
	return startWith(t, i, upstream, func(c *Config) { c.Drain = drain })
}

func startWith(t *testing.T, i *issuer, upstream string, change func(*Config)) *running {
	t.Helper()
	options := append(watch.DialOptions(5*time.Second), grpc.WithTransportCredentials(insecure.NewCredentials()))
	up, err := grpc.NewClient(upstream, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = up.Close() })
	c := Config{
		Realm:   "orders-api",
		Issuers: []verify.Issuer{{Issuer: i.url, Audience: []string{"orders-api"}, JWKSURL: i.url}},
		Policy:  policy.Config{FS: policies.FS, Deadline: patience},
		Watch:   []grpc.ClientConnInterface{up}, WatchNode: "test",
	}
	change(&c)
	s, err := New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	l := bufconn.Listen(1 << 16)
	conn, err := grpc.NewClient("passthrough:///authz",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{Server: s, config: c, conn: conn, stop: cancel, ended: make(chan error, 1)}
	go func() { r.ended <- s.Run(ctx, l) }()
	t.Cleanup(func() { _ = conn.Close() })
	return r
}

// check asks as Envoy does and returns the HTTP status of a refusal, or 200.
func (r *running) check(t *testing.T, token string) int {
	t.Helper()
	return r.checkWith(t, t.Context(), token)
}

func (r *running) checkWith(t *testing.T, ctx context.Context, token string) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	resp, err := authv3.NewAuthorizationClient(r.conn).Check(ctx, &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{
			Method: "GET", Path: "/orders", Host: "api.test",
			HeaderMap: &corev3.HeaderMap{Headers: []*corev3.HeaderValue{{Key: "authorization", RawValue: []byte("Bearer " + token)}}},
		}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if refusal := resp.GetDeniedResponse(); refusal != nil {
		return int(refusal.GetStatus().GetCode())
	}
	return http.StatusOK
}

func (r *running) health(t *testing.T) healthv1.HealthCheckResponse_ServingStatus {
	t.Helper()
	resp, err := healthv1.NewHealthClient(r.conn).Check(t.Context(), &healthv1.HealthCheckRequest{Service: "envoy.service.auth.v3.Authorization"})
	if err != nil {
		t.Fatal(err)
	}
	return resp.GetStatus()
}

// until asks until yes says so.
func until(t *testing.T, what string, yes func() bool) {
	t.Helper()
	for begun := time.Now(); !yes(); time.Sleep(5 * time.Millisecond) {
		if time.Since(begun) > patience {
			t.Fatalf("still not: %s", what)
		}
	}
}

// listen listens where a watch will be served, later perhaps.
func listen(t *testing.T, address string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func TestItTrustsOnlyUnderALease(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	l := listen(t, "127.0.0.1:0")
	address := l.Addr().String()
	_ = l.Close()
	r := start(t, i, address, time.Millisecond)
	token := i.token(t, "a")

	until(t, "keys fetched", func() bool { return r.core.Load().verifier.Ready() == nil })
	if err := r.Ready(); err == nil || !strings.Contains(err.Error(), "revocations are unknown") {
		t.Errorf("Ready before the first snapshot = %v", err)
	}
	if got := r.check(t, token); got != http.StatusServiceUnavailable {
		t.Errorf("before the first snapshot: %d, want 503", got)
	}
	if got := r.health(t); got != healthv1.HealthCheckResponse_NOT_SERVING {
		t.Errorf("health before the first snapshot = %v", got)
	}

	u, stop := i.serveWatch(t, listen(t, address))
	until(t, "serving", func() bool { return r.health(t) == healthv1.HealthCheckResponse_SERVING })
	if got := r.check(t, token); got != http.StatusOK {
		t.Errorf("under a lease: %d, want 200", got)
	}

	i.revoke("a")
	if _, err := u.Await(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if got := r.check(t, token); got != http.StatusUnauthorized {
		t.Errorf("after the revocation was acknowledged: %d, want 401", got)
	}

	stop()
	other := i.token(t, "b")
	until(t, "refusing without a lease", func() bool { return r.check(t, other) == http.StatusServiceUnavailable })
	until(t, "not serving", func() bool { return r.health(t) == healthv1.HealthCheckResponse_NOT_SERVING })
	if got := r.check(t, token); got == http.StatusOK {
		t.Error("a revoked token passes without a lease")
	}

	i.serveWatch(t, listen(t, address))
	until(t, "back by itself", func() bool { return r.check(t, other) == http.StatusOK })
	if got := r.check(t, token); got != http.StatusUnauthorized {
		t.Errorf("the revoked token after the outage: %d, want 401", got)
	}
	r.stop()
	if err := <-r.ended; err != nil {
		t.Errorf("Run = %v", err)
	}
}

// TestDrain: health says so first, checks are answered until the end, and what
// they stand on keeps running.
func TestDrain(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	l := listen(t, "127.0.0.1:0")
	i.serveWatch(t, l)
	r := start(t, i, l.Addr().String(), 2*time.Second) // four leases
	until(t, "ready", func() bool { return r.Ready() == nil })
	token := i.token(t, "a")
	watching, err := healthv1.NewHealthClient(r.conn).Watch(t.Context(), &healthv1.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}

	r.stop()
	until(t, "not serving", func() bool { return r.health(t) == healthv1.HealthCheckResponse_NOT_SERVING })
	answered := 0
	for begun := time.Now(); time.Since(begun) < time.Second; answered++ {
		if got := r.check(t, token); got != http.StatusOK {
			t.Fatalf("while draining: %d, want 200", got)
		}
	}
	if answered == 0 {
		t.Error("nothing was asked while draining")
	}
	for err == nil { // an open health stream does not keep the server up
		_, err = watching.Recv()
	}
	if err := <-r.ended; err != nil {
		t.Errorf("Run = %v", err)
	}
}

// TestReload: what is new takes over without a request refused; what cannot
// work never does.
func TestReload(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	l := listen(t, "127.0.0.1:0")
	u, _ := i.serveWatch(t, l)
	r := start(t, i, l.Addr().String(), time.Millisecond)
	until(t, "ready", func() bool { return r.Ready() == nil })
	token, dead := i.token(t, "a"), i.token(t, "dead")
	i.revoke("dead")
	if _, err := u.Await(t.Context(), 1); err != nil {
		t.Fatal(err)
	}

	var asking sync.WaitGroup
	done := make(chan struct{})
	asking.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			if got := r.check(t, token); got != http.StatusOK {
				t.Errorf("while reloading: %d", got)
				return
			}
			if got := r.check(t, dead); got != http.StatusUnauthorized {
				t.Errorf("a revoked token while reloading: %d", got)
				return
			}
		}
	})
	for range 5 {
		if err := r.Reload(t.Context(), r.config); err != nil {
			t.Fatal(err)
		}
	}
	for name, change := range map[string]func(*Config){
		"no issuers":        func(c *Config) { c.Issuers = nil },
		"a broken policy":   func(c *Config) { c.Policy = policy.Config{FS: fstest.MapFS{"p.rego": {Data: []byte("package")}}} },
		"no keys to be had": func(c *Config) { c.Issuers = []verify.Issuer{{Issuer: "http://127.0.0.1:1", Audience: []string{"a"}}} },
	} {
		c := r.config
		change(&c)
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		if err := r.Reload(ctx, c); err == nil {
			t.Errorf("%s took over", name)
		}
		cancel()
	}
	close(done)
	asking.Wait()

	c := r.config
	c.Policy = policy.Config{FS: fstest.MapFS{"p.rego": {Data: []byte("package envoy.authz\n\nallow := false")}}, Deadline: patience}
	if err := r.Reload(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if got := r.check(t, token); got != http.StatusForbidden {
		t.Errorf("the new policy decides %d, want 403", got)
	}
	families, err := r.Gather()
	if err != nil || len(families) == 0 {
		t.Errorf("%d figures, %v", len(families), err)
	}
	r.stop()
	if err := <-r.ended; err != nil {
		t.Errorf("Run = %v", err)
	}
	if err := r.Reload(t.Context(), c); err == nil {
		t.Error("a server that has ended was reloaded")
	}
}

// TestAChecksSpanIsAChildOfEnvoys, and the figures point to it.
func TestAChecksSpanIsAChildOfEnvoys(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	l := listen(t, "127.0.0.1:0")
	i.serveWatch(t, l)
	spans := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans), sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.NeverSample())))
	r := startWith(t, i, l.Addr().String(), func(c *Config) { c.Traces, c.Drain = provider, time.Millisecond })
	until(t, "ready", func() bool { return r.Ready() == nil })
	token := i.token(t, "a")
	r.check(t, token) // nobody traces this one

	const traceID = "4bf92f3577b34da6a3ce929d0e0e4736"
	ctx := metadata.AppendToOutgoingContext(t.Context(), "traceparent", "00-"+traceID+"-00f067aa0ba902b7-01")
	if got := r.checkWith(t, ctx, token); got != http.StatusOK {
		t.Fatalf("the traced check: %d", got)
	}
	until(t, "one span is there", func() bool { return len(spans.GetSpans()) == 1 })
	span := spans.GetSpans()[0]
	if span.SpanContext.TraceID().String() != traceID || span.Parent.SpanID().String() != "00f067aa0ba902b7" {
		t.Errorf("span %+v", span.SpanContext)
	}
	var said []string
	for _, a := range span.Attributes {
		said = append(said, string(a.Key)+"="+a.Value.String())
		if strings.Contains(a.Value.String(), token) {
			t.Error("the token is in the span")
		}
	}
	for _, want := range []string{"tegata.reason=allowed", "http.route=/orders", "tegata.client=shop", "tegata.policy=default"} {
		if !slices.Contains(said, want) {
			t.Errorf("the span does not say %s but %v", want, said)
		}
	}
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	exemplar := ""
	for _, f := range families {
		if f.GetName() == "tegata_decision_seconds" {
			for _, b := range f.GetMetric()[0].GetHistogram().GetBucket() {
				if e := b.GetExemplar(); e != nil {
					exemplar = e.GetLabel()[0].GetValue()
				}
			}
		}
	}
	if exemplar != traceID {
		t.Errorf("exemplar = %q", exemplar)
	}
	r.stop()
	if err := <-r.ended; err != nil {
		t.Errorf("Run = %v", err)
	}
}

func TestReflectionNamesTheServices(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	r := start(t, i, "127.0.0.1:1", time.Millisecond)
	stream, err := reflectionv1.NewServerReflectionClient(r.conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ask := func(m *reflectionv1.ServerReflectionRequest) *reflectionv1.ServerReflectionResponse {
		if err := stream.Send(m); err != nil {
			t.Fatal(err)
		}
		resp, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	var names []string
	list := ask(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}})
	for _, s := range list.GetListServicesResponse().GetService() {
		names = append(names, s.GetName())
	}
	for _, want := range []string{"envoy.service.auth.v3.Authorization", "grpc.health.v1.Health"} {
		if !slices.Contains(names, want) {
			t.Errorf("%s is not listed: %v", want, names)
		}
		found := ask(&reflectionv1.ServerReflectionRequest{
			MessageRequest: &reflectionv1.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: want},
		})
		if len(found.GetFileDescriptorResponse().GetFileDescriptorProto()) == 0 {
			t.Errorf("%s has no descriptor: %v", want, found)
		}
	}
	_ = stream.CloseSend()
	r.stop()
	if err := <-r.ended; err != nil {
		t.Errorf("Run = %v", err)
	}
}

// TestAnIssuerWithoutRevocationsNeedsNoStream: alone, it needs no upstream at
// all; beside one that is watched, its tokens do not hang on the upstream.
func TestAnIssuerWithoutRevocationsNeedsNoStream(t *testing.T) {
	t.Parallel()
	foreign, tegata := newIssuer(t), newIssuer(t)
	alone := startWith(t, foreign, "127.0.0.1:1", func(c *Config) {
		c.Drain, c.Watch, c.WithoutRevocations = time.Millisecond, nil, []string{foreign.url}
	})
	until(t, "serving", func() bool { return alone.health(t) == healthv1.HealthCheckResponse_SERVING })
	if got := alone.check(t, foreign.token(t, "a")); got != http.StatusOK {
		t.Errorf("alone: %d, want 200", got)
	}
	if got := alone.check(t, tegata.token(t, "a")); got != http.StatusUnauthorized {
		t.Errorf("alone, a token of another issuer: %d, want 401", got)
	}
	foreign.revoke("a") // nobody is told
	if got := alone.check(t, foreign.token(t, "a")); got != http.StatusOK {
		t.Errorf("alone: %d, want 200", got)
	}

	l := listen(t, "127.0.0.1:0")
	_, stop := tegata.serveWatch(t, l)
	both := startWith(t, foreign, l.Addr().String(), func(c *Config) {
		c.Drain, c.WithoutRevocations = time.Millisecond, []string{foreign.url}
		c.Issuers = append(c.Issuers, verify.Issuer{Issuer: tegata.url, Audience: []string{"orders-api"}, JWKSURL: tegata.url})
	})
	until(t, "ready", func() bool { return both.Ready() == nil })
	if one, other := both.check(t, foreign.token(t, "b")), both.check(t, tegata.token(t, "b")); one != http.StatusOK || other != http.StatusOK {
		t.Errorf("under a lease: %d and %d, want 200", one, other)
	}
	stop()
	until(t, "refusing without a lease", func() bool { return both.check(t, tegata.token(t, "b")) == http.StatusServiceUnavailable })
	if got := both.check(t, foreign.token(t, "b")); got != http.StatusOK {
		t.Errorf("without the lease of the other issuer: %d, want 200", got)
	}

	// From a stream to none, and back to one that never answers.
	if err := both.Reload(t.Context(), alone.config); err != nil {
		t.Fatalf("reloading without a stream: %v", err)
	}
	if err := both.Ready(); err != nil {
		t.Errorf("after reloading without a stream: %v", err)
	}
	impatient, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := both.Reload(impatient, both.config); err == nil {
		t.Error("a stream that is not heard from is as good as none")
	}
	for _, r := range []*running{alone, both} {
		r.stop()
		if err := <-r.ended; err != nil {
			t.Errorf("Run = %v", err)
		}
	}
}

func TestAWrongConfigurationIsRefused(t *testing.T) {
	t.Parallel()
	conn, err := grpc.NewClient("127.0.0.1:1", grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	good := Config{
		Issuers: []verify.Issuer{{Issuer: "https://id.example", Audience: []string{"api"}}},
		Policy:  policy.Config{FS: policies.FS}, Watch: []grpc.ClientConnInterface{conn},
	}
	if _, err := New(t.Context(), good); err != nil {
		t.Fatalf("a good one: %v", err)
	}
	for name, change := range map[string]func(*Config){
		"no upstream": func(c *Config) { c.Watch = nil },
		"no upstream for one of two": func(c *Config) {
			c.Watch, c.WithoutRevocations = nil, []string{"https://sso.example"}
			c.Issuers = append(c.Issuers, verify.Issuer{Issuer: "https://sso.example", Audience: []string{"api"}})
		},
		"revocations of others alone": func(c *Config) { c.WatchIssuers = []string{"https://sso.example"} },
		"no issuers":                  func(c *Config) { c.Issuers = nil },
		"no policy":                   func(c *Config) { c.Policy.FS = nil },
		"a policy without a name": func(c *Config) {
			c.Policies = []NamedPolicy{{Policy: policy.Config{FS: policies.FS}}}
		},
		"a policy without a source": func(c *Config) { c.Policies = []NamedPolicy{{Name: "a"}} },
		"an unknown onstale":        func(c *Config) { c.OnStale = "perhaps" },
	} {
		c := good
		change(&c)
		if _, err := New(t.Context(), c); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}
