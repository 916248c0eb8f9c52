package sqlstore_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tegata/tegata/internal/pgtest"
	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/issuer/sqlstore"
	"github.com/tegata/tegata/revocation"
)

// selfSigned is a certificate for 127.0.0.1, and the same in PEM.
func selfSigned(t *testing.T) (tls.Certificate, []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "postgres"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// withTLS stands before a server that was built without TLS, and speaks it as
// PostgreSQL does: who does not ask for it first is not let in. It returns its
// address.
func withTLS(t *testing.T, socket string, cert tls.Certificate) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	t.Cleanup(func() {
		_ = l.Close()
		conns.Wait()
	})
	conns.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns.Go(func() { forward(c, socket, cert) })
		}
	})
	return l.Addr().String()
}

func forward(c net.Conn, socket string, cert tls.Certificate) {
	defer c.Close()
	ask := make([]byte, 8)
	if _, err := io.ReadFull(c, ask); err != nil || binary.BigEndian.Uint32(ask[4:]) != 80877103 { // SSLRequest
		return
	}
	if _, err := c.Write([]byte{'S'}); err != nil {
		return
	}
	secure := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}})
	server, err := net.Dial("unix", socket)
	if err != nil {
		return
	}
	defer server.Close()
	go func() {
		_, _ = io.Copy(server, secure)
		_ = server.Close()
	}()
	_, _ = io.Copy(secure, server)
}

// TestPasswordAndTLS: with a server that wants both, for a role that may do
// nothing but make tables in its schema.
func TestPasswordAndTLS(t *testing.T) {
	t.Parallel()
	cert, authority := selfSigned(t)
	_, stranger := selfSigned(t)
	dir := t.TempDir()
	for name, content := range map[string][]byte{"ca.pem": authority, "stranger.pem": stranger} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	hba := "local all tegata trust\nlocal all all scram-sha-256\n"
	s := pgtest.New(t, map[string][]byte{"hba.conf": []byte(hba)}, "-c", "hba_file=hba.conf", "-c", "fsync=off", "-c", "synchronous_commit=off")
	addr := withTLS(t, s.Socket(), cert)
	if err := s.Run(t.Context(), `
		CREATE ROLE app LOGIN PASSWORD 'hunter2';
		CREATE SCHEMA app AUTHORIZATION app;`); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name, mode, ca, password, hint string
	}{
		{"as it should be", "verify-full", "ca.pem", "hunter2", ""},
		{"a wrong password", "verify-full", "ca.pem", "hunter3", "refuses the user or the password"},
		{"no password", "verify-full", "ca.pem", "", "refuses the user or the password"},
		{"another's certificate", "verify-full", "stranger.pem", "hunter2", "does sslmode suit it"},
		{"no TLS", "disable", "", "hunter2", "does sslmode suit it"},
	} {
		query := url.Values{"sslmode": {row.mode}}
		if row.ca != "" {
			query.Set("sslrootcert", filepath.Join(dir, row.ca))
		}
		db, err := sqlstore.Open(t.Context(), sqlstore.Config{Postgres: sqlstore.Postgres{
			URL: fmt.Sprintf("postgres://app@%s/postgres?%s", addr, query.Encode()), Password: row.password,
		}})
		if row.hint == "" {
			if err != nil {
				t.Fatalf("%s: %v", row.name, err)
			}
			if rev, err := db.Sessions().Write(t.Context(), func(tx session.Tx) error {
				return tx.Revoke("r", record(revocation.KindToken, "a"))
			}); rev != 1 || err != nil {
				t.Errorf("%s: %d, %v", row.name, rev, err)
			}
			if err := db.Close(); err != nil {
				t.Error(err)
			}
			continue
		}
		var away *sqlstore.UnreachableError
		if !errors.As(err, &away) || away.Where != addr || !strings.Contains(away.Hint, row.hint) {
			t.Errorf("%s: %v (%+v)", row.name, err, away)
		}
		if err != nil && strings.Contains(err.Error(), "hunter") {
			t.Errorf("%s: the password is told: %v", row.name, err)
		}
	}
}
