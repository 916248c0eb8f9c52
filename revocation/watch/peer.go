package watch

import (
	"context"
	"crypto/x509"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// Peer is the identity of a call's verified client certificate, if one of its
// names (SPIFFE ID or DNS name) is on the list. It sees everything.
func Peer(ctx context.Context, listed []string) (Identity, bool) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return Identity{}, false
	}
	tls, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || len(tls.State.VerifiedChains) == 0 {
		return Identity{}, false
	}
	for _, name := range namesOf(tls.State.VerifiedChains[0][0]) {
		if slices.Contains(listed, name) {
			return Identity{Name: name}, true
		}
	}
	return Identity{}, false
}

// Peers authorizes those on the list, and nobody else.
func Peers(listed []string) func(context.Context) (Identity, error) {
	return func(ctx context.Context) (Identity, error) {
		if id, ok := Peer(ctx, listed); ok {
			return id, nil
		}
		return Identity{}, status.Error(codes.Unauthenticated, "a listed client certificate is required")
	}
}

func namesOf(c *x509.Certificate) []string {
	names := slices.Clone(c.DNSNames)
	for _, u := range c.URIs {
		names = append(names, u.String())
	}
	return names
}
