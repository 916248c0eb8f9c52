package extauthz

import (
	"context"
	"encoding/base64"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/protobuf/proto"

	"github.com/tegata/tegata/authz/check"
	"github.com/tegata/tegata/authz/policy"
	"github.com/tegata/tegata/authz/verify"
	"github.com/tegata/tegata/revocation"
)

// skeptic takes no token, believer every one: these policies were written for
// a server that knows nothing of tokens.
type (
	skeptic  struct{}
	believer struct{ skeptic }
)

func (skeptic) Nonce() string             { return "" }
func (skeptic) ProofAlgorithms() []string { return nil }

func (skeptic) VerifyBound(context.Context, verify.Presented) (*verify.Token, error) {
	return nil, verify.ErrIssuer
}

func (believer) VerifyBound(context.Context, verify.Presented) (*verify.Token, error) {
	return new(verify.Token), nil
}

// TestPoliciesOfThePluginRunUnchanged: policies in the ways that authors of the
// OPA-Envoy plugin write them decide as they did there, evaluated and remembered.
func TestPoliciesOfThePluginRunUnchanged(t *testing.T) {
	t.Parallel()
	type http = authv3.AttributeContext_HttpRequest
	type ask struct {
		http   *http
		change func(*authv3.AttributeContext)
		want   int // HTTP status of a refusal; 0: allowed
	}
	header := func(method, path string, headers map[string]string) *http {
		if headers == nil {
			headers = map[string]string{}
		}
		return &http{Method: method, Path: path, Host: "api.test", Headers: headers}
	}
	user := func(name, method, path string) *http { return header(method, path, map[string]string{"x-user": name}) }
	pay := func(body string) *http {
		h := header("POST", "/pay", map[string]string{"content-type": "application/json"})
		h.Body = body
		return h
	}
	bearer := func(claims string) *http {
		b64 := base64.RawURLEncoding.EncodeToString
		token := b64([]byte(`{"alg":"none"}`)) + "." + b64([]byte(claims)) + "." + b64([]byte("s"))
		return header("GET", "/", map[string]string{"authorization": "Bearer " + token})
	}
	from := func(principal string, port uint32) func(*authv3.AttributeContext) {
		return func(a *authv3.AttributeContext) {
			a.Source = &authv3.AttributeContext_Peer{Principal: principal}
			a.Destination = &authv3.AttributeContext_Peer{Address: &corev3.Address{Address: &corev3.Address_SocketAddress{
				SocketAddress: &corev3.SocketAddress{Address: "10.0.0.1", PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: port}},
			}}}
		}
	}
	for name, asks := range map[string][]ask{
		"boolean": {
			{http: header("GET", "/any", nil)},
			{http: header("HEAD", "/", nil)},
			{http: header("POST", "/feedback", nil)},
			{http: header("POST", "/other", nil), want: 403},
			{http: header("DELETE", "/feedback", nil), want: 403},
		},
		"roles": {
			{http: user("ana", "GET", "/articles/7")},
			{http: user("ana", "POST", "/articles"), want: 403},
			{http: user("bo", "POST", "/articles")},
			{http: user("bo", "DELETE", "/articles/7")},
			{http: user("bo", "DELETE", "/users/7"), want: 403},
			{http: user("nobody", "GET", "/articles"), want: 403},
		},
		"object": {
			{http: header("GET", "/", nil), want: 302},
			{http: header("GET", "/", map[string]string{"x-session-user": "ana"})},
		},
		"query": {
			{http: header("GET", "/search?q=tea", nil)},
			{http: header("GET", "/search?q=tea&scope=shop", nil)},
			{http: header("GET", "/search?q=tea&scope=shop&scope=all", nil), want: 403},
			{http: header("GET", "/search?q=", nil), want: 403},
			{http: header("GET", "/search", nil), want: 403},
			{http: header("GET", "/search?q=a&q=b", nil), want: 403},
		},
		"body": {
			{http: pay(`{"amount": 100, "currency": "JPY"}`)},
			{http: pay(`{"amount": 101, "currency": "JPY"}`), want: 403},
			{http: pay(`{"amount": 1, "currency": "XXX"}`), want: 403},
			{http: pay(`{"amount": 1`), want: 403},
			{http: pay(``), want: 403},
		},
		"jwt": {
			{http: bearer(`{"permissions": ["orders", "x"]}`)},
			{http: bearer(`{"permissions": ["x"]}`), want: 403},
			{http: bearer(`{}`), want: 403},
			{http: header("GET", "/", nil), want: 403},
		},
		"principal": {
			{http: header("GET", "/", nil), change: from("spiffe://mesh.example/ns/shop/sa/web", 8443)},
			{http: header("GET", "/", nil), change: from("spiffe://mesh.example/ns/shop/sa/web", 8080), want: 403},
			{http: header("GET", "/", nil), change: from("spiffe://mesh.example/ns/other/sa/web", 8443), want: 403},
			{http: header("GET", "/", nil), want: 403},
		},
		"reasons": {
			{http: header("GET", "/", map[string]string{"x-tenant": "a", "x-day": "mon"})},
			{http: header("GET", "/", map[string]string{"x-tenant": "a", "x-day": "sun"}), want: 409},
			{http: header("GET", "/", nil), want: 409},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			plain, remembering := pluginServer(t, name, skeptic{}), pluginServer(t, name, believer{})
			for i, a := range asks {
				attributes := &authv3.AttributeContext{Request: &authv3.AttributeContext_Request{Http: a.http}}
				if a.change != nil {
					a.change(attributes)
				}
				message, err := proto.Marshal(&authv3.CheckRequest{Attributes: attributes})
				if err != nil {
					t.Fatal(err)
				}
				// Evaluated; and if there is a token, remembered.
				for _, s := range []*Server{plain, remembering, remembering} {
					if got := int(s.ask(t, string(message)).GetDeniedResponse().GetStatus().GetCode()); got != a.want {
						t.Errorf("request %d: %d, want %d", i, got, a.want)
					}
				}
			}
		})
	}
}

// pluginServer decides by one policy of testdata/plugin.
func pluginServer(t *testing.T, name string, tokens check.Verifier) *Server {
	t.Helper()
	rego, err := os.ReadFile(filepath.Join("testdata", "plugin", name+".rego"))
	if err != nil {
		t.Fatal(err)
	}
	engine, err := policy.New(t.Context(), policy.Config{FS: fstest.MapFS{"p.rego": {Data: rego}}, Deadline: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	checker, err := check.New(check.Config{
		Verifier: tokens, Policy: engine, LeaveTokens: true, Revocations: revocation.NewSet(),
		Trust: func(string) revocation.Trust { return revocation.Fresh },
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Config{Checker: checker})
	if err != nil {
		t.Fatal(err)
	}
	return s
}
