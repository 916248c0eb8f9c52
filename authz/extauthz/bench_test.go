package extauthz

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/protobuf/proto"

	"github.com/tegata/tegata/authz/check"
	"github.com/tegata/tegata/authz/policy"
	"github.com/tegata/tegata/authz/verify"
	"github.com/tegata/tegata/internal/jose"
	"github.com/tegata/tegata/policies"
	"github.com/tegata/tegata/revocation"
)

// BenchmarkNewToken is a check of a token that was never seen before, from the
// bytes of the request to those of the answer: all of it but gRPC.
func BenchmarkNewToken(b *testing.B) {
	s, signer := decidingServer(b)
	requests := make([]string, b.N)
	for i := range requests {
		requests[i] = ordersRequest(b, signer)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for _, r := range requests {
		if len(s.check(b.Context(), r)) < 200 {
			b.Fatal("refused")
		}
	}
}

// BenchmarkKnownToken is the same for one that was.
func BenchmarkKnownToken(b *testing.B) {
	s, signer := decidingServer(b)
	r := ordersRequest(b, signer)
	b.ReportAllocs()
	for b.Loop() {
		s.check(b.Context(), r)
	}
}

const ordersIssuer = "https://login.test/realms/shop"

// decidingServer decides by the shipped policies, and trusts a signer's tokens.
func decidingServer(b *testing.B) (*Server, jose.Signer) {
	b.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	set, err := jose.NewKeySet(jose.PublicKey{ID: "k1", Algorithm: jose.ES256, Key: key.Public()})
	if err != nil {
		b.Fatal(err)
	}
	keys := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(set)
	}))
	b.Cleanup(keys.Close)
	verifier, err := verify.New(verify.Config{Issuers: []verify.Issuer{{
		Issuer: ordersIssuer, Audience: []string{"orders-api"}, JWKSURL: keys.URL, Types: []string{"JWT"},
	}}})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = verifier.Run(ctx) })
	b.Cleanup(func() {
		cancel()
		running.Wait()
	})
	for verifier.Ready() != nil {
		time.Sleep(time.Millisecond)
	}
	engine, err := policy.New(ctx, policy.Config{FS: policies.FS, Deadline: time.Minute})
	if err != nil {
		b.Fatal(err)
	}
	checker, err := check.New(check.Config{
		Verifier: verifier, Policy: engine, Revocations: revocation.NewSet(),
		Trust: func(string) revocation.Trust { return revocation.Fresh },
	})
	if err != nil {
		b.Fatal(err)
	}
	s, err := New(Config{Checker: checker})
	if err != nil {
		b.Fatal(err)
	}
	return s, jose.Signer{ID: "k1", Algorithm: jose.ES256, Key: key}
}

// ordersRequest asks with a new token of about 1 kB, shaped like Keycloak's.
func ordersRequest(b *testing.B, signer jose.Signer) string {
	claims, _ := json.Marshal(map[string]any{
		"iss": ordersIssuer, "aud": []string{"orders-api", "account"}, "sub": rand.Text(), "typ": "Bearer", "azp": "shop", "jti": "trrtcc:" + rand.Text(), "sid": rand.Text(),
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(), "rev": 0, "scope": "openid profile email orders:read", "acr": "1",
		"allowed-origins": []string{"https://shop.example.com"},
		"realm_access":    map[string]any{"roles": []string{"default-roles-shop", "offline_access", "uma_authorization"}},
		"resource_access": map[string]any{"account": map[string]any{"roles": []string{"manage-account", "manage-account-links", "view-profile"}}},
		"email_verified":  true, "name": "Alice Example", "preferred_username": "alice", "given_name": "Alice", "family_name": "Example", "email": "alice@example.com",
	})
	token, err := signer.Sign("JWT", claims)
	if err != nil {
		b.Fatal(err)
	}
	message, err := proto.Marshal(&authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{
			Id: "8431571293847651", Method: "GET", Path: "/orders/42", Host: "127.0.0.1:8000", Scheme: "http", Protocol: "HTTP/1.1",
			Headers: map[string]string{
				":authority": "127.0.0.1:8000", ":method": "GET", ":path": "/orders/42", ":scheme": "http",
				"authorization": "Bearer " + token, "x-forwarded-proto": "http", "x-request-id": "0b6d7d2c-4f65-4f3e-9b37-5d1c9a2f1e7a",
			},
		}},
	}})
	if err != nil {
		b.Fatal(err)
	}
	return string(message)
}
