package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/lestrrat-go/jwx/v2/jwt"

	"github.com/tegata/tegata/internal/stack"
)

// localIssuer signs tokens of Keycloak's size with a key of its own, for
// -tegata=false: to measure the others where Tegata cannot run, or to compare
// machines.
func localIssuer() (issuer, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return issuer{}, err
	}
	key, err := jwk.FromRaw(private)
	if err != nil {
		return issuer{}, err
	}
	for name, value := range map[string]any{jwk.KeyIDKey: "bench", jwk.AlgorithmKey: jwa.ES256, jwk.KeyUsageKey: "sig"} {
		if err := key.Set(name, value); err != nil {
			return issuer{}, err
		}
	}
	public, err := key.PublicKey()
	if err != nil {
		return issuer{}, err
	}
	jwks, err := json.Marshal(map[string]any{"keys": []any{public}})
	if err != nil {
		return issuer{}, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return issuer{}, err
	}
	server := http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(jwks)
	})}
	go func() { _ = server.Serve(l) }() // lives as long as the benchmark
	i := issuer{url: "http://" + l.Addr().String() + "/realms/demo", audience: stack.Audience, jwksURL: "http://" + l.Addr().String() + "/jwks"}
	i.mint = func(context.Context) (string, error) {
		now := time.Now()
		b := jwt.NewBuilder().Issuer(i.url).Audience([]string{i.audience}).Subject(rand.Text()).JwtID("trrtcc:" + rand.Text()).
			IssuedAt(now).Expiration(now.Add(time.Hour))
		for k, v := range keycloakClaims() {
			b = b.Claim(k, v)
		}
		t, err := b.Build()
		if err != nil {
			return "", fmt.Errorf("building a token: %w", err)
		}
		signed, err := jwt.Sign(t, jwt.WithKey(jwa.ES256, key))
		return string(signed), err
	}
	return i, nil
}

// keycloakClaims are what Keycloak puts into an access token besides.
func keycloakClaims() map[string]any {
	return map[string]any{
		"typ": "Bearer", "azp": "orders-service", "acr": "1", "scope": "orders:read orders:write profile email",
		"sid": rand.Text(), "email_verified": true, "preferred_username": "service-account-orders-service",
		"name": "Service Account", "email": "orders-service@example.com",
		"realm_access":    map[string]any{"roles": []string{"default-roles-demo", "offline_access", "uma_authorization"}},
		"resource_access": map[string]any{"account": map[string]any{"roles": []string{"manage-account", "manage-account-links", "view-profile"}}},
		"allowed-origins": []string{"https://orders.example.com"},
		"clientHost":      "10.1.2.3", "clientAddress": "10.1.2.3", "client_id": "orders-service",
	}
}
