package authz

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/tegata/tegata/authz/forwardauth"
)

// HTTPConfig configures the doors that are asked by HTTP.
type HTTPConfig struct {
	TrustedPeers []netip.Prefix // the proxies, see forwardauth.Config; nil means this machine
	MaxBody      int64          // of a body that a proxy passes on, in bytes; default 64 KiB
	TLS          *tls.Config    // of the listener; nil means plaintext; with ClientCAs, proxies must show a certificate

	// Traces makes a span of each check, a child of the proxy's; nil: none.
	Traces trace.TracerProvider
}

// RunHTTP answers Envoy's HTTP ext_authz, NGINX and Traefik on l until ctx
// ends; then it drains as Run does and returns when the last request was
// answered. It runs beside Run, with the same ctx, and decides as Run's gRPC
// service does.
func (s *Server) RunHTTP(ctx context.Context, l net.Listener, c HTTPConfig) error {
	server, err := s.httpServer(c)
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() {
		if c.TLS != nil {
			served <- server.ServeTLS(l, "", "")
			return
		}
		served <- server.Serve(l)
	}()
	select {
	case err := <-served:
		return fmt.Errorf("serving HTTP checks: %w", err)
	case <-ctx.Done():
	}
	server.SetKeepAlivesEnabled(false) // proxies look elsewhere, one answer at a time
	select {
	case err := <-served:
		return fmt.Errorf("serving HTTP checks: %w", err)
	case <-time.After(s.drain):
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), maxStop)
	defer cancel()
	if server.Shutdown(grace) != nil {
		_ = server.Close() // what is still open had its time
	}
	<-served // ErrServerClosed
	return nil
}

// httpServer is a server whose every wait has an end. Connections of proxies
// may idle for longer than the proxies keep them, so that it is never us who
// close one that is about to be used.
func (s *Server) httpServer(c HTTPConfig) (*http.Server, error) {
	var door http.Handler
	door, err := forwardauth.New(forwardauth.Config{
		Checker: s, TrustedPeers: c.TrustedPeers, MaxBody: c.MaxBody, Logger: s.log,
	})
	if err != nil {
		return nil, err
	}
	if c.Traces != nil {
		door = traced(door, c.Traces)
	}
	if c.TLS != nil && c.TLS.ClientCAs != nil {
		c.TLS = c.TLS.Clone()
		c.TLS.ClientAuth = tls.RequireAndVerifyClientCert
	}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler:           door,
		Protocols:         &protocols,
		TLSConfig:         c.TLS,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       5 * time.Minute,
		MaxHeaderBytes:    forwardauth.MaxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug), // noise of strangers
	}, nil
}

// traced makes a span of each question, under the one that its headers name
// (W3C Trace Context).
func traced(door http.Handler, traces trace.TracerProvider) http.Handler {
	tracer := traces.Tracer("github.com/tegata/tegata/authz")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
		ctx, span := tracer.Start(ctx, "HTTP check", trace.WithSpanKind(trace.SpanKindServer))
		defer span.End()
		door.ServeHTTP(w, r.WithContext(ctx))
	})
}
