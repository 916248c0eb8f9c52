package issuer_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tegata/tegata/issuer"
)

// authority issues certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	c := authority{t: t}.issue(pkix.Name{CommonName: "authority"}, func(c *x509.Certificate) {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage, c.ExtKeyUsage = true, true, x509.KeyUsageCertSign, nil
	})
	return authority{t, c.Leaf, c.PrivateKey.(*ecdsa.PrivateKey)}
}

func (a authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// issue a client's certificate; an authority without a certificate of its own
// has it sign itself.
func (a authority) issue(subject pkix.Name, change func(*x509.Certificate)) tls.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: subject, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if change != nil {
		change(template)
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		a.t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func thumbprintOf(c tls.Certificate) string {
	sum := sha256.Sum256(c.Certificate[0])
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// by sends a request over a connection of its own, with certificates.
func (s *server) by(method, path string, form url.Values, header http.Header, certs ...tls.Certificate) (int, http.Header, map[string]any) {
	s.t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, Certificates: certs}} // the client is what is tested
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.oidc(path), strings.NewReader(form.Encode()))
	if err != nil {
		s.t.Fatal(err)
	}
	for name, values := range header {
		req.Header[name] = values
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer map[string]any
	_ = json.NewDecoder(resp.Body).Decode(&answer) // a refusal at UserInfo has no body
	return resp.StatusCode, resp.Header, answer
}

// TestMutualTLS (RFC 8705 §2.1, §2.2).
func TestMutualTLS(t *testing.T) {
	t.Parallel()
	ca, other, self := newAuthority(t), newAuthority(t), authority{t: t}
	s := startTLS(t, &tls.Config{ClientAuth: tls.RequestClientCert}, ca.pool())
	name := pkix.Name{CommonName: "client, one", Organization: []string{"Example"}, Country: []string{"JP"}}
	with := func(change func(*x509.Certificate)) []tls.Certificate {
		return []tls.Certificate{ca.issue(name, change)}
	}
	good, own := ca.issue(name, nil), self.issue(name, nil)
	certified := service("certified", map[string]string{"x509.subjectdn": `cn=client\, one, O=Example,C=JP`})
	certified.Secret, certified.ClientAuthenticatorType = "", "client-x509"
	signed := service("signed", nil)
	signed.Secret, signed.ClientAuthenticatorType, signed.JWKS = "", "client-x509-self-signed", jwksOf(t, own.Leaf.PublicKey)
	s.importMore(certified, signed)

	for what, tt := range map[string]struct {
		client string
		certs  []tls.Certificate
		header http.Header
		good   bool
	}{
		"issued (§2.1)":                     {"certified", []tls.Certificate{good}, nil, true},
		"self-signed (§2.2)":                {"signed", []tls.Certificate{own}, nil, true},
		"issued: none":                      {"certified", nil, nil, false},
		"issued: another subject":           {"certified", []tls.Certificate{ca.issue(pkix.Name{CommonName: "client"}, nil)}, nil, false},
		"issued: one more name":             {"certified", []tls.Certificate{ca.issue(pkix.Name{CommonName: "client, one", Organization: []string{"Example"}, OrganizationalUnit: []string{"x"}, Country: []string{"JP"}}, nil)}, nil, false},
		"issued: by an authority of nobody": {"certified", []tls.Certificate{other.issue(name, nil)}, nil, false},
		"issued: self-signed":               {"certified", []tls.Certificate{own}, nil, false},
		"issued: expired":                   {"certified", with(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }), nil, false},
		"issued: for servers":               {"certified", with(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }), nil, false},
		"issued: and a secret":              {"certified", []tls.Certificate{good}, basic("certified"), false},
		"self-signed: none":                 {"signed", nil, nil, false},
		"self-signed: another key":          {"signed", []tls.Certificate{self.issue(name, nil)}, nil, false},
		"self-signed: issued instead":       {"signed", []tls.Certificate{good}, nil, false},
		"a certificate instead of a secret": {"svc", []tls.Certificate{good}, nil, false},
	} {
		form := url.Values{"grant_type": {"client_credentials"}}
		if tt.header == nil {
			form.Set("client_id", tt.client)
		}
		status, _, answer := s.by(http.MethodPost, "token", form, tt.header, tt.certs...)
		if tt.good != (status == http.StatusOK) || !tt.good && status != http.StatusUnauthorized {
			t.Errorf("%s: %d %v", what, status, answer)
		}
	}
}

// TestTokensBoundToACertificate (RFC 8705 §3, §4).
func TestTokensBoundToACertificate(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	s := startTLS(t, &tls.Config{ClientAuth: tls.RequestClientCert}, ca.pool())
	no := false
	bound := map[string]string{"tls.client.certificate.bound.access.tokens": "true"}
	s.importMore(
		issuer.Client{
			ClientID: "held", Secret: "held-secret", StandardFlowEnabled: &no, DirectAccessGrantsEnabled: true, Audience: []string{"rs"}, Attributes: bound,
		},
		issuer.Client{ClientID: "held-public", PublicClient: true, StandardFlowEnabled: &no, DirectAccessGrantsEnabled: true, Audience: []string{"rs"}, Attributes: bound},
	)
	mine, thief := ca.issue(pkix.Name{CommonName: "mine"}, nil), authority{t: t}.issue(pkix.Name{CommonName: "thief"}, nil)
	login := func(clientID string, header http.Header, certs ...tls.Certificate) (int, map[string]any) {
		form := url.Values{"grant_type": {"password"}, "username": {"alice"}, "password": {"pw"}, "scope": {"openid"}}
		if header == nil {
			form.Set("client_id", clientID)
		}
		status, _, answer := s.by(http.MethodPost, "token", form, header, certs...)
		return status, answer
	}

	if status, answer := login("held", basic("held")); status != http.StatusBadRequest || answer["error"] != "invalid_request" ||
		answer["error_description"] != "Client Certification missing for MTLS HoK Token Binding" {
		t.Errorf("without a certificate: %d %v", status, answer)
	}
	status, tokens := login("held", basic("held"), mine)
	if status != http.StatusOK || tokens["token_type"] != "Bearer" {
		t.Fatalf("%d %v", status, tokens)
	}
	access := tokens["access_token"].(string)
	cnf, _ := claimsOf(t, access)["cnf"].(map[string]any)
	if cnf["x5t#S256"] != thumbprintOf(mine) {
		t.Errorf("cnf %v, want %s", cnf, thumbprintOf(mine))
	}
	_, _, told := s.by(http.MethodPost, "token/introspect", url.Values{"token": {access}}, basic("rs"))
	if cnf, _ := told["cnf"].(map[string]any); told["active"] != true || cnf["x5t#S256"] != thumbprintOf(mine) {
		t.Errorf("introspection (§3.2): %v", told)
	}
	for name, tt := range map[string]struct {
		certs  []tls.Certificate
		status int
	}{
		"its own":   {[]tls.Certificate{mine}, http.StatusOK},
		"none":      {nil, http.StatusUnauthorized},
		"a thief's": {[]tls.Certificate{thief}, http.StatusUnauthorized},
	} {
		status, header, _ := s.by(http.MethodGet, "userinfo", nil, http.Header{"Authorization": {"Bearer " + access}}, tt.certs...)
		if status != tt.status || status != http.StatusOK && !strings.Contains(header.Get("WWW-Authenticate"), "invalid_token") {
			t.Errorf("UserInfo with %s: %d %s", name, status, header.Get("WWW-Authenticate"))
		}
	}

	_, public := login("held-public", nil, mine)
	refresh := func(tokens map[string]any, header http.Header, clientID string, cert tls.Certificate) (int, map[string]any) {
		form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {tokens["refresh_token"].(string)}}
		if header == nil {
			form.Set("client_id", clientID)
		}
		status, _, answer := s.by(http.MethodPost, "token", form, header, cert)
		return status, answer
	}
	if status, answer := refresh(public, nil, "held-public", thief); status != http.StatusBadRequest || answer["error"] != "invalid_grant" {
		t.Errorf("a public client's refresh token with a thief's (§4): %d %v", status, answer)
	}
	if status, answer := refresh(public, nil, "held-public", mine); status != http.StatusOK {
		t.Errorf("a public client's refresh token with its own (§4): %d %v", status, answer)
	}
	renewed := authority{t: t}.issue(pkix.Name{CommonName: "renewed"}, nil)
	status, answer := refresh(tokens, basic("held"), "", renewed)
	if status != http.StatusOK {
		t.Fatalf("a confidential client with its next certificate (§6.3): %d %v", status, answer)
	}
	if cnf, _ := claimsOf(t, answer["access_token"])["cnf"].(map[string]any); cnf["x5t#S256"] != thumbprintOf(renewed) {
		t.Errorf("cnf %v, want the next certificate", cnf)
	}
}

// TestMutualTLSIsAnnounced where there is any (RFC 8705 §3.3).
func TestMutualTLSIsAnnounced(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	for name, tt := range map[string]struct {
		s    *server
		want bool
	}{
		"with":    {startTLS(t, &tls.Config{ClientAuth: tls.RequestClientCert}, ca.pool()), true},
		"without": {startTLS(t, &tls.Config{}, nil), false},
	} {
		_, _, about := tt.s.by(http.MethodGet, "../../.well-known/openid-configuration", nil, nil)
		methods, _ := about["token_endpoint_auth_methods_supported"].([]any)
		if about["tls_client_certificate_bound_access_tokens"] != tt.want ||
			slices.Contains(methods, any("tls_client_auth")) != tt.want || slices.Contains(methods, any("self_signed_tls_client_auth")) != tt.want {
			t.Errorf("%s authorities: %v, %v", name, methods, about["tls_client_certificate_bound_access_tokens"])
		}
	}
}
