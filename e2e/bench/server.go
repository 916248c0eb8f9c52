package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	rpc "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/tegata/tegata/e2e/bench/reference"
)

// The names under which this program starts itself as one of the servers that
// are measured: each runs alone in a process, so that its CPU is its own.
const (
	serveNoop      = "serve-noop"
	serveReference = "serve-reference"
)

// noop is the smallest ext_authz server of a stock grpc-go: it allows.
type noop struct {
	auth.UnimplementedAuthorizationServer
}

func (noop) Check(context.Context, *auth.CheckRequest) (*auth.CheckResponse, error) {
	return &auth.CheckResponse{
		Status:       &rpc.Status{Code: int32(codes.OK)},
		HttpResponse: &auth.CheckResponse_OkResponse{OkResponse: &auth.OkHttpResponse{}},
	}, nil
}

// serve is a measured server: ADDR READY-ADDR, and for the reference ISSUER
// AUDIENCE JWKS-URL. It ends when it is killed.
func serve(ctx context.Context, kind string, args []string) error {
	var s auth.AuthorizationServer = noop{}
	if kind == serveReference {
		if len(args) != 5 {
			return fmt.Errorf("%s: want 5 arguments, got %d", kind, len(args))
		}
		r, err := reference.New(ctx, args[2], args[3], args[4])
		if err != nil {
			return err
		}
		s = r
	}
	l, err := net.Listen("tcp", args[0])
	if err != nil {
		return err
	}
	g := grpc.NewServer()
	auth.RegisterAuthorizationServer(g, s)
	ready := http.Server{
		Addr: args[1], ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}),
	}
	failed := make(chan error, 2)
	go func() { failed <- g.Serve(l) }()
	go func() { failed <- ready.ListenAndServe() }()
	return <-failed
}
