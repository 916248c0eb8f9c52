package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/tegata/tegata/revocation"
)

// growing is a log in memory that revocations are added to, as a
// watch.Source: its commits cost nothing, so that only their way is measured.
type growing struct {
	mu      sync.Mutex // guards records; record i has revision i+1
	records []revocation.Record
	wake    chan struct{}
	expires time.Time
}

// growingIssuer is of whom everything in the log is.
const growingIssuer = "https://issuer.example/realms/bench"

func newGrowing() *growing {
	return &growing{wake: make(chan struct{}, 1), expires: time.Now().Add(time.Hour).Truncate(time.Second)}
}

// Head implements watch.Source.
func (g *growing) Head(context.Context) (revocation.Epoch, revocation.Revision, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return "bench", revocation.Revision(len(g.records)), nil
}

// Since implements watch.Source.
func (g *growing) Since(_ context.Context, after revocation.Revision, limit int) ([]revocation.Record, revocation.Revision, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	last := min(len(g.records), int(after)+limit)
	return slices.Clone(g.records[after:last]), revocation.Revision(last), nil
}

// Committed implements watch.Source.
func (g *growing) Committed() <-chan struct{} { return g.wake }

// commit revokes sessions and returns the last one's revision.
func (g *growing) commit(sessions ...string) revocation.Revision {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, id := range sessions {
		g.records = append(g.records, revocation.Record{
			Revision: revocation.Revision(len(g.records) + 1), Issuer: growingIssuer,
			Target:    revocation.Target{Kind: revocation.KindSession, ID: id},
			ExpiresAt: g.expires, Reason: revocation.ReasonLogout, CommittedAt: time.Now(),
		})
	}
	select {
	case g.wake <- struct{}{}:
	default:
	}
	return revocation.Revision(len(g.records))
}

// fill commits so many as a busy installation has them.
func (g *growing) fill(n int) {
	many := revoked{issuer: growingIssuer, records: revocation.Revision(n), expires: g.expires}
	g.mu.Lock()
	defer g.mu.Unlock()
	for rev := range revocation.Revision(n) {
		g.records = append(g.records, many.record(rev+1))
	}
}

// mutualTLS is a configuration for both ends on loopback: each shows the same
// certificate and asks for the other's.
func mutualTLS() (*tls.Config, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}},
		RootCAs:      pool, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13,
	}, nil
}
