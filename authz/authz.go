// Package authz is the assembled authorization server: listeners, health,
// readiness, drain, reload. It wires the door, the check and what the check
// stands on, and decides nothing itself.
package authz

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"

	"github.com/tegata/tegata/authz/check"
	"github.com/tegata/tegata/authz/decisionlog"
	"github.com/tegata/tegata/authz/extauthz"
	"github.com/tegata/tegata/authz/extproc"
	"github.com/tegata/tegata/authz/policy"
	"github.com/tegata/tegata/authz/verify"
	"github.com/tegata/tegata/revocation/watch"
)

// Config configures a Server. Issuers and Policy are required, and Watch for
// the revocations of all issuers but those WithoutRevocations.
type Config struct {
	Realm   string          // of the WWW-Authenticate challenge
	Issuers []verify.Issuer // whose tokens are accepted
	DPoP    verify.DPoP     // how proofs of possession are judged

	ResourceMetadata string // URL, said in challenges (RFC 9728); empty: none
	TrustXFCC        bool   // see check.Config
	ErrorResponses   bool   // see extauthz.Config; Reload leaves it as it is

	// Policy decides what none of Policies is for; without a source, that is
	// refused. Logger, Metrics and Now are filled in here.
	Policy   policy.Config
	Policies []NamedPolicy

	Shadow, LeaveTokens bool // of Policy, see check.Named

	Turns    int           // signatures checked and policies evaluated at once; default 32 for each processor
	Patience time.Duration // how long one more waits for its turn; default 20 ms

	Watch        []grpc.ClientConnInterface // upstreams of revocations, the best first; made with watch.DialOptions
	WatchNode    string                     // our name, as operators of the upstream see it
	WatchIssuers []string                   // whose revocations are wanted; empty means all
	Relay        *watch.RelayConfig         // passes revocations on, see RegisterWatch; nil: does not
	OnStale      check.OnStale              // default Deny

	// WithoutRevocations are issuers that push no revocations to us: their
	// tokens pass whether Watch is heard from or not. If that is all of them,
	// Watch can be empty.
	WithoutRevocations []string

	// Traces makes a span of each check over gRPC, a child of Envoy's; nil: none.
	Traces trace.TracerProvider

	// Hold makes ext_authz say what RunHeld has to know of tokens.
	Hold bool

	Decisions *decisionlog.Log // is told of every decision; run by the caller; nil: none

	TLS   *tls.Config   // of the gRPC listener; nil means plaintext
	Drain time.Duration // between not being ready and closing the listener, at the end; default 5 s

	HTTP   *http.Client // fetches keys; default: 5 s timeout
	Now    func() time.Time
	Logger *slog.Logger

	applied func(context.Context) // see watch.WatcherConfig
}

// NamedPolicy is one of several policies.
type NamedPolicy struct {
	Name   string
	Policy policy.Config // Logger, Metrics and Now are filled in
	Match  check.Match

	Shadow, LeaveTokens bool // see check.Named
}

// Server is an assembled authorization server. It is a prometheus.Gatherer of
// its own figures, which begin anew with each Reload.
type Server struct {
	core    atomic.Pointer[core]
	held    *extproc.Server // nil without Config.Hold
	grpc    *grpc.Server
	health  *health.Server
	metrics *prometheus.Registry // of what outlives a core
	drain   time.Duration
	log     *slog.Logger

	mu    sync.Mutex // one Reload at a time; guards what follows
	below context.Context
	runs  *life // of the current core, while Run runs
	fail  context.CancelCauseFunc
}

// New checks the configuration and loads the policies, the first load of which
// must succeed. It does not wait for keys or revocations.
func New(ctx context.Context, c Config) (*Server, error) {
	c = c.withDefaults()
	s := &Server{drain: c.Drain, log: c.Logger, health: health.NewServer(), metrics: prometheus.NewRegistry()}
	if err := s.hold(c); err != nil {
		return nil, err
	}
	c.applied = s.applied()
	first, err := newCore(ctx, c, nil)
	if err != nil {
		return nil, err
	}
	s.core.Store(first)
	return s, s.serve(c)
}

// Check implements the doors' Checker.
func (s *Server) Check(ctx context.Context, r check.Request) check.Decision {
	d := s.core.Load().checker.Check(ctx, r)
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		describe(span, &d)
	}
	return d
}

// describe says in a span what was decided. Never the token.
func describe(span trace.Span, d *check.Decision) {
	span.SetAttributes(
		attribute.String("tegata.reason", string(d.Reason)),
		attribute.Bool("tegata.allowed", d.Allowed),
		attribute.Bool("tegata.shadowed", d.Shadowed),
		attribute.String("tegata.policy", d.Policy),
		attribute.String("tegata.policy_revision", d.PolicyRevision),
		attribute.Int64("tegata.revocation_revision", int64(d.RevocationRevision)),
		attribute.String("tegata.decision_id", d.ID),
		attribute.String("http.route", d.Route),
	)
	if d.Token != nil {
		span.SetAttributes(attribute.String("tegata.client", d.Token.Revocation.Client))
	}
}

// RevocationBytes is the memory that the records of revocations take.
func (s *Server) RevocationBytes() int { return s.core.Load().revoked.Bytes() }

// Gather implements prometheus.Gatherer.
func (s *Server) Gather() ([]*dto.MetricFamily, error) {
	return prometheus.Gatherers{s.core.Load().metrics, s.metrics}.Gather()
}

// RegisterWatch adds the revocation stream to a gRPC server: for the watchers
// below this one, if Config.Relay is set. A Reload cuts their streams, which
// resume.
func (s *Server) RegisterWatch(g grpc.ServiceRegistrar) {
	watch.RegisterCurrent(g, func() *watch.Upstream {
		if r := s.core.Load().relay; r != nil {
			return r.Upstream()
		}
		return nil
	})
}

// Revocations says what is followed, and who follows this server, for
// operators; nil for what there is not.
func (s *Server) Revocations() (above *watch.FollowReport, below *watch.Report) {
	k := s.core.Load()
	if k.watcher != nil {
		r := k.watcher.Report()
		above = &r
	}
	if k.relay != nil {
		r := k.relay.Upstream().Report()
		below = &r
	}
	return above, below
}

func (c Config) withDefaults() Config {
	if c.Drain == 0 {
		c.Drain = 5 * time.Second
	}
	if c.HTTP == nil {
		c.HTTP = &http.Client{Timeout: 5 * time.Second}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.OnStale == "" {
		c.OnStale = check.Deny
	}
	return c
}

// streamWorkers are goroutines that stay, with the stacks that a check has
// grown: that is cheaper than a new one each, as long as there are as many as
// checks in flight. More checks than these get goroutines of their own.
const streamWorkers = 64

// serve builds the gRPC server.
func (s *Server) serve(c Config) error {
	door, err := extauthz.New(extauthz.Config{Checker: s, Logger: c.Logger, ErrorResponses: c.ErrorResponses, Identify: c.Hold})
	if err != nil {
		return err
	}
	options := []grpc.ServerOption{
		extauthz.Codec(),
		grpc.NumStreamWorkers(streamWorkers),
	}
	if c.Traces != nil {
		options = append(options, grpc.StatsHandler(otelgrpc.NewServerHandler(
			otelgrpc.WithTracerProvider(c.Traces), otelgrpc.WithPropagators(propagation.TraceContext{}),
			otelgrpc.WithMeterProvider(noop.NewMeterProvider()), // figures are Prometheus'
		)))
	}
	if c.TLS != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(c.TLS)))
	}
	s.grpc = grpc.NewServer(options...)
	door.Register(s.grpc)
	healthv1.RegisterHealthServer(s.grpc, s.health)
	reflection.Register(s.grpc)
	s.report(s.Ready())
	return nil
}

// Ready is nil when keys, policy and, with Config.Watch, a leased set of
// revocations are there; else it says what is missing.
func (s *Server) Ready() error { return s.core.Load().ready() }

// Run serves ext_authz, gRPC health and reflection on l, follows revocations
// and keeps keys fresh until ctx ends; then it drains and returns when the last
// of its goroutines is gone. Until Ready it refuses with 503.
//
// Draining is: health says NOT_SERVING, checks are answered on for Config.Drain
// so that Envoy can look elsewhere, calls in flight are finished. What checks
// stand on keeps running until then.
func (s *Server) Run(ctx context.Context, l net.Listener) error {
	// What runs below outlives ctx, until the last check was answered.
	below, fail := context.WithCancelCause(context.WithoutCancel(ctx))
	s.mu.Lock()
	s.below, s.fail = below, fail
	s.runs = s.begin(s.core.Load())
	s.mu.Unlock()

	var served sync.WaitGroup
	served.Go(func() {
		if err := s.grpc.Serve(l); err != nil {
			fail(fmt.Errorf("serving: %w", err))
		}
	})
	s.attend(ctx, below)
	s.shut(below)
	served.Wait()

	s.mu.Lock()
	defer s.mu.Unlock()
	s.below = nil // no Reload any more
	fail(nil)
	s.runs.stop()
	if err := context.Cause(below); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// Reload replaces everything but listeners and TLS by what c says: issuers,
// policies, revocations, limits. The new waits beside the old until it is
// ready, then takes over at once; no request is refused for it. If it cannot be
// built, or is not ready before ctx ends, the old stays. When Reload returns
// nil, nothing uses the old Config.Watch any more.
func (s *Server) Reload(ctx context.Context, c Config) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.below == nil {
		return errors.New("authz: not running")
	}
	c = c.withDefaults()
	c.applied = s.applied()
	next, err := newCore(ctx, c, s.core.Load())
	if err != nil {
		return err
	}
	runs := s.begin(next)
	if err := next.await(ctx); err != nil {
		runs.stop()
		return fmt.Errorf("the new configuration did not become ready: %w", err)
	}
	old := s.runs
	s.core.Store(next)
	s.runs = runs
	old.stop()
	if s.held != nil {
		s.held.Recheck(ctx) // by the new configuration
	}
	return nil
}

// life is the goroutines of one core.
type life struct {
	cancel context.CancelFunc
	ended  chan struct{}
}

// begin runs a core until its life is stopped, or Run ends. The caller holds mu.
func (s *Server) begin(c *core) *life {
	ctx, cancel := context.WithCancel(s.below)
	l, fail := &life{cancel: cancel, ended: make(chan struct{})}, s.fail
	go func() {
		defer close(l.ended)
		if err := c.run(ctx); err != nil {
			fail(err)
		}
	}()
	return l
}

func (l *life) stop() {
	l.cancel()
	<-l.ended
}

// attendEvery is how often health follows readiness.
const attendEvery = 100 * time.Millisecond

// attend keeps health in step with readiness and says in the log when it
// changes, until ctx ends or something below failed.
func (s *Server) attend(ctx, below context.Context) {
	tick := time.NewTicker(attendEvery)
	defer tick.Stop()
	last, first := "", true
	for {
		err := s.Ready()
		s.report(err)
		if why := text(err); first || (why == "") != (last == "") {
			s.note(ctx, why)
			last, first = why, false
		}
		select {
		case <-ctx.Done():
			return
		case <-below.Done():
			return
		case <-tick.C:
		}
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func (s *Server) note(ctx context.Context, why string) {
	if why == "" {
		s.log.InfoContext(ctx, "ready")
		return
	}
	s.log.WarnContext(ctx, "not ready", "why", why)
}

// report sets the health that Envoy and gRPC probes see.
func (s *Server) report(err error) {
	status := healthv1.HealthCheckResponse_SERVING
	if err != nil {
		status = healthv1.HealthCheckResponse_NOT_SERVING
	}
	s.health.SetServingStatus("", status)
	s.health.SetServingStatus(authv3.Authorization_ServiceDesc.ServiceName, status)
}

// maxStop bounds how long calls in flight are waited for.
const maxStop = 5 * time.Second

// shut drains.
func (s *Server) shut(below context.Context) {
	s.health.Shutdown()
	select {
	case <-time.After(s.drain):
	case <-below.Done(): // it cannot decide any more
	}
	overdue := time.AfterFunc(maxStop, s.grpc.Stop) // health watches never end by themselves
	s.grpc.GracefulStop()
	overdue.Stop()
}
