package authz

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	"github.com/tegata/tegata/authz/check"
	"github.com/tegata/tegata/authz/extproc"
	"github.com/tegata/tegata/authz/verify"
)

// hold prepares the door for requests that outlive their check.
func (s *Server) hold(c Config) (err error) {
	if !c.Hold {
		return nil
	}
	s.held, err = extproc.New(extproc.Config{
		Still:  func(id verify.Identity) check.Decision { return s.core.Load().still(id) },
		Fresh:  func() bool { return s.core.Load().fresh() },
		Logger: c.Logger, Metrics: s.metrics,
	})
	return err
}

// applied ends, before a revocation is acknowledged, the requests that it
// kills; nil if none are held.
func (s *Server) applied() func(context.Context) {
	if s.held == nil {
		return nil
	}
	return s.held.Recheck
}

// RunHeld serves ext_proc on l, which holds the requests that Config.Hold is
// for, until ctx ends; then it drains as Run does and ends the requests that it
// still holds, since nobody would look after them. It runs beside Run, with the
// same ctx, on a gRPC server of its own: calls that stay open must not take the
// workers that checks run on.
func (s *Server) RunHeld(ctx context.Context, l net.Listener, c HeldConfig) error {
	if s.held == nil {
		return errors.New("authz: RunHeld without Config.Hold")
	}
	// A proxy that is gone without a word must not leave its requests here.
	// And one that pings often, to notice when we are gone, must not be taken
	// for an attacker: with it all the requests that it has here would end.
	options := []grpc.ServerOption{
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 100 * time.Millisecond, PermitWithoutStream: true}),
	}
	if c.Credentials != nil {
		options = append(options, grpc.Creds(c.Credentials))
	}
	server := grpc.NewServer(options...)
	s.held.Register(server)
	serving, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { s.held.Run(serving) })
	wg.Go(func() {
		defer server.Stop()
		select {
		case <-ctx.Done():
		case <-serving.Done():
			return
		}
		select {
		case <-time.After(s.drain):
		case <-serving.Done():
		}
	})
	if err := server.Serve(l); err != nil && ctx.Err() == nil {
		return fmt.Errorf("serving held requests: %w", err)
	}
	return nil
}

// HeldConfig configures RunHeld.
type HeldConfig struct {
	Credentials credentials.TransportCredentials // of the listener; nil means plaintext
}
