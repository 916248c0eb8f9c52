package watch

import (
	"context"
	"time"

	pb "github.com/tegata/tegata/revocation/revocationpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/keepalive"
)

// DialOptions are the settings of a client connection that notice a dead peer
// within the lease and come back quickly; the server needs ServerOptions.
func DialOptions(lease time.Duration) []grpc.DialOption {
	return []grpc.DialOption{
		// grpc-go pings at most every 10 s; the timeout is also the TCP user
		// timeout, and renewals keep data in flight, so that it counts sooner.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: max(lease/2, time.Second)}),
		// The watcher backs off by itself, further than this.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: backoffFirst, Multiplier: 1.6, Jitter: 0.2, MaxDelay: backoffLast / 4},
			MinConnectTimeout: openPatience,
		}),
	}
}

// dialer opens streams on a connection. It is the watcher's end of gRPC.
func dialer(conn grpc.ClientConnInterface) func(context.Context) (clientPipe, error) {
	client := pb.NewRevocationsClient(conn)
	return func(ctx context.Context) (clientPipe, error) { return client.Watch(ctx) }
}
