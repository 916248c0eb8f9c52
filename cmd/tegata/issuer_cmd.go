package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/tegata/tegata/issuer"
	"github.com/tegata/tegata/issuer/sqlstore"
	"github.com/tegata/tegata/revocation"
	"github.com/tegata/tegata/revocation/watch"
)

// configFlags are the flags of every command that reads the configuration.
type configFlags struct {
	Config string   `short:"c" default:"tegata.yaml" placeholder:"FILE" help:"Configuration file (default: tegata.yaml)."`
	Set    []string `sep:"none" placeholder:"KEY=VALUE" help:"Override a key of the file: --set authz.listen=127.0.0.1:9000."`
}

func (f configFlags) load(e *env) (*config, error) { return loadConfig(f.Config, e.lookupEnv, f.Set) }

type issuerCmd struct {
	configFlags `embed:""`
}

// Run runs the issuer until it is told to stop.
func (c *issuerCmd) Run(e *env) error {
	conf, err := c.load(e)
	if err != nil {
		return err
	}
	if conf.Issuer == nil {
		return conf.doc.at("issuer", "required for tegata issuer", "write an issuer: section as in docs/operating.md")
	}
	log, err := newLogger(conf.Log, e.stderr)
	if err != nil {
		return err
	}
	s, err := openIssuer(e.ctx, *conf.Issuer, log)
	if err != nil {
		return err
	}
	defer s.close()
	return said(e.ctx, log, s.run(e.ctx))
}

// issuerServer is the issuer with its listeners open and its realms imported.
type issuerServer struct {
	issuer     *issuer.Issuer
	db         *sqlstore.DB
	log        *slog.Logger
	web        *http.Server
	watch      *grpc.Server
	management *http.Server

	webListener, watchListener, managementListener net.Listener
	ready                                          atomic.Bool
}

// openIssuer opens listeners first: a port in use is said before the store is touched.
func openIssuer(ctx context.Context, c issuerConfig, log *slog.Logger) (_ *issuerServer, err error) {
	s := &issuerServer{log: log}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if err := s.listen(ctx, c); err != nil {
		return nil, err
	}
	realms, err := readRealms(c.Realms)
	if err != nil {
		return nil, err
	}
	seal, others, err := readSeals(c)
	if err != nil {
		return nil, err
	}
	if s.db, err = openStore(ctx, c.Store, log); err != nil {
		return nil, err
	}
	proxies, err := c.proxies()
	if err != nil {
		return nil, err
	}
	metrics := newMetrics()
	clientCAs, err := c.clientCAs()
	if err != nil {
		return nil, err
	}
	receivers, err := c.receivers(context.WithoutCancel(ctx))
	if err != nil {
		return nil, err
	}
	if s.issuer, err = issuer.New(issuer.Config{
		BaseURL: c.BaseURL, TrustedProxies: proxies, Seal: seal, OtherSeals: others, Stores: stores(s.db), WatchSource: s.db, Changes: s.db.Changes, Lead: s.db.Lead,
		ClientCAs: clientCAs, CertificateHeader: c.MTLS.Header, MutualTLSURL: c.MTLS.URL, Logger: log, Metrics: metrics,
		NewStore:   s.db.Created(),
		WatchLease: c.Watch.Lease, WatchRealm: c.Watch.Realm, WatchPeers: c.Watch.Peers, RevokeWait: c.RevokeWait,
		Replicas: s.db, Name: hostname(),
		Receivers: receivers,
	}); err != nil {
		return nil, err
	}
	for _, r := range realms {
		if err := s.issuer.Import(ctx, r); err != nil {
			return nil, fmt.Errorf("importing realm %q: %w", r.Realm, err)
		}
	}
	debug.FreeOSMemory() // checking passwords takes 19 MiB each, and nobody logs in yet
	return s, s.assemble(c, metrics)
}

// proxies are whose X-Forwarded-For counts: behind a proxy, this machine's
// unless others are named.
func (c issuerConfig) proxies() ([]netip.Prefix, error) {
	if c.BehindProxy && len(c.Proxies) == 0 {
		return parsePeers("issuer.trusted_proxies", []string{"127.0.0.0/8", "::1"})
	}
	return parsePeers("issuer.trusted_proxies", c.Proxies)
}

// clientCAs are whose certificates clients may authenticate with, whether the
// connection shows them or a proxy hands them on.
func (c issuerConfig) clientCAs() (*x509.CertPool, error) {
	switch {
	case c.MTLS.Header != "":
		return readCAs("issuer.mtls.client_ca_file", c.MTLS.ClientCAFile)
	case c.TLS.ClientCAFile != "":
		return readCAs("issuer.tls.client_ca_file", c.TLS.ClientCAFile)
	}
	return nil, nil
}

// asking is a configuration that asks clients for certificates, at the host of
// issuer.mtls.url alone if there is one: a browser that has certificates would
// ask its person for one.
//
// The issuer verifies: self-signed certificates are good for some clients
// (RFC 8705 §2.2), so that none may fail the handshake, nor be kept back
// because no authority was named.
func asking(t *tls.Config, elsewhere string) *tls.Config {
	t.ClientCAs, t.ClientAuth = nil, tls.RequestClientCert
	u, err := url.Parse(elsewhere)
	if err != nil || u.Hostname() == "" {
		return t
	}
	silent := t.Clone()
	silent.ClientAuth = tls.NoClientCert
	t.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if strings.EqualFold(hello.ServerName, u.Hostname()) {
			return nil, nil // t itself
		}
		return silent, nil
	}
	return t
}

func (s *issuerServer) listen(ctx context.Context, c issuerConfig) (err error) {
	if s.webListener, err = listen(ctx, "issuer.listen", c.Listen); err != nil {
		return err
	}
	if s.watchListener, err = listen(ctx, "issuer.watch.listen", c.Watch.Listen); err != nil {
		return err
	}
	s.managementListener, err = listen(ctx, "issuer.management", c.Management)
	return err
}

// assemble builds the three servers.
func (s *issuerServer) assemble(c issuerConfig, metrics prometheus.Gatherer) error {
	webTLS, err := serverTLS("issuer.tls", c.TLS)
	if err != nil {
		return err
	}
	if webTLS != nil && webTLS.ClientCAs != nil {
		webTLS = asking(webTLS, c.MTLS.URL)
	}
	watchTLS, err := serverTLS("issuer.watch.tls", c.Watch.TLS)
	if err != nil {
		return err
	}
	s.web = newHTTPServer(s.issuer.Handler(), webTLS, s.log)
	s.management = newHTTPServer(s.traced(management(metrics, s.isReady, s.status)), nil, s.log)
	options := append(watch.ServerOptions(c.Watch.Lease), grpc.MaxRecvMsgSize(64<<10)) // watchers say little
	if watchTLS != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(watchTLS)))
	}
	s.watch = grpc.NewServer(options...)
	s.issuer.RegisterWatch(s.watch)
	s.log.Info("issuer starts", "base_url", c.BaseURL,
		"listen", s.webListener.Addr().String(), "transport", transport(webTLS != nil, c.BehindProxy),
		"watch", s.watchListener.Addr().String(), "watch_transport", transport(watchTLS != nil, false),
		"management", s.managementListener.Addr().String())
	return nil
}

// transport says how a listener speaks.
func transport(tls, proxy bool) string {
	switch {
	case tls:
		return "TLS"
	case proxy:
		return "plaintext, TLS ends at the proxy"
	default:
		return "plaintext, loopback only"
	}
}

// traced adds to a management listener what is known of one revocation.
func (s *issuerServer) traced(rest http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", rest)
	mux.HandleFunc("GET "+statusPath+"/{revision}", func(w http.ResponseWriter, req *http.Request) {
		rev, err := strconv.ParseUint(req.PathValue("revision"), 10, 63)
		if err != nil {
			http.Error(w, "that is no revision", http.StatusBadRequest)
			return
		}
		trace, err := s.issuer.Revocation(req.Context(), revocation.Revision(rev))
		switch {
		case errors.Is(err, issuer.ErrNoRevocation):
			http.Error(w, err.Error(), http.StatusNotFound)
		case err != nil:
			s.log.ErrorContext(req.Context(), "revocation not traced", "err", err)
			http.Error(w, "the log cannot be read", http.StatusServiceUnavailable)
		default:
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(trace) // a reader that has gone
		}
	})
	return mux
}

func (s *issuerServer) status() programStatus {
	below := s.issuer.Revocations()
	return programStatus{Program: "issuer", Name: hostname(), Upstream: &below}
}

func (s *issuerServer) isReady() error {
	if !s.ready.Load() {
		return errors.New("starting or stopping")
	}
	return nil
}

// run serves until ctx ends or something fails. First requests are let finish,
// then the streams and sweepers end: a revocation that is being answered still
// reaches its watchers.
func (s *issuerServer) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	inner, stopInner := context.WithCancel(context.WithoutCancel(ctx))
	g.Go(func() error {
		defer stopInner()
		return serveHTTP(ctx, s.web, s.webListener)
	})
	g.Go(func() error { return s.issuer.Run(inner) })
	g.Go(func() error { return serveGRPC(inner, s.watch, s.watchListener) })
	g.Go(func() error { return serveHTTP(inner, s.management, s.managementListener) })
	s.ready.Store(true)
	context.AfterFunc(ctx, func() { s.ready.Store(false) })
	err := g.Wait()
	s.log.Info("issuer stopped")
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// serveGRPC serves until ctx ends. Streams here never end by themselves, so
// they are cut: a watcher reconnects and resumes.
func serveGRPC(ctx context.Context, s *grpc.Server, l net.Listener) error {
	stopped := make(chan struct{})
	defer context.AfterFunc(ctx, func() { s.Stop(); close(stopped) })()
	if err := s.Serve(l); err != nil && ctx.Err() == nil {
		return fmt.Errorf("serving %s: %w", l.Addr(), err)
	}
	<-stopped
	return nil
}

// close releases what openIssuer opened.
func (s *issuerServer) close() {
	for _, l := range []net.Listener{s.webListener, s.watchListener, s.managementListener} {
		if l != nil {
			_ = l.Close() // a served listener is closed already
		}
	}
	if s.db != nil {
		if err := s.db.Close(); err != nil {
			s.log.Error("closing the store", "error", err)
		}
	}
}
