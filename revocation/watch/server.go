package watch

import (
	"context"
	"errors"
	"io"
	"time"

	pb "github.com/tegata/tegata/revocation/revocationpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
)

// Register adds the service to a gRPC server.
func (u *Upstream) Register(s grpc.ServiceRegistrar) {
	RegisterCurrent(s, func() *Upstream { return u })
}

// RegisterCurrent adds the service of whatever upstream is current when a
// stream opens; nil sends the watcher on.
func RegisterCurrent(s grpc.ServiceRegistrar, current func() *Upstream) {
	pb.RegisterRevocationsServer(s, &service{current: current})
}

// ServerOptions are the keepalive settings that fit DialOptions: a server
// without them answers the watchers' pings with GOAWAY.
func ServerOptions(lease time.Duration) []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 10 * time.Second, Timeout: max(lease/2, time.Second)}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
	}
}

// service is the upstream's end of gRPC, and all that knows of it.
type service struct {
	pb.UnimplementedRevocationsServer
	current func() *Upstream
}

// Watch implements pb.RevocationsServer.
func (s *service) Watch(stream pb.Revocations_WatchServer) error {
	u := s.current()
	if u == nil {
		return status.Error(codes.Unavailable, errAgain.Error())
	}
	id, err := u.c.Authorize(stream.Context())
	if err != nil {
		return refused(err)
	}
	return u.status(id, u.serve(stream.Context(), id, stream))
}

// refused keeps a status that Authorize chose and hides everything else.
func refused(err error) error {
	if st, ok := status.FromError(err); ok && st.Code() != codes.OK {
		return st.Err()
	}
	return status.Error(codes.Unauthenticated, "not authenticated")
}

// status is what the watcher is told; inner errors stay in the log.
func (u *Upstream) status(id Identity, err error) error {
	for _, o := range []struct {
		is   error
		code codes.Code
	}{
		{errBroken, codes.InvalidArgument},
		{errAhead, codes.FailedPrecondition},
		{errIssuers, codes.PermissionDenied},
		{errFull, codes.ResourceExhausted},
	} {
		if errors.Is(err, o.is) {
			u.c.Logger.Warn("revocation watcher refused", "watcher", id.Name, "error", err)
			return status.Error(o.code, err.Error())
		}
	}
	switch {
	case err == nil, errors.Is(err, io.EOF):
		return nil
	case errors.Is(err, errAgain):
		return status.Error(codes.Unavailable, errAgain.Error())
	case errors.Is(err, context.Canceled), status.Code(err) == codes.Canceled:
		return status.Error(codes.Canceled, "canceled")
	default:
		u.c.Logger.Warn("revocation stream ended", "watcher", id.Name, "error", err)
		return status.Error(codes.Unavailable, "stream ended")
	}
}
