package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"
)

// shutdownGrace is how long requests under way may take to finish once the
// program was asked to end.
const shutdownGrace = 5 * time.Second

// listen opens a listener for a key's address: host:port or unix:/path.
func listen(ctx context.Context, key, addr string) (net.Listener, error) {
	network, address := "tcp", addr
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		network, address = "unix", path
		// What an earlier life left behind; a live socket is found out below.
		if err := removeStale(ctx, path); err != nil {
			return nil, err
		}
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, network, address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, withHint(fmt.Errorf("%s: %s is in use by another program", key, addr), "stop that program, or choose another address with --set "+key+"=…")
	case errors.Is(err, fs.ErrPermission):
		return nil, withHint(fmt.Errorf("%s: may not listen on %s", key, addr), "ports below 1024 need a privilege; choose a higher one with --set "+key+"=…")
	case err != nil:
		return nil, fmt.Errorf("%s: listening on %s: %w", key, addr, err)
	}
	return l, nil
}

// removeStale removes a Unix socket on which nobody answers.
func removeStale(ctx context.Context, path string) error {
	fi, err := os.Stat(path)
	if err != nil || fi.Mode().Type() != fs.ModeSocket {
		return nil // nothing there, or nothing of ours: listen will say so
	}
	var d net.Dialer
	if c, err := d.DialContext(ctx, "unix", path); err == nil {
		_ = c.Close()
		return nil
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("removing a dead socket: %w", err)
	}
	return nil
}

// newHTTPServer returns a server whose every wait has an end.
func newHTTPServer(h http.Handler, t *tls.Config, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		TLSConfig:         t,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug), // handshake noise of strangers
	}
}

// serveHTTP serves until ctx ends, then lets requests under way finish. It
// returns when the last handler has returned or the grace is over.
func serveHTTP(ctx context.Context, s *http.Server, l net.Listener) error {
	failed := make(chan error, 1)
	go func() {
		if s.TLSConfig != nil {
			failed <- s.ServeTLS(l, "", "")
			return
		}
		failed <- s.Serve(l)
	}()
	select {
	case err := <-failed:
		return fmt.Errorf("serving %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
	defer cancel()
	if s.Shutdown(grace) != nil {
		_ = s.Close() // what is still open had its time
	}
	<-failed // ErrServerClosed
	return nil
}

// serverTLS loads a server's certificate; nil means plaintext. Clients of
// ClientCAFile may show a certificate; what it is good for is decided by the
// service.
func serverTLS(key string, c tlsConfig) (*tls.Config, error) {
	if !c.on() {
		return nil, nil
	}
	pair, err := newKeyPair(c.CertFile, c.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	t := &tls.Config{
		MinVersion:     tls.VersionTLS12,
		CipherSuites:   recommendedCiphers(),
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return pair.current(), nil },
	}
	if c.ClientCAFile != "" {
		if t.ClientCAs, err = readCAs(key+".client_ca_file", c.ClientCAFile); err != nil {
			return nil, err
		}
		t.ClientAuth = tls.VerifyClientCertIfGiven
	}
	return t, nil
}

// recommendedCiphers are those of TLS 1.2 that BCP 195 recommends (RFC 9325
// §4.2), and all that FAPI 2.0 allows (§5.2.2). TLS 1.3 has none to choose.
func recommendedCiphers() []uint16 {
	return []uint16{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	}
}

// clientTLS loads a client's side; nil means plaintext.
func clientTLS(key string, c clientTLSConfig) (*tls.Config, error) {
	if !c.on() {
		return nil, nil
	}
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CertFile != "" {
		pair, err := newKeyPair(c.CertFile, c.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		t.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return pair.current(), nil }
	}
	if c.CAFile != "" {
		var err error
		if t.RootCAs, err = readCAs(key+".ca_file", c.CAFile); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func readCAs(key, path string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s: no PEM certificate in %s", key, path)
	}
	return pool, nil
}
