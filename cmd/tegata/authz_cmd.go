package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/tegata/tegata/authz"
	"github.com/tegata/tegata/authz/check"
	"github.com/tegata/tegata/authz/decisionlog"
	"github.com/tegata/tegata/authz/policy"
	"github.com/tegata/tegata/authz/verify"
	"github.com/tegata/tegata/internal/jose"
	"github.com/tegata/tegata/policies"
	"github.com/tegata/tegata/revocation/watch"
)

// watchLease is the lease for which the connection's keepalive is tuned; the
// true one is the issuer's to say.
const watchLease = 5 * time.Second

type authzCmd struct {
	configFlags `embed:""`
}

// Run runs authz until it is told to stop.
func (c *authzCmd) Run(e *env) error {
	conf, err := c.load(e)
	if err != nil {
		return err
	}
	if conf.Authz == nil {
		return conf.doc.at("authz", "required for tegata authz", "write an authz: section as in docs/operating.md")
	}
	log, err := newLogger(conf.Log, e.stderr)
	if err != nil {
		return err
	}
	if err := tuneMemory(*conf.Authz, e.lookupEnv); err != nil {
		return err
	}
	return said(e.ctx, log, serveAuthz(e.ctx, *conf.Authz, reloading{c.configFlags, e}, log))
}

// tuneMemory trades some memory for fewer collections: a decision is small
// garbage, and much of it. What the operator told the Go runtime wins.
func tuneMemory(c authzConfig, lookupEnv func(string) (string, bool)) error {
	if _, set := lookupEnv("GOGC"); !set {
		debug.SetGCPercent(c.GCPercent)
	}
	limit, err := parseBytes(c.MemoryLimit)
	if err != nil {
		return fmt.Errorf("authz.memory_limit: %w", err)
	}
	if _, set := lookupEnv("GOMEMLIMIT"); !set && limit > 0 {
		debug.SetMemoryLimit(limit)
	}
	return nil
}

// serveAuthz opens the listeners, builds the server and runs it. The
// management listener answers before anything else is there, and after
// everything else has gone, so that a probe always hears why.
func serveAuthz(ctx context.Context, c authzConfig, r reloading, log *slog.Logger) error {
	checks, err := listen(ctx, "authz.listen", c.Listen)
	if err != nil {
		return err
	}
	defer func() { _ = checks.Close() }() // closed already once it was served
	health, err := listen(ctx, "authz.management", c.Management)
	if err != nil {
		return err
	}
	defer func() { _ = health.Close() }()
	door, doorConfig, err := openHTTPDoor(ctx, c.HTTP)
	if err != nil {
		return err
	}
	if door != nil {
		defer func() { _ = door.Close() }()
	}
	held, heldConfig, err := openHeldDoor(ctx, c.ExtProc)
	if err != nil {
		return err
	}
	if held != nil {
		defer func() { _ = held.Close() }()
	}
	below, err := openRelayDoor(ctx, "authz.relay", c.Relay)
	if err != nil {
		return err
	}
	defer below.close()
	metrics := newMetrics()
	var server *authz.Server
	decisions, err := openDecisionLog(c.DecisionLog, func(policy string) decisionlog.Rules { return server.LogRules(policy) }, r.env.stdout, log, metrics)
	if err != nil {
		return err
	}
	traces, endTraces, err := newTraces(ctx, c.Traces)
	if err != nil {
		return err
	}
	defer endTraces()
	doorConfig.Traces = traces
	server, conn, err := newAuthz(ctx, c, traces, decisions, log)
	if err != nil {
		return err
	}
	log.Info("authz starts", "listen", checks.Addr().String(), "management", health.Addr().String(),
		"revocations", cmp.Or(c.Revocations.Address, noRevocations), "on_stale", c.OnStale)

	g, ctx := errgroup.WithContext(ctx)
	inner, stopInner := context.WithCancel(context.WithoutCancel(ctx))
	g.Go(func() error {
		defer stopInner()
		return server.Run(ctx, checks)
	})
	if decisions != nil {
		g.Go(func() error { return decisions.Run(inner) })
	}
	if door != nil {
		g.Go(func() error { return server.RunHTTP(ctx, door, doorConfig) })
	}
	if held != nil {
		g.Go(func() error { return server.RunHeld(ctx, held, heldConfig) })
	}
	if below != nil {
		server.RegisterWatch(below.server)
		g.Go(func() error { return serveGRPC(inner, below.server, below.listener) })
	}
	g.Go(func() error {
		if _, set := r.env.lookupEnv("GOGC"); !set {
			paceCollector(ctx, c.GCPercent, server.RevocationBytes)
		}
		return nil
	})
	g.Go(func() error {
		return r.run(ctx, &runningAuthz{server: server, config: c, decisions: decisions, conn: conn, log: log}, metrics)
	})
	g.Go(func() error {
		all := prometheus.Gatherers{metrics, server}
		status := func() programStatus {
			above, below := server.Revocations()
			return programStatus{Program: "authz", Name: hostname(), Watcher: above, Upstream: below}
		}
		return serveHTTP(inner, newHTTPServer(management(all, server.Ready, status), nil, log), health)
	})
	err = g.Wait()
	log.Info("authz stopped")
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// openHTTPDoor opens the listener of the HTTP door; nil without one.
func openHTTPDoor(ctx context.Context, c httpDoorConfig) (net.Listener, authz.HTTPConfig, error) {
	var h authz.HTTPConfig
	if c.Listen == "" {
		return nil, h, nil
	}
	var err error
	if h.TrustedPeers, err = parsePeers("authz.http.trusted_peers", c.TrustedPeers); err != nil {
		return nil, h, err
	}
	if h.MaxBody, err = parseBytes(c.MaxBody); err != nil {
		return nil, h, fmt.Errorf("authz.http.max_body: %w", err)
	}
	if h.TLS, err = serverTLS("authz.http.tls", c.TLS); err != nil {
		return nil, h, err
	}
	l, err := listen(ctx, "authz.http.listen", c.Listen)
	return l, h, err
}

// openHeldDoor opens the listener of ext_proc; nil without one.
func openHeldDoor(ctx context.Context, c extProcConfig) (net.Listener, authz.HeldConfig, error) {
	var h authz.HeldConfig
	if c.Listen == "" {
		return nil, h, nil
	}
	t, err := doorTLS("authz.ext_proc.tls", c.TLS)
	if err != nil {
		return nil, h, err
	}
	if t != nil {
		h.Credentials = credentials.NewTLS(t)
	}
	l, err := listen(ctx, "authz.ext_proc.listen", c.Listen)
	return l, h, err
}

// doorTLS is that of a listener where Envoy shows a certificate, if it is to.
func doorTLS(key string, c tlsConfig) (*tls.Config, error) {
	t, err := serverTLS(key, c)
	if err == nil && t != nil && t.ClientCAs != nil {
		t.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return t, err
}

// newAuthz builds the server, and the connections to its upstreams, if any.
func newAuthz(ctx context.Context, c authzConfig, traces trace.TracerProvider, decisions *decisionlog.Log, log *slog.Logger) (*authz.Server, upstreams, error) {
	conf, conn, err := authzServerConfig(c, decisions, log)
	if err != nil {
		return nil, nil, err
	}
	conf.Traces = traces
	if conf.TLS, err = doorTLS("authz.tls", c.TLS); err != nil {
		conn.hangUp()
		return nil, nil, err
	}
	s, err := authz.New(ctx, conf)
	if err != nil {
		conn.hangUp()
		return nil, nil, withHint(fmt.Errorf("building authz: %w", err), "tegata policy check DIR shows what is wrong with a policy")
	}
	return s, conn, nil
}

// authzServerConfig is all of it but TLS, with connections that are the
// caller's to hang up.
func authzServerConfig(c authzConfig, decisions *decisionlog.Log, log *slog.Logger) (authz.Config, upstreams, error) {
	issuers, err := trusted(c.Issuers)
	if err != nil {
		return authz.Config{}, nil, err
	}
	dpop, err := c.DPoP.config()
	if err != nil {
		return authz.Config{}, nil, err
	}
	main, err := defaultPolicy(c)
	if err != nil {
		return authz.Config{}, nil, err
	}
	named, err := namedPolicies(c.Policies)
	if err != nil {
		return authz.Config{}, nil, err
	}
	conn, err := dialWatch("authz.revocations", c.Revocations)
	if err != nil {
		return authz.Config{}, nil, err
	}
	conf := authz.Config{
		Realm: c.Realm, ResourceMetadata: c.ResourceMetadata, TrustXFCC: c.TrustXFCC, ErrorResponses: c.ErrorResponses, Issuers: issuers, DPoP: dpop,
		Policy: main, Shadow: c.Policy.shadows(), LeaveTokens: c.Policy.leavesTokens(), Policies: named,
		Turns: c.Evaluations, Patience: c.EvaluationWait,
		Watch: conn.conns(), WatchNode: hostname(), WatchIssuers: c.Revocations.Issuers, OnStale: check.OnStale(c.OnStale),
		WithoutRevocations: c.withoutRevocations(),
		Hold:               c.ExtProc.Listen != "",
		Decisions:          decisions, Drain: c.Drain, Logger: log,
	}
	if c.Relay.Listen != "" {
		conf.Relay = c.Relay.config()
	}
	return conf, conn, nil
}

// withoutRevocations are the issuers that push none.
func (c authzConfig) withoutRevocations() []string {
	var names []string
	for _, i := range c.Issuers {
		if i.Revocations == noRevocations {
			names = append(names, i.Issuer)
		}
	}
	return names
}

func (c dpopConfig) config() (verify.DPoP, error) {
	d := verify.DPoP{
		Algorithms: joseAlgorithms(c.Algorithms), MaxAge: c.MaxAge, Leeway: c.Leeway, Scheme: c.Scheme, Proofs: c.Proofs, Nonces: c.Nonces,
	}
	if c.NonceSecretFile == "" {
		return d, nil
	}
	secret, err := secretOf("authz.dpop.nonce_secret_file", "", c.NonceSecretFile)
	d.NonceSecret = []byte(secret)
	return d, err
}

func joseAlgorithms(names []string) []jose.Algorithm {
	var list []jose.Algorithm
	for _, a := range names {
		list = append(list, jose.Algorithm(a))
	}
	return list
}

// defaultPolicy is the policy for what no named one is for: the shipped one if
// there is no other at all.
func defaultPolicy(c authzConfig) (policy.Config, error) {
	p, err := c.Policy.config()
	if p.Dir == "" && p.Bundle == nil && len(c.Policies) == 0 {
		p.FS = policies.FS
	}
	return p, err
}

func (c policyConfig) config() (policy.Config, error) {
	b, err := c.Bundle.config()
	return policy.Config{Dir: c.Dir, Bundle: b, Entry: c.Entry, Deadline: c.Deadline}, err
}

// config is nil without a bundle.
func (b *bundleConfig) config() (*policy.BundleConfig, error) {
	if b == nil {
		return nil, nil
	}
	c := &policy.BundleConfig{
		File: b.File, URL: b.URL, Header: http.Header{}, LongPoll: b.LongPoll, MinDelay: b.MinDelay, MaxDelay: b.MaxDelay,
		Persist: b.Persist, Keys: map[string]policy.BundleKey{}, Scope: b.Scope,
	}
	if b.TokenFile != "" {
		token, err := secretOf("bundle.token_file", "", b.TokenFile)
		if err != nil {
			return nil, err
		}
		c.Header.Set("Authorization", "Bearer "+token)
	}
	for _, k := range b.Keys {
		text, err := os.ReadFile(k.File)
		if err != nil {
			return nil, fmt.Errorf("reading bundle.keys: %w", err)
		}
		c.Keys[k.ID] = policy.BundleKey{PEM: string(text), Algorithm: k.Algorithm}
	}
	return c, nil
}

func (c policyConfig) shadows() bool      { return c.Mode == "shadow" }
func (c policyConfig) leavesTokens() bool { return c.Tokens == "left" }

func namedPolicies(cs []namedPolicy) ([]authz.NamedPolicy, error) {
	named := make([]authz.NamedPolicy, 0, len(cs))
	for _, c := range cs {
		p, err := c.policy().config()
		if err != nil {
			return nil, err
		}
		named = append(named, authz.NamedPolicy{
			Name: c.Name, Policy: p, Shadow: c.policy().shadows(), LeaveTokens: c.policy().leavesTokens(),
			Match: check.Match{Hosts: c.Hosts, Paths: c.Paths, Destinations: c.Destinations, Extensions: c.Extensions},
		})
	}
	return named, nil
}

// trusted turns the file's issuers into verify's.
func trusted(cs []trustedConfig) ([]verify.Issuer, error) {
	issuers := make([]verify.Issuer, 0, len(cs))
	for _, c := range cs {
		i := verify.Issuer{
			Issuer: c.Issuer, Audience: c.Audience, Algorithms: joseAlgorithms(c.Algorithms), Types: c.Types, Leeway: c.Leeway,
			JWKSURL: c.JWKSURL, ScopeClaim: c.ScopeClaim, InsecureAnyAudience: c.InsecureAnyAudience,
		}
		var err error
		if i.Introspection, err = introspection(c.Introspection); err != nil {
			return nil, err
		}
		issuers = append(issuers, i)
	}
	return issuers, nil
}

// introspection is nil without the section.
func introspection(c *introspectionConfig) (*verify.Introspection, error) {
	if c == nil {
		return nil, nil
	}
	secret, err := secretOf("introspection.client_secret_file", c.ClientSecret, c.ClientSecretFile)
	if err != nil {
		return nil, err
	}
	return &verify.Introspection{
		URL: c.URL, ClientID: c.ClientID, ClientSecret: secret, TTL: c.TTL, Timeout: c.Timeout,
		Opaque: c.Opaque, OpaqueOnly: c.OpaqueOnly,
	}, nil
}

// upstreams are connections to where revocations come from.
type upstreams []*grpc.ClientConn

// dialWatch prepares the connections to the watch listeners of the issuer or
// of relays. It does not connect yet: an issuer that is not there keeps authz
// unready, not down. There are none without the section.
func dialWatch(key string, c revocationsConfig) (upstreams, error) {
	t, err := clientTLS(key+".tls", c.TLS)
	if err != nil {
		return nil, err
	}
	transport := insecure.NewCredentials()
	if t != nil {
		transport = credentials.NewTLS(t)
	}
	options := append(watch.DialOptions(watchLease), grpc.WithTransportCredentials(transport))
	if c.ClientID != "" {
		secret, err := secretOf(key+".client_secret_file", c.ClientSecret, c.ClientSecretFile)
		if err != nil {
			return nil, err
		}
		options = append(options, grpc.WithPerRPCCredentials(newTokenCredentials(c, secret, t != nil)))
	}
	var all upstreams
	for _, address := range c.addresses() {
		conn, err := grpc.NewClient(address, options...)
		if err != nil {
			all.hangUp()
			return nil, fmt.Errorf("%s: %s: %w", key, address, err)
		}
		all = append(all, conn)
	}
	return all, nil
}

func (u upstreams) hangUp() {
	for _, conn := range u {
		_ = conn.Close()
	}
}

func (u upstreams) conns() []grpc.ClientConnInterface {
	var all []grpc.ClientConnInterface
	for _, conn := range u {
		all = append(all, conn)
	}
	return all
}

// tokenCredentials shows a client-credentials token on each call. Calls are
// streams that live long, so each gets a new token: one that was revoked, or
// is of a key that is gone, is never tried twice.
type tokenCredentials struct {
	config clientcredentials.Config
	client *http.Client
	secure bool
}

func newTokenCredentials(c revocationsConfig, secret string, secure bool) tokenCredentials {
	return tokenCredentials{
		config: clientcredentials.Config{
			ClientID: c.ClientID, ClientSecret: secret, TokenURL: c.TokenURL, Scopes: []string{"revocation:watch"},
			AuthStyle: oauth2.AuthStyleInHeader, // else a refusal is tried again in the body
		},
		client: &http.Client{Timeout: 5 * time.Second},
		secure: secure,
	}
}

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (t tokenCredentials) GetRequestMetadata(ctx context.Context, _ ...string) (map[string]string, error) {
	token, err := t.config.Token(context.WithValue(ctx, oauth2.HTTPClient, t.client))
	if err != nil {
		return nil, fmt.Errorf("getting a token for the revocation watch: %w", describe(err))
	}
	return map[string]string{"authorization": "Bearer " + token.AccessToken}, nil
}

// describe keeps the answer's body out of the log: only its OAuth error stays.
func describe(err error) error {
	var r *oauth2.RetrieveError
	if errors.As(err, &r) && r.Response != nil {
		return fmt.Errorf("%s %s", r.Response.Status, r.ErrorCode)
	}
	return err
}

// RequireTransportSecurity implements credentials.PerRPCCredentials. Plaintext
// is possible on loopback only: the configuration's check sees to it.
func (t tokenCredentials) RequireTransportSecurity() bool { return t.secure }
