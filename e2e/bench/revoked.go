package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"time"

	"google.golang.org/grpc"

	"github.com/tegata/tegata/revocation"
	"github.com/tegata/tegata/revocation/watch"
)

// revoked is a log of so many revocations, as a watch.Source. It makes each
// record when it is asked for, from its revision: nothing of it is kept, so
// that this program stays small beside what it measures.
type revoked struct {
	issuer  string
	records revocation.Revision
	expires time.Time
}

// Head implements watch.Source.
func (r revoked) Head(context.Context) (revocation.Epoch, revocation.Revision, error) {
	return "bench", r.records, nil
}

// Since implements watch.Source.
func (r revoked) Since(_ context.Context, after revocation.Revision, limit int) ([]revocation.Record, revocation.Revision, error) {
	last := max(after, min(r.records, after+revocation.Revision(limit)))
	records := make([]revocation.Record, 0, last-after)
	for rev := after + 1; rev <= last; rev++ {
		records = append(records, r.record(rev))
	}
	return records, last, nil
}

// Committed implements watch.Source: nothing is ever added.
func (r revoked) Committed() <-chan struct{} { return nil }

// record is the same for the same revision. One in five is of a session, the
// others are of single tokens: the kinds there can be a million of.
func (r revoked) record(rev revocation.Revision) revocation.Record {
	sum := sha256.Sum256(fmt.Append(nil, rev))
	kind := revocation.KindToken
	if rev%5 == 0 {
		kind = revocation.KindSession
	}
	return revocation.Record{
		Revision: rev, Issuer: r.issuer, Target: revocation.Target{Kind: kind, ID: hex.EncodeToString(sum[:16])},
		ExpiresAt: r.expires, Reason: revocation.ReasonRevoked, CommittedAt: r.expires.Add(-time.Hour),
	}
}

// watchLease is what operators get unless they say otherwise.
const watchLease = 5 * time.Second

// serveRevoked serves the log to watchers until ctx ends, and returns where.
func serveRevoked(ctx context.Context, source revoked) (addr string, err error) {
	upstream, err := watch.NewUpstream(watch.UpstreamConfig{
		Source: source, Lease: watchLease, NewStore: true,
		Authorize: func(context.Context) (watch.Identity, error) { return watch.Identity{Name: "authz"}, nil },
	})
	if err != nil {
		return "", err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	server := grpc.NewServer(watch.ServerOptions(watchLease)...)
	upstream.Register(server)
	go func() { _ = server.Serve(l) }()   // both live as long as
	go func() { _ = upstream.Run(ctx) }() // the benchmark does
	context.AfterFunc(ctx, server.Stop)
	return l.Addr().String(), nil
}
