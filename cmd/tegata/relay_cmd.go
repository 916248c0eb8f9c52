package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/tegata/tegata/revocation"
	"github.com/tegata/tegata/revocation/watch"
)

type relayCmd struct {
	configFlags `embed:""`
}

// Run runs a relay until it is told to stop.
func (c *relayCmd) Run(e *env) error {
	conf, err := c.load(e)
	if err != nil {
		return err
	}
	if conf.Relay == nil {
		return conf.doc.at("relay", "required for tegata relay", "write a relay: section as in docs/operating.md")
	}
	log, err := newLogger(conf.Log, e.stderr)
	if err != nil {
		return err
	}
	return said(e.ctx, log, serveRelay(e.ctx, *conf.Relay, log))
}

// serveRelay opens the listeners, builds the relay and runs it.
func serveRelay(ctx context.Context, c relayConfig, log *slog.Logger) error {
	below, err := openRelayDoor(ctx, "relay", c.door())
	if err != nil {
		return err
	}
	defer below.close()
	health, err := listen(ctx, "relay.management", c.Management)
	if err != nil {
		return err
	}
	defer func() { _ = health.Close() }() // closed already once it was served
	conns, err := dialWatch("relay.revocations", c.Revocations)
	if err != nil {
		return err
	}
	defer conns.hangUp()
	relay, err := watch.NewRelay(watch.WatcherConfig{
		Conns: conns.conns(), Set: revocation.NewSet(), Node: hostname(), Issuers: c.Revocations.Issuers, Logger: log,
	}, *c.door().config())
	if err != nil {
		return fmt.Errorf("building the relay: %w", err)
	}
	metrics := newMetrics()
	if err := errors.Join(relay.Watcher().RegisterMetrics(metrics), relay.Upstream().RegisterMetrics(metrics)); err != nil {
		return err
	}
	relay.Register(below.server)
	log.Info("relay starts", "listen", below.listener.Addr().String(), "management", health.Addr().String(), "upstreams", c.Revocations.addresses())

	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return relay.Run(ctx) })
	g.Go(func() error { return serveGRPC(ctx, below.server, below.listener) })
	ready := func() error { return relay.Watcher().Status().Relied() }
	status := func() programStatus {
		above, below := relay.Watcher().Report(), relay.Upstream().Report()
		return programStatus{Program: "relay", Name: hostname(), Watcher: &above, Upstream: &below}
	}
	g.Go(func() error {
		return serveHTTP(ctx, newHTTPServer(management(metrics, ready, status), nil, log), health)
	})
	err = g.Wait()
	log.Info("relay stopped")
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// relayDoor is where watchers below a relay come.
type relayDoor struct {
	listener net.Listener
	server   *grpc.Server
}

// openRelayDoor opens it; nil without.
func openRelayDoor(ctx context.Context, key string, c relayDoorConfig) (*relayDoor, error) {
	if c.Listen == "" {
		return nil, nil
	}
	t, err := serverTLS(key+".tls", c.TLS)
	if err != nil {
		return nil, err
	}
	l, err := listen(ctx, key+".listen", c.Listen)
	if err != nil {
		return nil, err
	}
	options := append(watch.ServerOptions(c.Lease), grpc.MaxRecvMsgSize(64<<10), grpc.Creds(credentials.NewTLS(t))) // watchers say little
	return &relayDoor{listener: l, server: grpc.NewServer(options...)}, nil
}

// close is for when it was never served.
func (d *relayDoor) close() {
	if d != nil {
		_ = d.listener.Close()
	}
}

func (c relayDoorConfig) config() *watch.RelayConfig {
	return &watch.RelayConfig{Authorize: watch.Peers(c.Peers), Lease: c.Lease}
}
