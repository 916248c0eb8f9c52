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
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"reflect"
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

// TestCertificatesByAlternativeName (RFC 8705 §2.1.2): the name is compared
// whole, and a client is known by one kind of name alone.
func TestCertificatesByAlternativeName(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	s := startTLS(t, &tls.Config{ClientAuth: tls.RequestClientCert}, ca.pool())
	var clients []issuer.Client
	for kind, name := range map[string]string{
		"dns": "a.example.com", "uri": "spiffe://example.com/a?x=%7E", "ip": "2001:db8::1", "email": "Ann@Example.com",
	} {
		c := service("by-"+kind, map[string]string{"tls_client_auth_san_" + kind: name})
		c.Secret, c.ClientAuthenticatorType = "", "client-x509"
		clients = append(clients, c)
	}
	s.importMore(clients...)
	uri := func(text string) *url.URL {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	for name, tt := range map[string]struct {
		client string
		change func(*x509.Certificate)
		good   bool
	}{
		"dns":                     {"by-dns", func(c *x509.Certificate) { c.DNSNames = []string{"b.example.com", "A.example.com"} }, true},
		"dns: another":            {"by-dns", func(c *x509.Certificate) { c.DNSNames = []string{"b.example.com"} }, false},
		"dns: a pattern":          {"by-dns", func(c *x509.Certificate) { c.DNSNames = []string{"*.example.com"} }, false},
		"dns: longer":             {"by-dns", func(c *x509.Certificate) { c.DNSNames = []string{"a.example.com.evil.example"} }, false},
		"dns: in the common name": {"by-dns", func(c *x509.Certificate) { c.Subject.CommonName = "a.example.com" }, false},
		"dns: as another kind":    {"by-dns", func(c *x509.Certificate) { c.EmailAddresses = []string{"a.example.com"} }, false},
		"uri":                     {"by-uri", func(c *x509.Certificate) { c.URIs = []*url.URL{uri("spiffe://example.com/a?x=%7E")} }, true},
		"uri: another":            {"by-uri", func(c *x509.Certificate) { c.URIs = []*url.URL{uri("spiffe://example.com/b")} }, false},
		"uri: longer":             {"by-uri", func(c *x509.Certificate) { c.URIs = []*url.URL{uri("spiffe://example.com/a/b")} }, false},
		"ip":                      {"by-ip", func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.ParseIP("2001:db8:0::1")} }, true},
		"ip: another":             {"by-ip", func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.ParseIP("2001:db8::2")} }, false},
		"email":                   {"by-email", func(c *x509.Certificate) { c.EmailAddresses = []string{"Ann@example.com"} }, true},
		"email: another case":     {"by-email", func(c *x509.Certificate) { c.EmailAddresses = []string{"ann@example.com"} }, false},
		"no name at all":          {"by-dns", nil, false},
	} {
		form := url.Values{"grant_type": {"client_credentials"}, "client_id": {tt.client}}
		status, _, answer := s.by(http.MethodPost, "token", form, nil, ca.issue(pkix.Name{CommonName: "x"}, tt.change))
		if tt.good != (status == http.StatusOK) || !tt.good && status != http.StatusUnauthorized {
			t.Errorf("%s: %d %v", name, status, answer)
		}
	}
	for name, attributes := range map[string]map[string]string{
		"none": {}, "two": {"tls_client_auth_san_dns": "a.example", "x509.subjectdn": "CN=a"}, "no address": {"tls_client_auth_san_ip": "a.example"},
	} {
		c := service("wrong", attributes)
		c.Secret, c.ClientAuthenticatorType = "", "client-x509"
		if err := s.iss.Import(t.Context(), issuer.Realm{Realm: "demo", Clients: []issuer.Client{c}}); err == nil {
			t.Errorf("%s: imported", name)
		}
	}
}

// Where requests of the tests come from.
const (
	trustedPeer = "10.0.0.7:4711"
	strangePeer = "10.0.0.8:4711"
)

// escaped is a certificate as URL-encoded PEM.
func escaped(certs ...*x509.Certificate) string {
	var b strings.Builder
	for _, c := range certs {
		b.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
	}
	return url.PathEscape(b.String())
}

// TestCertificatesInAProxysHeader are believed of a trusted proxy, in the field
// that it is said to write, and nowhere else (Keycloak's lookup providers of
// Envoy and NGINX; RFC 9440 §2.4, §4).
func TestCertificatesInAProxysHeader(t *testing.T) {
	t.Parallel()
	ca, other := newAuthority(t), newAuthority(t)
	between := ca.issue(pkix.Name{CommonName: "between"}, func(c *x509.Certificate) {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage, c.ExtKeyUsage = true, true, x509.KeyUsageCertSign, nil
	})
	below := authority{t, between.Leaf, between.PrivateKey.(*ecdsa.PrivateKey)}
	name := pkix.Name{CommonName: "certified"}
	good, long, wrong := ca.issue(name, nil).Leaf, below.issue(name, nil).Leaf, other.issue(name, nil).Leaf
	sequence := func(c *x509.Certificate) string { return ":" + base64.StdEncoding.EncodeToString(c.Raw) + ":" }
	envoy := func(c *x509.Certificate, more string) string {
		return `By=spiffe://a;Hash=x;Cert="` + escaped(c) + `"` + more
	}

	for header, cases := range map[string]map[string]struct {
		peer  string
		value http.Header
		good  bool
	}{
		issuer.HeaderEnvoy: {
			"":                    {trustedPeer, http.Header{"X-Forwarded-Client-Cert": {envoy(good, `;Subject="CN=a,b;c";URI=`)}}, true},
			"with its chain":      {trustedPeer, http.Header{"X-Forwarded-Client-Cert": {envoy(long, `;Chain="`+escaped(long, between.Leaf)+`"`)}}, true},
			"the chain alone":     {trustedPeer, http.Header{"X-Forwarded-Client-Cert": {`chain="` + escaped(long, between.Leaf) + `"`}}, true},
			"of another":          {trustedPeer, http.Header{"X-Forwarded-Client-Cert": {envoy(wrong, "")}}, false},
			"without its chain":   {trustedPeer, http.Header{"X-Forwarded-Client-Cert": {envoy(long, "")}}, false},
			"two elements":        {trustedPeer, http.Header{"X-Forwarded-Client-Cert": {envoy(good, "") + "," + envoy(good, "")}}, false},
			"two fields":          {trustedPeer, http.Header{"X-Forwarded-Client-Cert": {envoy(good, ""), envoy(good, "")}}, false},
			"two Certs":           {trustedPeer, http.Header{"X-Forwarded-Client-Cert": {envoy(wrong, `;cert="`+escaped(good)+`"`)}}, false},
			"inside a quote":      {trustedPeer, http.Header{"X-Forwarded-Client-Cert": {`Subject="a;Cert=` + escaped(good) + `"`}}, false},
			"by a stranger":       {strangePeer, http.Header{"X-Forwarded-Client-Cert": {envoy(good, "")}}, false},
			"by a stranger's say": {strangePeer, http.Header{"X-Forwarded-Client-Cert": {envoy(good, "")}, "X-Forwarded-For": {"10.0.0.7"}}, false},
			"in another's field":  {trustedPeer, http.Header{"Ssl-Client-Cert": {escaped(good)}}, false},
			"none":                {trustedPeer, nil, false},
			"a hash alone":        {trustedPeer, http.Header{"X-Forwarded-Client-Cert": {"Hash=" + strings.Repeat("ab", 32)}}, false},
		},
		issuer.HeaderNGINX: {
			"":              {trustedPeer, http.Header{"Ssl-Client-Cert": {escaped(good)}}, true},
			"of another":    {trustedPeer, http.Header{"Ssl-Client-Cert": {escaped(wrong)}}, false},
			"empty":         {trustedPeer, http.Header{"Ssl-Client-Cert": {""}}, false},
			"two fields":    {trustedPeer, http.Header{"Ssl-Client-Cert": {escaped(good), escaped(good)}}, false},
			"and more":      {trustedPeer, http.Header{"Ssl-Client-Cert": {"x" + escaped(good)}}, false},
			"garbage":       {trustedPeer, http.Header{"Ssl-Client-Cert": {"%zz"}}, false},
			"by a stranger": {strangePeer, http.Header{"Ssl-Client-Cert": {escaped(good)}}, false},
		},
		issuer.HeaderRFC9440: {
			"":                 {trustedPeer, http.Header{"Client-Cert": {sequence(good)}}, true},
			"with its chain":   {trustedPeer, http.Header{"Client-Cert": {sequence(long)}, "Client-Cert-Chain": {sequence(between.Leaf) + ", " + sequence(ca.cert)}}, true},
			"of another":       {trustedPeer, http.Header{"Client-Cert": {sequence(wrong)}}, false},
			"the chain alone":  {trustedPeer, http.Header{"Client-Cert-Chain": {sequence(good)}}, false},
			"two fields":       {trustedPeer, http.Header{"Client-Cert": {sequence(good), sequence(good)}}, false},
			"no sequence":      {trustedPeer, http.Header{"Client-Cert": {base64.StdEncoding.EncodeToString(good.Raw)}}, false},
			"an empty part":    {trustedPeer, http.Header{"Client-Cert": {sequence(long)}, "Client-Cert-Chain": {sequence(between.Leaf) + ","}}, false},
			"a chain too long": {trustedPeer, http.Header{"Client-Cert": {sequence(good)}, "Client-Cert-Chain": slices.Repeat([]string{sequence(ca.cert)}, 11)}, false},
			"by a stranger":    {strangePeer, http.Header{"Client-Cert": {sequence(good)}}, false},
		},
		"": {"no field is said to be": {trustedPeer, http.Header{"Client-Cert": {sequence(good)}, "Ssl-Client-Cert": {escaped(good)}}, false}},
	} {
		s := startWith(t, nil, func(c *issuer.Config) {
			c.ClientCAs, c.CertificateHeader, c.TrustedProxies = ca.pool(), strings.ToLower(header), []netip.Prefix{netip.MustParsePrefix("10.0.0.7/32")}
		})
		certified := service("certified", map[string]string{"x509.subjectdn": "CN=certified", "tls.client.certificate.bound.access.tokens": "true"})
		certified.Secret, certified.ClientAuthenticatorType = "", "client-x509"
		s.importMore(certified)
		for what, tt := range cases {
			status, answer := s.through(tt.peer, "token", url.Values{"grant_type": {"client_credentials"}, "client_id": {"certified"}}, tt.value)
			if tt.good != (status == http.StatusOK) || !tt.good && status != http.StatusUnauthorized {
				t.Errorf("%s %s: %d %v", header, what, status, answer)
			}
			if !tt.good || status != http.StatusOK {
				continue
			}
			cnf, _ := claimsOf(t, answer["access_token"])["cnf"].(map[string]any)
			leaf := good
			if what != "" {
				leaf = long
			}
			if sum := sha256.Sum256(leaf.Raw); cnf["x5t#S256"] != base64.RawURLEncoding.EncodeToString(sum[:]) {
				t.Errorf("%s %s: bound to %v", header, what, cnf)
			}
		}
	}
}

// through sends a form as from the peer of a connection.
func (s *server) through(peer, path string, form url.Values, header http.Header) (int, map[string]any) {
	s.t.Helper()
	req := httptest.NewRequest(http.MethodPost, s.oidc(path), strings.NewReader(form.Encode()))
	if header != nil {
		req.Header = header.Clone()
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.RemoteAddr = peer
	w := httptest.NewRecorder()
	s.iss.Handler().ServeHTTP(w, req)
	var answer map[string]any
	_ = json.Unmarshal(w.Body.Bytes(), &answer)
	return w.Code, answer
}

// TestMutualTLSElsewhere: where TLS asks for certificates at another host,
// discovery says so, and proofs may be of either (RFC 8705 §5, RFC 9449 §4.3).
func TestMutualTLSElsewhere(t *testing.T) {
	t.Parallel()
	const there = "https://mtls.example.com:8443"
	s := startWith(t, nil, func(c *issuer.Config) { c.MutualTLSURL = there })
	got := s.getJSON("/realms/demo/.well-known/openid-configuration")["mtls_endpoint_aliases"]
	protocol := there + "/realms/demo/protocol/openid-connect"
	want := any(map[string]any{
		"token_endpoint": protocol + "/token", "revocation_endpoint": protocol + "/revoke", "introspection_endpoint": protocol + "/token/introspect",
		"device_authorization_endpoint": protocol + "/auth/device", "userinfo_endpoint": protocol + "/userinfo",
		"pushed_authorization_request_endpoint": protocol + "/ext/par/request",
	})
	if !reflect.DeepEqual(got, want) {
		t.Errorf("aliases %v, want %v", got, want)
	}
	if _, said := start(t).getJSON("/realms/demo/.well-known/openid-configuration")["mtls_endpoint_aliases"]; said {
		t.Error("aliases without another host")
	}
	key := newProver(s)
	for target, want := range map[string]int{protocol + "/token": 200, s.oidc("token"): 200, "https://other.example.com/realms/demo/protocol/openid-connect/token": 400} {
		header := basic("svc")
		header.Set("DPoP", key.proof(http.MethodPost, "token", map[string]any{"htu": target}))
		if status, _, answer := s.call("token", url.Values{"grant_type": {"client_credentials"}}, header); status != want {
			t.Errorf("a proof of %s: %d %v", target, status, answer)
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
