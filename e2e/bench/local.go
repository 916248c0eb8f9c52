package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
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
	handler := http.NewServeMux()
	handler.HandleFunc("/jwks", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(jwks) })
	handler.HandleFunc("/token", anyToken)
	server := http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: handler}
	go func() { _ = server.Serve(l) }() // lives as long as the benchmark
	root := "http://" + l.Addr().String()
	i := issuer{url: root + "/realms/demo", audience: stack.Audience, jwksURL: root + "/jwks", tokenURL: root + "/token"}
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

// anyToken is a token endpoint for those who only need to have been at one:
// authz, before it asks this program for revocations.
func anyToken(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"access_token":"bench","token_type":"Bearer","expires_in":36000}`)
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
