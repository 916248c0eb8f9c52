package e2e

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tegata/tegata/internal/stack"
	"github.com/tegata/tegata/manifests/envoy"
)

// authority signs certificates.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t *testing.T, name string) authority {
	t.Helper()
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a := authority{cert: template}
	made := a.sign(t, template)
	a.key = made.PrivateKey.(*ecdsa.PrivateKey)
	a.cert = made.Leaf
	return a
}

// sign makes a key and signs its certificate, by itself if the authority has no
// key yet.
func (a authority) sign(t *testing.T, template *x509.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = new(big.Int).SetBytes([]byte(rand.Text()))
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	signer := a.key
	if signer == nil {
		signer = key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func (a authority) client(t *testing.T, name string) *tls.Certificate {
	t.Helper()
	c := a.sign(t, &x509.Certificate{
		Subject:     pkix.Name{CommonName: name, Organization: []string{`Orders, "Ltd"; Hash=00`}},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	return &c
}

func (a authority) pem() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}))
}

// mutualTLS makes the stack's Envoy the shipped one with TLS, trusting a; it
// returns a client that shows a certificate, or none, on connections of its own.
func (a authority) mutualTLS(t *testing.T, c *stack.Config) (with func(*tls.Certificate) *http.Client) {
	t.Helper()
	dir := t.TempDir()
	server := a.sign(t, &x509.Certificate{
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	key, err := x509.MarshalPKCS8PrivateKey(server.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "clients.crt"), a.pem())
	writeFile(t, filepath.Join(dir, "server.crt"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Leaf.Raw})))
	writeFile(t, filepath.Join(dir, "server.key"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})))
	c.Bootstrap = bytes.ReplaceAll(envoy.BootstrapMTLS, []byte(envoy.TLSFolder), []byte(dir))

	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	return func(shown *tls.Certificate) *http.Client {
		conf := &tls.Config{RootCAs: roots, ClientSessionCache: tls.NewLRUClientSessionCache(8)}
		if shown != nil {
			conf.Certificates = []tls.Certificate{*shown}
		}
		transport := &http.Transport{TLSClientConfig: conf, ForceAttemptHTTP2: true}
		t.Cleanup(transport.CloseIdleConnections)
		return &http.Client{Transport: transport, Timeout: 10 * time.Second}
	}
}

// x5t is the thumbprint of a certificate as tokens have it (RFC 8705 §3.1).
func x5t(c *tls.Certificate) string {
	sum := sha256.Sum256(c.Leaf.Raw)
	return b64(sum[:])
}

// xfcc is what Envoy says of a certificate in x-forwarded-client-cert.
func xfcc(c *tls.Certificate) string {
	sum := sha256.Sum256(c.Leaf.Raw)
	return `By=spiffe://x/y;Hash=` + hex.EncodeToString(sum[:]) + `;Subject="CN=a,O=\"b\""`
}

// certified makes a token that is bound to a certificate, and to a key if
// there is one.
func (f *foreign) certified(t *testing.T, c *tls.Certificate, more map[string]any) string {
	t.Helper()
	cnf := map[string]any{"x5t#S256": x5t(c)}
	for name, value := range more {
		cnf[name] = value
	}
	return f.sign(t, nil, func(claims map[string]any) { claims["cnf"] = cnf })
}

// overTLS asks through the gateway; headers are pairs.
func overTLS(s *stack.Stack, c *http.Client, headers ...string) answer {
	req, err := http.NewRequest(http.MethodGet, strings.Replace(s.GatewayURL, "http:", "https:", 1)+"/orders", nil)
	if err != nil {
		return answer{err: err}
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	return read(c.Do(req))
}

// TestTokensBoundToACertificate (RFC 8705 §3): such a token passes on a
// connection with its certificate, and on no other; what a client says of
// certificates counts for nothing.
func TestTokensBoundToACertificate(t *testing.T) {
	f, ca := newForeign(t), newAuthority(t, "clients")
	alice, mallory := ca.client(t, "alice"), ca.client(t, "mallory")
	var with func(*tls.Certificate) *http.Client
	s := ownStack(t, func(c *stack.Config) {
		with = ca.mutualTLS(t, c)
		onlyIssuers(t, c, f.trusted(f.introspected(time.Minute, ", opaque_only: true")))
		// The shipped policy's rules, and one by the binding itself.
		c.Set["authz.policy.dir"] = policyDir(t, `
import rego.v1

allow := {"allowed": true, "headers": {"x-tegata-binding": concat(" ", input.token.binding)}} if input.token.binding

else := true if input.token
`)
	})
	token := f.certified(t, alice, nil)
	mine, others, nobody := with(alice), with(mallory), with(nil)
	for range 3 {
		a := overTLS(s, mine, "Authorization", "Bearer "+token)
		wantOK(t, "with its certificate", a)
		if got := echo(t, a).Headers["X-Tegata-Binding"]; len(got) != 1 || got[0] != "mtls" {
			t.Errorf("the policy saw the binding %q", got)
		}
		// A session that is resumed shows no certificate again.
		mine.CloseIdleConnections()
	}
	for range 2 { // decided anew, and from memory
		wantRefused(t, "with another certificate", overTLS(s, others, "Authorization", "Bearer "+token), http.StatusUnauthorized, "invalid_token")
		wantRefused(t, "without", overTLS(s, nobody, "Authorization", "Bearer "+token), http.StatusUnauthorized, "invalid_token")
		wantOK(t, "with its certificate again", overTLS(s, mine, "Authorization", "Bearer "+token))
	}
	wantRefused(t, "without, but with words", overTLS(s, nobody, "Authorization", "Bearer "+token, "X-Forwarded-Client-Cert", xfcc(alice)),
		http.StatusUnauthorized, "invalid_token")
	wantRefused(t, "with another, and with words", overTLS(s, others, "Authorization", "Bearer "+token, "X-Forwarded-Client-Cert", xfcc(alice)),
		http.StatusUnauthorized, "invalid_token")
	wantOK(t, "a token bound to none", overTLS(s, nobody, "Authorization", "Bearer "+f.sign(t, nil, nil)))

	opaque := f.issue(func(a map[string]any) { a["cnf"] = map[string]any{"x5t#S256": x5t(alice)} })
	wantOK(t, "an opaque token with its certificate", overTLS(s, mine, "Authorization", "Bearer "+opaque))
	wantRefused(t, "an opaque token with another", overTLS(s, others, "Authorization", "Bearer "+opaque), http.StatusUnauthorized, "invalid_token")

	// Bound to both, it wants both.
	h := newHolder(t)
	both := f.certified(t, alice, map[string]any{"jkt": h.thumbprint(t)})
	proof := func() string {
		return h.proof(t, both, strings.Replace(s.GatewayURL, "http:", "https:", 1)+"/orders", nil)
	}
	wantOK(t, "both", overTLS(s, mine, "Authorization", "DPoP "+both, "DPoP", proof()))
	wantDPoP(t, "the proof alone", overTLS(s, others, "Authorization", "DPoP "+both, "DPoP", proof()), "invalid_token")
	wantDPoP(t, "the certificate alone", overTLS(s, mine, "Authorization", "DPoP "+both), "invalid_dpop_proof")

	// What the authority did not sign does not get in; self-signed, it is of
	// use only where Envoy is told so.
	pushy, stranger := with(nil), newAuthority(t, "other").client(t, "alice")
	pushy.Transport.(*http.Transport).TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		return stranger, nil // though the server says whose it takes
	}
	if a := overTLS(s, pushy, "Authorization", "Bearer "+token); a.err == nil {
		t.Errorf("a certificate of another authority: %v", a)
	}
}

// TestSelfSignedCertificates (RFC 8705 §2.2): as envoy-mtls.yaml says in a
// comment.
func TestSelfSignedCertificates(t *testing.T) {
	f, ca := newForeign(t), newAuthority(t, "clients")
	alice, mallory := newAuthority(t, "one").client(t, "alice"), newAuthority(t, "two").client(t, "alice")
	var with func(*tls.Certificate) *http.Client
	s := ownStack(t, func(c *stack.Config) {
		with = ca.mutualTLS(t, c)
		c.Bootstrap = regexp.MustCompile(`trusted_ca: .*`).ReplaceAll(c.Bootstrap, []byte("trust_chain_verification: ACCEPT_UNTRUSTED"))
		onlyIssuers(t, c, f.trusted())
	})
	token := f.certified(t, alice, nil)
	wantOK(t, "its certificate", overTLS(s, with(alice), "Authorization", "Bearer "+token))
	wantRefused(t, "one of the same name", overTLS(s, with(mallory), "Authorization", "Bearer "+token), http.StatusUnauthorized, "invalid_token")
}

// TestForwardedCertificates: x-forwarded-client-cert counts when it is
// configured to, behind a proxy that vouches for it; else it is just a header.
func TestForwardedCertificates(t *testing.T) {
	const edge = "                use_remote_address: true\n"
	// An Envoy behind another one, which has set the header.
	inner := func(t *testing.T, c *stack.Config) {
		t.Helper()
		withEnvoy(t, c, edge, edge+"                forward_client_cert_details: ALWAYS_FORWARD_ONLY\n")
	}
	ca := newAuthority(t, "clients")
	alice, mallory := ca.client(t, "alice"), ca.client(t, "mallory")
	for name, tt := range map[string]struct {
		trust string
		door  func(*testing.T, *stack.Config)
	}{
		"trusted":         {"true", inner},
		"not trusted":     {"false", inner},
		"trusted by HTTP": {"true", func(t *testing.T, c *stack.Config) { forwardsByHTTP(t, c); inner(t, c) }},
		"not so by HTTP":  {"false", func(t *testing.T, c *stack.Config) { forwardsByHTTP(t, c); inner(t, c) }},
	} {
		t.Run(name, func(t *testing.T) {
			f := newForeign(t)
			s := ownStack(t, func(c *stack.Config) {
				tt.door(t, c)
				onlyIssuers(t, c, f.trusted())
				c.Set["authz.trust_xfcc"] = tt.trust
			})
			token := f.certified(t, alice, nil)
			show := func(values ...string) answer {
				lines := []string{"Authorization: Bearer " + token}
				for _, v := range values {
					lines = append(lines, "X-Forwarded-Client-Cert: "+v)
				}
				return raw(s, http.MethodGet, "/orders", lines...)
			}
			if a := show(xfcc(alice)); tt.trust == "true" {
				wantOK(t, "its certificate", a)
			} else {
				wantRefused(t, "a header", a, http.StatusUnauthorized, "invalid_token")
			}
			for what, values := range map[string][]string{
				"none":             nil,
				"another":          {xfcc(mallory)},
				"two elements":     {xfcc(alice) + "," + xfcc(mallory)},
				"two elements too": {xfcc(mallory) + "," + xfcc(alice)},
				"two headers":      {xfcc(mallory), xfcc(alice)},
				"noise":            {"Hash=" + x5t(alice)},
			} {
				wantRefused(t, what, show(values...), http.StatusUnauthorized, "invalid_token")
			}
		})
	}

	t.Run("set by this Envoy", func(t *testing.T) {
		f := newForeign(t)
		var with func(*tls.Certificate) *http.Client
		s := ownStack(t, func(c *stack.Config) {
			with = ca.mutualTLS(t, c)
			withEnvoy(t, c, "forward_client_cert_details: SANITIZE\n",
				"forward_client_cert_details: SANITIZE_SET\n                set_current_client_cert_details: { subject: true, uri: true }\n")
			withEnvoy(t, c, "include_peer_certificate: true\n", "include_peer_certificate: false\n")
			onlyIssuers(t, c, f.trusted())
			c.Set["authz.trust_xfcc"] = "true"
		})
		token := f.certified(t, alice, nil)
		wantOK(t, "its certificate", overTLS(s, with(alice), "Authorization", "Bearer "+token))
		for what, a := range map[string]answer{
			"another, with words": overTLS(s, with(mallory), "Authorization", "Bearer "+token, "X-Forwarded-Client-Cert", xfcc(alice)),
			"none, with words":    overTLS(s, with(nil), "Authorization", "Bearer "+token, "X-Forwarded-Client-Cert", xfcc(alice)),
			"none":                overTLS(s, with(nil), "Authorization", "Bearer "+token),
		} {
			wantRefused(t, what, a, http.StatusUnauthorized, "invalid_token")
		}
	})
}

// forwardsByHTTP makes Envoy ask by HTTP, and tell of the header.
func forwardsByHTTP(t *testing.T, c *stack.Config) {
	t.Helper()
	askingByHTTP(t, c)
	withEnvoy(t, c, "                          - { exact: dpop, ignore_case: true }\n",
		"                          - { exact: dpop, ignore_case: true }\n                          - { exact: x-forwarded-client-cert, ignore_case: true }\n")
}
