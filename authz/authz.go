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
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"

	"github.com/tegata/tegata/authz/check"
	"github.com/tegata/tegata/authz/extauthz"
	"github.com/tegata/tegata/authz/policy"
	"github.com/tegata/tegata/authz/verify"
	"github.com/tegata/tegata/revocation"
	"github.com/tegata/tegata/revocation/watch"
)

// Config configures a Server. Issuers, Policy and Watch are required.
type Config struct {
	Realm   string          // of the WWW-Authenticate challenge
	Issuers []verify.Issuer // whose tokens are accepted

	// Policy decides what none of Policies is for; without a source, that is
	// refused. Logger, Metrics and Now are filled in here.
	Policy   policy.Config
	Shadow   bool // Policy only shadows, see check.Named
	Policies []NamedPolicy

	Evaluations int           // of policies at once; default 32 for each processor
	Patience    time.Duration // how long one more waits for its turn; default 20 ms

	Watch        grpc.ClientConnInterface // the upstream of revocations; made with watch.DialOptions
	WatchNode    string                   // our name, as operators of the upstream see it
	WatchIssuers []string                 // whose revocations are wanted; empty means all
	OnStale      check.OnStale            // default Deny

	TLS   *tls.Config   // of the gRPC listener; nil means plaintext
	Drain time.Duration // between not being ready and closing the listener, at the end; default 5 s

	HTTP    *http.Client // fetches keys; default: 5 s timeout
	Now     func() time.Time
	Logger  *slog.Logger
	Metrics prometheus.Registerer
}

// NamedPolicy is one of several policies.
type NamedPolicy struct {
	Name   string
	Policy policy.Config // Logger, Metrics and Now are filled in
	Match  check.Match
	Shadow bool
}

// Server is an assembled authorization server.
type Server struct {
	verifier *verify.Verifier
	policies []*policy.Engine
	watcher  *watch.Watcher
	grpc     *grpc.Server
	health   *health.Server
	drain    time.Duration
	log      *slog.Logger
}

// New checks the configuration and loads the policy, the first load of which
// must succeed. It does not wait for keys or revocations.
func New(ctx context.Context, c Config) (*Server, error) {
	c = c.withDefaults()
	if c.Watch == nil {
		return nil, errors.New("authz: Watch is required")
	}
	s := &Server{drain: c.Drain, log: c.Logger, health: health.NewServer()}
	var err error
	decide := check.Config{
		Realm: c.Realm, Shadow: c.Shadow, Evaluations: c.Evaluations, Patience: c.Patience,
		OnStale: c.OnStale, Now: c.Now, Logger: c.Logger, Metrics: c.Metrics,
	}
	if err := s.load(ctx, c, &decide); err != nil {
		return nil, err
	}
	if s.verifier, err = verify.New(verify.Config{
		Issuers: c.Issuers, HTTP: c.HTTP, Now: c.Now, Logger: c.Logger, Metrics: c.Metrics,
	}); err != nil {
		return nil, err
	}
	set := revocation.NewSet()
	if s.watcher, err = watch.NewWatcher(watch.WatcherConfig{
		Conn: c.Watch, Set: set, Node: c.WatchNode, OnStale: string(c.OnStale), Issuers: c.WatchIssuers,
		Now: c.Now, Logger: c.Logger,
	}); err != nil {
		return nil, err
	}
	if c.Metrics != nil {
		if err := s.watcher.RegisterMetrics(c.Metrics); err != nil {
			return nil, err
		}
	}
	decide.Verifier, decide.Revocations = s.verifier, set
	decide.Trust = func(string) revocation.Trust { return s.watcher.Trust() }
	checker, err := check.New(decide)
	if err != nil {
		return nil, err
	}
	return s, s.serve(c, checker)
}

// load loads the policies.
func (s *Server) load(ctx context.Context, c Config, into *check.Config) error {
	for _, p := range c.Policies {
		engine, err := s.engine(ctx, c, p.Name, p.Policy)
		if err != nil {
			return fmt.Errorf("policy %q: %w", p.Name, err)
		}
		into.Policies = append(into.Policies, check.Named{Name: p.Name, Engine: engine, Match: p.Match, Shadow: p.Shadow})
	}
	if c.Policy.Dir == "" && c.Policy.FS == nil {
		return nil
	}
	var err error
	into.Policy, err = s.engine(ctx, c, "default", c.Policy)
	return err
}

// engine loads one policy, whose figures carry its name.
func (s *Server) engine(ctx context.Context, c Config, name string, p policy.Config) (*policy.Engine, error) {
	p.Logger, p.Now = c.Logger.With("policy", name), c.Now
	if c.Metrics != nil {
		p.Metrics = prometheus.WrapRegistererWith(prometheus.Labels{"policy": name}, c.Metrics)
	}
	engine, err := policy.New(ctx, p)
	if err != nil {
		return nil, err
	}
	s.policies = append(s.policies, engine)
	return engine, nil
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
func (s *Server) serve(c Config, checker *check.Checker) error {
	door, err := extauthz.New(extauthz.Config{Checker: checker, Logger: c.Logger})
	if err != nil {
		return err
	}
	options := []grpc.ServerOption{
		extauthz.Codec(),
		grpc.NumStreamWorkers(streamWorkers),
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

// Ready is nil when keys, policy and a leased set of revocations are there;
// else it says what is missing.
func (s *Server) Ready() error {
	return errors.Join(s.verifier.Ready(), s.watched())
}

// watched is nil while the set of revocations can be relied on.
func (s *Server) watched() error {
	switch status := s.watcher.Status(); {
	case status.Trust == revocation.Fresh:
		return nil
	case status.LastError == "":
		return fmt.Errorf("revocations are %s: waiting for the upstream", status.Trust)
	default:
		return fmt.Errorf("revocations are %s: %s", status.Trust, status.LastError)
	}
}

// Run serves ext_authz, gRPC health and reflection on l, follows revocations
// and keeps keys fresh until ctx ends; then it drains and returns when the last
// of its goroutines is gone. Until Ready it refuses with 503.
//
// Draining is: health says NOT_SERVING, checks are answered on for Config.Drain
// so that Envoy can look elsewhere, calls in flight are finished. What checks
// stand on keeps running until then.
func (s *Server) Run(ctx context.Context, l net.Listener) error {
	// What runs below outlives ctx, until the last check was answered.
	below, stop := context.WithCancel(context.WithoutCancel(ctx))
	g, below := errgroup.WithContext(below)
	for _, p := range s.policies {
		g.Go(func() error { return p.Run(below) })
	}
	g.Go(func() error { return s.verifier.Run(below) })
	g.Go(func() error { return s.watcher.Run(below) })
	g.Go(func() error { return s.grpc.Serve(l) })
	g.Go(func() error {
		defer stop()
		s.attend(ctx, below)
		s.shut(below)
		return nil
	})
	return g.Wait()
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
