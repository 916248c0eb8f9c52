package main

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// measuredPath is what every request asks for.
const measuredPath = "/orders"

// direct asks a server without Envoy, with as many calls in flight as wrk has
// connections. Latencies are those that a Go client sees.
func direct(ctx context.Context, c *candidate, next func() *auth.CheckRequest) (measurement, error) {
	conn, err := grpc.NewClient(address(c.AuthzPort), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return measurement{}, err
	}
	defer func() { _ = conn.Close() }()
	m, err := startMeter(c.pid())
	if err != nil {
		return measurement{}, err
	}
	begun := time.Now()
	latencies, err := callAll(ctx, auth.NewAuthorizationClient(conn), next)
	if err != nil {
		return measurement{}, fmt.Errorf("%s, direct: %w", c.Name, err)
	}
	elapsed := time.Since(begun).Seconds()
	n := float64(len(latencies))
	used, err := m.perCall(n)
	if err != nil {
		return measurement{}, err
	}
	slices.Sort(latencies)
	return measurement{
		rps: n / elapsed, p50: ms(quantile(latencies, 0.50)), p99: ms(quantile(latencies, 0.99)), authzCPU: used[0],
	}, nil
}

// around gives out the requests over and over until some time has passed.
func around(requests []*auth.CheckRequest, took time.Duration) func() *auth.CheckRequest {
	var next atomic.Uint64
	deadline := time.Now().Add(took)
	return func() *auth.CheckRequest {
		if !time.Now().Before(deadline) {
			return nil
		}
		return requests[next.Add(1)%uint64(len(requests))]
	}
}

// once gives out each request once.
func once(requests []*auth.CheckRequest) func() *auth.CheckRequest {
	var given atomic.Int64
	return func() *auth.CheckRequest {
		if i := given.Add(1); i <= int64(len(requests)) {
			return requests[i-1]
		}
		return nil
	}
}

// callAll calls until there is no next request, and returns the latencies.
func callAll(ctx context.Context, client auth.AuthorizationClient, next func() *auth.CheckRequest) ([]time.Duration, error) {
	latencies := make([][]time.Duration, connections)
	g, ctx := errgroup.WithContext(ctx)
	for i := range latencies {
		g.Go(func() error {
			for req := next(); req != nil; req = next() {
				begun := time.Now()
				resp, err := client.Check(ctx, req)
				if err != nil {
					return err
				}
				if code := codes.Code(resp.GetStatus().GetCode()); code != codes.OK {
					return fmt.Errorf("a good token was refused: %s", code)
				}
				latencies[i] = append(latencies[i], time.Since(begun))
			}
			return nil
		})
	}
	err := g.Wait()
	return slices.Concat(latencies...), err
}

// checkRequests is one request of each token for each path, tokens first.
func checkRequests(tokens []string, paths ...string) []*auth.CheckRequest {
	requests := make([]*auth.CheckRequest, 0, len(tokens)*len(paths))
	for _, p := range paths {
		for _, t := range tokens {
			requests = append(requests, checkRequest(t, p))
		}
	}
	return requests
}

// checkRequest is what Envoy sends for wrk's request.
func checkRequest(token, path string) *auth.CheckRequest {
	peer := func(port uint32) *auth.AttributeContext_Peer {
		return &auth.AttributeContext_Peer{Address: &core.Address{Address: &core.Address_SocketAddress{SocketAddress: &core.SocketAddress{
			Address: "127.0.0.1", PortSpecifier: &core.SocketAddress_PortValue{PortValue: port},
		}}}}
	}
	return &auth.CheckRequest{Attributes: &auth.AttributeContext{
		Source: peer(40000), Destination: peer(8000),
		Request: &auth.AttributeContext_Request{Time: timestamppb.Now(), Http: &auth.AttributeContext_HttpRequest{
			Id: "8431571293847651", Method: "GET", Path: path, Host: "127.0.0.1:8000", Scheme: "http", Protocol: "HTTP/1.1",
			Headers: map[string]string{
				":authority": "127.0.0.1:8000", ":method": "GET", ":path": path, ":scheme": "http",
				"authorization": "Bearer " + token, "x-forwarded-proto": "http", "x-request-id": "0b6d7d2c-4f65-4f3e-9b37-5d1c9a2f1e7a",
			},
		}},
		MetadataContext: &core.Metadata{}, RouteMetadataContext: &core.Metadata{},
	}}
}

// quantile of sorted durations.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
