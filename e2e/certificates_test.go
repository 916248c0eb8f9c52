package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tegata/tegata/internal/stack"
)

// certifiedRealm has a client that is known by its certificate (RFC 8705 §2.1).
const certifiedRealm = `
realm: certified
clients:
  - clientId: robot
    clientAuthenticatorType: client-x509
    standardFlowEnabled: false
    serviceAccountsEnabled: true
    attributes:
      tls_client_auth_san_dns: robot.example.com
      tls.client.certificate.bound.access.tokens: "true"
`

// TestCertificatesThroughProxies: NGINX and Envoy end TLS before the issuer and
// hand on the client's certificate as operating.md says. What clients write into
// the header themselves does not arrive.
func TestCertificatesThroughProxies(t *testing.T) {
	for name, proxy := range map[string]struct {
		header string
		start  func(t *testing.T, dir, address, issuer string) *stack.Process
		ready  func(t *testing.T)
	}{
		"NGINX": {"ssl-client-cert", nginxCertificates, func(t *testing.T) { nginx(t) }},
		"Envoy": {"x-forwarded-client-cert", envoyCertificates, func(t *testing.T) { binaries(t) }},
	} {
		t.Run(name, func(t *testing.T) {
			proxy.ready(t)
			trusted, stranger := newAuthority(t, "clients"), newAuthority(t, "strangers")
			dir, address := t.TempDir(), freeAddress(t)
			trusted.serve(t, dir)
			s := ownStack(t, func(c *stack.Config) {
				c.Envoy, c.More = "", [][]byte{[]byte(certifiedRealm)}
				c.Set["issuer.behind_proxy"] = "true"
				c.Set["issuer.mtls.header"] = proxy.header
				c.Set["issuer.mtls.client_ca_file"] = filepath.Join(dir, "clients.crt")
			})
			p := proxy.start(t, dir, address, strings.TrimPrefix(s.IssuerURL, "http://"))
			if err := p.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(p.Stop)

			named := func(a authority, name string) *tls.Certificate {
				c := a.sign(t, &x509.Certificate{
					Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
				})
				return &c
			}
			good := named(trusted, "robot.example.com")
			text := url.PathEscape(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: good.Leaf.Raw})))
			forged := http.Header{}
			forged.Set("ssl-client-cert", text)
			forged.Set("x-forwarded-client-cert", `Cert="`+text+`"`)
			for what, tt := range map[string]struct {
				shown  *tls.Certificate
				header http.Header
				want   int
			}{
				"its own":                           {good, nil, http.StatusOK},
				"another's":                         {named(trusted, "other.example.com"), nil, http.StatusUnauthorized},
				"a stranger's with its name":        {named(stranger, "robot.example.com"), nil, http.StatusUnauthorized},
				"none":                              {nil, nil, http.StatusUnauthorized},
				"none, and a header of one's own":   {nil, forged, http.StatusUnauthorized},
				"another's, and a header of one's":  {named(trusted, "other.example.com"), forged, http.StatusUnauthorized},
				"its own, and a header of nobody's": {good, http.Header{"Ssl-Client-Cert": {"x"}, "X-Forwarded-Client-Cert": {"Cert=x"}}, http.StatusOK},
			} {
				status, answer := certifiedToken(t, address, tt.shown, tt.header)
				if status != tt.want {
					t.Errorf("%s: %d %v, want %d", what, status, answer, tt.want)
				}
				if status != http.StatusOK {
					continue
				}
				if got := boundTo(t, answer["access_token"].(string)); got != x5t(good) {
					t.Errorf("%s: bound to %v", what, got)
				}
			}
		})
	}
}

// serve writes what a proxy needs that ends TLS.
func (a authority) serve(t *testing.T, dir string) {
	t.Helper()
	a.serveAt(t, dir, net.IPv4(127, 0, 0, 1))
}

// serveAt writes what a server needs at an address.
func (a authority) serveAt(t *testing.T, dir string, at net.IP) {
	t.Helper()
	server := a.sign(t, &x509.Certificate{IPAddresses: []net.IP{at}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	key, err := x509.MarshalPKCS8PrivateKey(server.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "clients.crt"), a.pem())
	writeFile(t, filepath.Join(dir, "server.crt"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Leaf.Raw})))
	writeFile(t, filepath.Join(dir, "server.key"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})))
}

// certifiedToken asks for a token, on a connection of its own.
func certifiedToken(t *testing.T, address string, shown *tls.Certificate, header http.Header) (int, map[string]any) {
	t.Helper()
	conf := &tls.Config{InsecureSkipVerify: true} // the proxy's certificate is not what is tested
	if shown != nil {
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return shown, nil } // whoever is asked for
	}
	transport := &http.Transport{TLSClientConfig: conf}
	defer transport.CloseIdleConnections()
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {"robot"}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost,
		"https://"+address+"/realms/certified/protocol/openid-connect/token", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	if header != nil {
		req.Header = header.Clone()
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // read only
	var answer map[string]any
	_ = json.NewDecoder(resp.Body).Decode(&answer)
	return resp.StatusCode, answer
}

// boundTo is the certificate that a token is bound to (RFC 8705 §3.1).
func boundTo(t *testing.T, token string) string {
	t.Helper()
	var claims struct {
		Confirmation struct {
			X5T string `json:"x5t#S256"`
		} `json:"cnf"`
	}
	part := strings.Split(token, ".")
	data, err := base64.RawURLEncoding.DecodeString(part[1])
	if err == nil {
		err = json.Unmarshal(data, &claims)
	}
	if err != nil {
		t.Fatal(err)
	}
	return claims.Confirmation.X5T
}

func nginxCertificates(t *testing.T, dir, address, issuer string) *stack.Process {
	health := freeAddress(t)
	file := filepath.Join(dir, "nginx.conf")
	writeFile(t, file, fmt.Sprintf(`
events {}
http {
    access_log off;
    client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/fastcgi; uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;
    server { listen %[4]s; location / { return 200; } }
    server {
        listen %[2]s ssl;
        ssl_certificate %[1]s/server.crt;
        ssl_certificate_key %[1]s/server.key;
        ssl_verify_client optional_no_ca;
        location / {
            proxy_pass http://%[3]s;
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header ssl-client-cert $ssl_client_escaped_cert;
        }
    }
}
`, dir, address, issuer, health))
	return &stack.Process{
		Name: "nginx", LogFile: filepath.Join(dir, "nginx.log"), ReadyURL: "http://" + health + "/",
		Args: []string{nginx(t), "-p", dir, "-c", file, "-g", "daemon off; master_process off; pid " + dir + "/pid; error_log stderr;"},
	}
}

func envoyCertificates(t *testing.T, dir, address, issuer string) *stack.Process {
	health := freeAddress(t)
	file := filepath.Join(dir, "envoy.yaml")
	hostPort := func(a string) string {
		host, number, _ := net.SplitHostPort(a)
		return fmt.Sprintf("{ socket_address: { address: %s, port_value: %s } }", host, number)
	}
	writeFile(t, file, fmt.Sprintf(`
admin: { address: %[4]s }
static_resources:
  listeners:
    - address: %[2]s
      filter_chains:
        - transport_socket:
            name: envoy.transport_sockets.tls
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
              common_tls_context:
                tls_certificates: [{ certificate_chain: { filename: %[1]s/server.crt }, private_key: { filename: %[1]s/server.key } }]
                validation_context: { trusted_ca: { filename: %[1]s/clients.crt }, trust_chain_verification: ACCEPT_UNTRUSTED }
          filters:
            - name: envoy.filters.network.http_connection_manager
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: tls
                forward_client_cert_details: SANITIZE_SET
                set_current_client_cert_details: { cert: true, chain: true, subject: true, uri: true, dns: true }
                http_filters:
                  - name: envoy.filters.http.router
                    typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }
                route_config: { virtual_hosts: [{ name: all, domains: ["*"], routes: [{ match: { prefix: / }, route: { cluster: issuer } }] }] }
  clusters:
    - name: issuer
      load_assignment: { cluster_name: issuer, endpoints: [{ lb_endpoints: [{ endpoint: { address: %[3]s } }] }] }
`, dir, hostPort(address), hostPort(issuer), hostPort(health)))
	return &stack.Process{
		Name: "envoy", LogFile: filepath.Join(dir, "envoy.log"), ReadyURL: "http://" + health + "/ready",
		Args: []string{binaries(t).envoy, "-c", file, "--use-dynamic-base-id", "--log-level", "warning", "--concurrency", "1"},
	}
}
