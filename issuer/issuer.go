package issuer

import (
	"context"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/tegata/tegata/issuer/backchannel"
	"github.com/tegata/tegata/issuer/claims"
	"github.com/tegata/tegata/issuer/client"
	"github.com/tegata/tegata/issuer/clientauth"
	"github.com/tegata/tegata/issuer/delivery"
	"github.com/tegata/tegata/issuer/discovery"
	"github.com/tegata/tegata/issuer/dpop"
	"github.com/tegata/tegata/issuer/grant"
	"github.com/tegata/tegata/issuer/introspect"
	"github.com/tegata/tegata/issuer/keys"
	"github.com/tegata/tegata/issuer/login"
	"github.com/tegata/tegata/issuer/logout"
	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/issuer/receiver"
	"github.com/tegata/tegata/issuer/revoke"
	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/issuer/signals"
	"github.com/tegata/tegata/issuer/stream"
	"github.com/tegata/tegata/issuer/theme"
	"github.com/tegata/tegata/issuer/token"
	"github.com/tegata/tegata/issuer/user"
	"github.com/tegata/tegata/issuer/userauth"
	"github.com/tegata/tegata/issuer/userinfo"
	"github.com/tegata/tegata/revocation"
	"github.com/tegata/tegata/revocation/watch"
)

const (
	sweepEvery = time.Minute // how often expired sessions are swept, by one of the processes
	// sweepTerm is how long the one who sweeps leads: if it dies, another
	// follows after it. Lifetimes are judged on reading, so nothing waits for that
	// but what clients are told of sessions that idled out.
	sweepTerm = 150 * time.Second
)

// Stores are the aggregates' stores; one sqlstore.DB gives all of them.
type Stores struct {
	Realms   realm.Store
	Clients  client.Store
	Users    user.Store
	Sessions session.Store
	Keys     keys.Store
	Streams  stream.Store
}

// Config configures an Issuer. Fields without a default are required.
type Config struct {
	// BaseURL is the public URL, scheme and host, without a trailing slash.
	// With https, cookies are Secure and HSTS is sent.
	BaseURL string
	Stores  Stores
	Seal    []byte // 32 bytes, see keys.ReadKeyFile
	// OtherSeals are of other key files, which may have sealed private keys
	// too; those are sealed again with Seal.
	OtherSeals [][]byte

	// TrustedProxies are whose X-Forwarded-For counts for who is calling.
	TrustedProxies []netip.Prefix

	Now     func() time.Time      // default time.Now
	Rand    io.Reader             // default crypto/rand.Reader
	Logger  *slog.Logger          // default: discard
	Metrics prometheus.Registerer // default: none
	HTTP    *http.Client          // fetches clients' jwks_uri, posts logout tokens; default: 5 s timeout

	// ClientCAs are the authorities whose certificates clients may authenticate
	// with (RFC 8705). The TLS in front of Handler then asks for certificates
	// and need not verify them: tls.RequestClientCert. nil: no mutual TLS.
	ClientCAs *x509.CertPool
	// CertificateHeader is the field in which the TrustedProxies, and nobody
	// else, hand on the client's certificate: one of the Header… constants.
	// They must have removed the client's own field. Empty: none does.
	CertificateHeader string
	// MutualTLSURL is the URL, as BaseURL, at which TLS asks clients for
	// certificates, if that is another; discovery says so (RFC 8705 §5).
	MutualTLSURL string

	// Changes is raised by the store with each commit that changes a realm or
	// client or kills all of one, sqlstore.DB.Changes; nil: nothing that was
	// read of these is kept.
	Changes func() uint64

	// Lead reports whether this process leads in a task of all processes on the
	// store, for a term, sqlstore.DB.Lead; nil: it is alone.
	Lead func(ctx context.Context, task string, term time.Duration) (bool, error)

	// WatchSource is the log that watchers follow; one sqlstore.DB is one.
	WatchSource watch.Source
	// Replicas is where issuers that share the store find each other: whoever
	// revokes at one waits for the watchers of all. sqlstore.DB again; nil if
	// this is the only one. Name is ours, for operators.
	Replicas   watch.Replicas
	Name       string
	WatchLease time.Duration // how long a watcher may trust without renewing; default 5 s
	// NewStore says that this process created the store, so that no watcher can
	// hold a lease of a run before. Otherwise the first revocations wait such
	// leases out.
	NewStore bool
	// WatchRealm names the realm whose tokens with scope revocation:watch see
	// the revocations of all realms; those of another realm see only its own.
	WatchRealm string
	// WatchPeers are the SPIFFE IDs and DNS names whose client certificates
	// (verified by the gRPC server's TLS) may watch all realms.
	WatchPeers []string
	// RevokeWait is how long the answer to a revocation or logout waits for
	// watchers to have applied it; default 1 s, negative for no wait.
	RevokeWait time.Duration

	// Receivers are other issuers that tell us of logouts and revocations.
	Receivers []receiver.Source
}

// withDefaults checks c and fills in its defaults.
func (c Config) withDefaults() (Config, error) {
	if err := checkBaseURL(c.BaseURL); err != nil {
		return c, err
	}
	if c.MutualTLSURL != "" {
		if err := checkBaseURL(c.MutualTLSURL); err != nil {
			return c, fmt.Errorf("mutual TLS: %w", err)
		}
	}
	if c.CertificateHeader != "" {
		c.CertificateHeader = http.CanonicalHeaderKey(c.CertificateHeader)
		if forwardedReaders[c.CertificateHeader] == nil {
			return c, fmt.Errorf("certificate header %q is not one of %s, %s and %s", c.CertificateHeader, HeaderEnvoy, HeaderNGINX, HeaderRFC9440)
		}
		if len(c.TrustedProxies) == 0 || c.ClientCAs == nil {
			return c, errors.New("a certificate header needs TrustedProxies and ClientCAs")
		}
	}
	s := c.Stores
	if s.Realms == nil || s.Clients == nil || s.Users == nil || s.Sessions == nil || s.Keys == nil || s.Streams == nil {
		return c, errors.New("every store is required")
	}
	if c.WatchSource == nil {
		return c, errors.New("a watch source is required")
	}
	if len(c.Seal) != 32 {
		return c, errors.New("the sealing key must have 32 bytes")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.HTTP == nil {
		c.HTTP = &http.Client{Timeout: 5 * time.Second}
	}
	if c.RevokeWait == 0 {
		c.RevokeWait = time.Second
	}
	return c, nil
}

func checkBaseURL(base string) error {
	u, err := url.Parse(base)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" ||
		u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return fmt.Errorf("base URL %q is not of the form https://host[:port]", base)
	}
	return nil
}

// secure reports whether the world sees us by https.
func (c Config) secure() bool { return strings.HasPrefix(c.BaseURL, "https://") }

// Issuer is an assembled issuer.
type Issuer struct {
	c         Config
	realms    *realm.Realms
	clients   *client.Clients
	users     *user.Users
	keys      *keys.Keys
	sessions  *session.Sessions
	tokens    *token.Tokens
	claims    *claims.Maker
	secrets   *clientauth.Secrets
	upstream  *watch.Upstream
	trail     *trail
	messenger *delivery.Courier[session.Notice]
	receivers *receiver.Receivers
	streams   *stream.Streams
	signals   *signals.Signals
	metrics   *metrics
	handler   http.Handler
}

// New checks the configuration and wires the doors.
func New(c Config) (*Issuer, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("issuer: %w", err)
	}
	i := &Issuer{
		c:       c,
		realms:  realm.New(c.Stores.Realms, c.BaseURL),
		clients: client.New(c.Stores.Clients),
		users:   user.New(c.Stores.Users, c.Now),
		claims:  new(claims.Maker),
	}
	i.realms.Alias(c.MutualTLSURL)
	i.realms.Keep(c.Changes, c.Now)
	i.clients.Keep(c.Changes, c.Now)
	if i.metrics, err = newMetrics(c.Metrics); err != nil {
		return nil, fmt.Errorf("issuer: registering metrics: %w", err)
	}
	if i.keys, err = keys.New(keys.Config{Store: c.Stores.Keys, Seal: c.Seal, OtherSeals: c.OtherSeals, Now: c.Now, Rand: c.Rand}); err != nil {
		return nil, fmt.Errorf("issuer: %w", err)
	}
	if i.secrets, err = clientauth.NewSecrets(c.Rand, append([][]byte{c.Seal}, c.OtherSeals...)...); err != nil {
		return nil, fmt.Errorf("issuer: %w", err)
	}
	if i.streams, err = stream.New(stream.Config{Store: c.Stores.Streams, Now: c.Now, Rand: c.Rand, Seals: append([][]byte{c.Seal}, c.OtherSeals...)}); err != nil {
		return nil, fmt.Errorf("issuer: %w", err)
	}
	if i.sessions, err = session.New(session.Config{
		Store: c.Stores.Sessions, Now: c.Now, Rand: c.Rand, Logger: c.Logger, Changes: c.Changes, Announced: i.streams.Signal,
	}); err != nil {
		return nil, fmt.Errorf("issuer: %w", err)
	}
	if i.tokens, err = token.New(token.Config{Keys: i.keys, Now: c.Now, Rand: c.Rand}); err != nil {
		return nil, fmt.Errorf("issuer: %w", err)
	}
	i.messenger, err = backchannel.New(backchannel.Config{
		Sessions: i.sessions, Realms: i.realms, Clients: i.clients, Tokens: i.tokens, Claims: i.claims, HTTP: c.HTTP, Logger: c.Logger, Told: i.metrics.tell,
	})
	if err != nil {
		return nil, fmt.Errorf("issuer: %w", err)
	}
	i.upstream, err = watch.NewUpstream(watch.UpstreamConfig{
		Source: c.WatchSource, Authorize: i.authorizeWatch, Lease: c.WatchLease, NewStore: c.NewStore, Now: c.Now, Logger: c.Logger,
		Replicas: c.Replicas, Name: c.Name,
	})
	if err != nil {
		return nil, fmt.Errorf("issuer: %w", err)
	}
	if i.trail, err = newTrail(c.WatchSource, i.upstream, c.Logger, c.Now, c.Metrics); err != nil {
		return nil, fmt.Errorf("issuer: registering metrics: %w", err)
	}
	if c.Metrics != nil {
		if err := i.upstream.RegisterMetrics(c.Metrics); err != nil {
			return nil, fmt.Errorf("issuer: %w", err)
		}
	}
	i.signals, err = signals.New(signals.Config{
		Streams: i.streams, Clients: i.clients, Realms: i.realms, Tokens: i.tokens, Claims: i.claims, Authorize: i.authorizeCall,
		HTTP: c.HTTP, Logger: c.Logger, Told: i.metrics.signal,
	})
	if err != nil {
		return nil, fmt.Errorf("issuer: %w", err)
	}
	if i.receivers, err = i.newReceivers(); err != nil {
		return nil, fmt.Errorf("issuer: %w", err)
	}
	d, err := i.newDoors()
	if err != nil {
		return nil, fmt.Errorf("issuer: %w", err)
	}
	i.handler = i.mount(d.routes())
	return i, nil
}

// doors are the endpoints.
type doors struct {
	grant      *grant.Handler
	introspect *introspect.Handler
	revoke     *revoke.Handler
	userinfo   *userinfo.Handler
	discovery  *discovery.Handler
	login      *login.Handler
	logout     *logout.Handler
	signals    *signals.Signals
}

// newDoors is the wiring.
func (i *Issuer) newDoors() (*doors, error) {
	clients, err := clientauth.New(clientauth.Config{
		Clients: i.clients, Replay: i.sessions, Replayed: session.ErrReplayed,
		Secrets: i.secrets, ClientCAs: i.c.ClientCAs, Now: i.c.Now, HTTP: i.c.HTTP, Logger: i.c.Logger,
	})
	if err != nil {
		return nil, err
	}
	callers := newThrottle(clients, i.c.Now)
	people, err := userauth.New(userauth.Config{Users: i.users, Now: i.c.Now, Rand: i.c.Rand})
	if err != nil {
		return nil, err
	}
	pages, err := theme.New()
	if err != nil {
		return nil, err
	}
	forms, err := i.newForms()
	if err != nil {
		return nil, err
	}

	proofs, err := i.newProofs()
	if err != nil {
		return nil, err
	}

	d := doors{signals: i.signals}
	var errs [6]error
	d.grant, errs[0] = grant.New(grant.Config{
		Clients: callers, Directory: i.clients, People: people, Sessions: i.sessions, Tokens: i.tokens, Users: i.users, Proofs: proofs, Claims: i.claims,
		Logger: i.c.Logger, Minted: i.metrics.mint, Reused: i.metrics.revoke,
	})
	d.introspect, errs[1] = introspect.New(introspect.Config{
		Clients: callers, Tokens: i.tokens, Sessions: i.sessions,
		Users: i.users, Issued: i.clients, Claims: i.claims, Logger: i.c.Logger,
	})
	d.revoke, errs[2] = revoke.New(revoke.Config{
		Clients: callers, Tokens: i.tokens, Sessions: i.sessions, Revoked: i.revoked,
	})
	d.userinfo, errs[3] = userinfo.New(userinfo.Config{
		Tokens: i.tokens, Sessions: i.sessions, Users: i.users, Clients: i.clients, Proofs: proofs, Claims: i.claims,
	})
	d.login, errs[4] = login.New(login.Config{
		Clients: i.clients, ClientAuth: callers, Keys: clients, Proofs: proofs, Tokens: i.tokens, HTTP: i.c.HTTP, Sessions: i.sessions, People: people, Theme: pages, Forms: forms, Claims: i.claims,
		Now: i.c.Now, Logger: i.c.Logger, Secure: i.c.secure(),
	})
	d.logout, errs[5] = logout.New(logout.Config{
		Clients: i.clients, ClientAuth: callers, Tokens: i.tokens, Sessions: i.sessions, Theme: pages, Forms: forms,
		Logger: i.c.Logger, Secure: i.c.secure(), Revoked: i.revoked,
	})
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	d.discovery, err = discovery.New(discovery.Config{
		Keys: i.keys, Sessions: i.sessions, GrantTypes: d.grant.Types(), ResponseModes: d.login.ResponseModes(),
		AuthMethods: clients.Methods(), MutualTLS: i.c.ClientCAs != nil,
		ProofAlgs: dpop.Algorithms(),
	})
	return &d, err
}

// newProofs derives the key of DPoP nonces as newForms does its own.
func (i *Issuer) newProofs() (*dpop.Verifier, error) {
	key, err := hkdf.Key(sha256.New, i.c.Seal, nil, "tegata dpop nonce", sha256.Size)
	if err != nil {
		return nil, err
	}
	return dpop.New(dpop.Config{Replay: i.sessions, Replayed: session.ErrReplayed, Now: i.c.Now, Secret: key})
}

// newForms derives the key of form states from the sealing key, so that all
// replicas have the same and none has to keep another.
func (i *Issuer) newForms() (*theme.Forms, error) {
	key, err := hkdf.Key(sha256.New, i.c.Seal, nil, "tegata form state", sha256.Size)
	if err != nil {
		return nil, err
	}
	return theme.NewForms(key, i.c.Now, i.c.Rand, i.c.secure())
}

// Handler serves /realms/…, /.well-known/oauth-authorization-server/realms/…
// and /receivers/….
func (i *Issuer) Handler() http.Handler { return i.handler }

// Run sweeps, serves the watch, tells clients of logouts and asks other issuers
// for events until ctx ends; it returns when the last of its goroutines is gone.
func (i *Issuer) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return i.upstream.Run(ctx) })
	g.Go(func() error { return i.trail.run(ctx) })
	g.Go(func() error { return i.sweep(ctx) })
	g.Go(func() error { return i.messenger.Run(ctx) })
	g.Go(func() error { return i.receivers.Run(ctx) })
	g.Go(func() error { return i.signals.Run(ctx) })
	return g.Wait()
}

// Sweep does once what Run does every minute: it ends what has expired, and
// turns keys over that are due.
func (i *Issuer) Sweep(ctx context.Context) error {
	ctx = revocation.By(ctx, revocation.ActorSweeper)
	return errors.Join(i.sessions.Sweep(ctx), i.maintainKeys(ctx))
}

// sweep goes on after an error: what it did not delete today it will tomorrow,
// and lifetimes are judged on reading anyway.
func (i *Issuer) sweep(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			err := i.sweepIfLeading(ctx)
			if err != nil && ctx.Err() == nil {
				i.c.Logger.ErrorContext(ctx, "sweep failed", "err", err)
			}
		}
	}
}

func (i *Issuer) sweepIfLeading(ctx context.Context) error {
	if i.c.Lead != nil {
		leads, err := i.c.Lead(ctx, "sweep", sweepTerm)
		if err != nil || !leads {
			return err
		}
	}
	return i.Sweep(ctx)
}
