package reference

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/lestrrat-go/jwx/v2/jwt"
)

const (
	testIssuer   = "https://issuer.example/realms/demo"
	testAudience = "orders-api"
)

// newServer is a Server and the private key of its issuer.
func newServer(t *testing.T) (*Server, jwk.Key) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := jwk.FromRaw(private)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]any{jwk.KeyIDKey: "k", jwk.AlgorithmKey: jwa.ES256} {
		if err := key.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	public, err := key.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	keys := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": []any{public}})
	}))
	t.Cleanup(keys.Close)
	s, err := New(t.Context(), testIssuer, testAudience, keys.URL)
	if err != nil {
		t.Fatal(err)
	}
	return s, key
}

func sign(t *testing.T, key jwk.Key, audience, scope string, expires time.Time) string {
	t.Helper()
	token, err := jwt.NewBuilder().Issuer(testIssuer).Audience([]string{audience}).Subject("s").Expiration(expires).
		Claim("scope", scope).Claim("client_id", "c").Build()
	if err != nil {
		t.Fatal(err)
	}
	signed, err := jwt.Sign(token, jwt.WithKey(jwa.ES256, key))
	if err != nil {
		t.Fatal(err)
	}
	return string(signed)
}

func request(method, path, token string) *auth.CheckRequest {
	headers := map[string]string{}
	if token != "" {
		headers["authorization"] = "Bearer " + token
	}
	return &auth.CheckRequest{Attributes: &auth.AttributeContext{Request: &auth.AttributeContext_Request{
		Http: &auth.AttributeContext_HttpRequest{Method: method, Path: path, Headers: headers},
	}}}
}

// TestDecidesAsTheShippedPolicySays: a comparison with a server that lets
// everything through, or nothing, would mean nothing.
func TestDecidesAsTheShippedPolicySays(t *testing.T) {
	t.Parallel()
	s, key := newServer(t)
	later := time.Now().Add(time.Hour)
	read := sign(t, key, testAudience, "profile orders:read", later)
	for _, c := range []struct {
		name, method, path, token string
		want                      int // 200 is let through
	}{
		{"its scope", "GET", "/orders", read, 200},
		{"its scope, a variable, a query", "GET", "/orders/7?full=1", read, 200},
		{"another scope", "POST", "/orders", read, 403},
		{"a prefix of a scope", "GET", "/orders", sign(t, key, testAudience, "orders:reader", later), 403},
		{"no such route", "GET", "/orders/7/lines", read, 403},
		{"no such method", "PATCH", "/orders", read, 403},
		{"another audience", "GET", "/orders", sign(t, key, "other", "orders:read", later), 401},
		{"expired", "GET", "/orders", sign(t, key, testAudience, "orders:read", time.Now().Add(-time.Minute)), 401},
		{"a broken signature", "GET", "/orders", read[:len(read)-8] + "AAAAAAAA", 401},
		{"no token", "GET", "/orders", "", 401},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			answer, err := s.Check(context.Background(), request(c.method, c.path, c.token))
			if err != nil {
				t.Fatal(err)
			}
			got := 200
			if denied := answer.GetDeniedResponse(); denied != nil {
				got = int(denied.GetStatus().GetCode())
			}
			if got != c.want {
				t.Errorf("got %d, want %d", got, c.want)
			}
		})
	}
}

func TestGivesTheHeadersOfThePolicy(t *testing.T) {
	t.Parallel()
	s, key := newServer(t)
	answer, err := s.Check(t.Context(), request("GET", "/orders", sign(t, key, testAudience, "orders:read", time.Now().Add(time.Hour))))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, h := range answer.GetOkResponse().GetHeaders() {
		got[h.GetHeader().GetKey()] = h.GetHeader().GetValue()
	}
	if got["x-tegata-subject"] != "s" || got["x-tegata-client"] != "c" {
		t.Errorf("headers %v, want the subject s and the client c", got)
	}
}
