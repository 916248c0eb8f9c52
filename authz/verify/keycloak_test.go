package verify

import (
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"

	"github.com/tegata/tegata/internal/jose"
)

// keycloakClaims is an access token of Keycloak 26.7 for a person, but for the
// audience: without a mapper it is "account".
const keycloakClaims = `{
	"exp": 1800000300, "iat": 1800000000, "auth_time": 1800000000,
	"jti": "onrtac:7d068d66-8ae4-f944-f87d-38f5f61b22e9",
	"iss": "https://id.example/realms/demo", "aud": ["orders-api", "account"],
	"sub": "13ce3fd0-ffdb-41a8-9bf9-ca24c1a35d22", "typ": "Bearer", "azp": "app1",
	"sid": "Ws6eKsJIoemHmEF93ENphUsg", "acr": "1", "allowed-origins": ["http://127.0.0.1:9999"],
	"realm_access": {"roles": ["default-roles-facts", "offline_access", "uma_authorization", "manager"]},
	"resource_access": {"account": {"roles": ["manage-account", "view-profile"]}, "orders-api": {"roles": ["writer"]}},
	"scope": "openid email profile", "email_verified": true, "name": "Alice Test",
	"preferred_username": "alice", "given_name": "Alice", "family_name": "Test", "email": "alice@example.com"
}`

// keycloakService is one of a service account.
const keycloakService = `{
	"exp": 1800000300, "iat": 1800000000, "jti": "trrtcc:7c3c9204-66d4-8f57-c4b2-50bc68bb3cb5",
	"iss": "https://id.example/realms/demo", "aud": ["orders-api", "account"],
	"sub": "f1008ded-64ab-440a-9e08-fefc4895c093", "typ": "Bearer", "azp": "app1", "acr": "1",
	"realm_access": {"roles": ["default-roles-facts"]}, "scope": "email profile", "clientHost": "127.0.0.1",
	"email_verified": false, "preferred_username": "service-account-app1", "clientAddress": "127.0.0.1", "client_id": "app1"
}`

// keycloak is a world that signs as Keycloak does, and the verifier that
// docs/issuers.md configures for it.
func keycloak(t *testing.T) (*world, *Verifier) {
	t.Helper()
	w := newWorld(t)
	w.keys = []jose.Signer{{ID: "65ABBAeUoeNmbtUc0M2KS2FQOkXEZn9Bqe63e8lGlBM", Algorithm: jose.RS256, Key: must(rsa.GenerateKey(rand.Reader, 2048))(t)}}
	return w, w.verifier(t, func(c *Config) {
		c.Issuers = []Issuer{{
			Issuer: home, Audience: []string{"orders-api"},
			Algorithms: []jose.Algorithm{jose.RS256}, Types: []string{"JWT"},
		}}
	})
}

func TestKeycloaksTokensAreRead(t *testing.T) {
	t.Parallel()
	w, v := keycloak(t)
	person := verified(t, v, w.sign(t, "JWT", keycloakClaims))
	r := person.Revocation
	if r.Issuer != home || r.ID != "onrtac:7d068d66-8ae4-f944-f87d-38f5f61b22e9" || r.Session != "Ws6eKsJIoemHmEF93ENphUsg" ||
		r.Subject != "13ce3fd0-ffdb-41a8-9bf9-ca24c1a35d22" || r.Client != "app1" || r.HasRev || !r.IssuedAt.Equal(start) {
		t.Errorf("what a revocation is matched against: got %+v", r)
	}
	if !slices.Equal(person.Scopes, []string{"openid", "email", "profile"}) {
		t.Errorf("got scopes %q", person.Scopes)
	}
	if service := verified(t, v, w.sign(t, "JWT", keycloakService)); service.Revocation.Session != "" || service.Revocation.Client != "app1" {
		t.Errorf("service account: got %+v", service.Revocation)
	}

	// The rules of docs/issuers.md.
	query, err := rego.New(rego.Query("data.p.allow"), rego.Module("p.rego", `package p

allow if {
	"manager" in input.token.claims.realm_access.roles
	"writer" in input.token.claims.resource_access["orders-api"].roles
	not input.token.claims.resource_access.billing
	input.token.claims.acr == "1"
	not input.token.binding
}`)).PrepareForEval(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	document := ast.NewObject(ast.Item(ast.StringTerm("token"), person.Document()))
	if result, err := query.Eval(t.Context(), rego.EvalParsedInput(document)); err != nil || !result.Allowed() {
		t.Errorf("got %v, %v", result, err)
	}
}

// TestKeycloaksOtherTokensAreRefused: they are signed with the same key.
func TestKeycloaksOtherTokensAreRefused(t *testing.T) {
	t.Parallel()
	w, v := keycloak(t)
	tests := []struct {
		name, typ, old, new string
		want                error
	}{
		{"no audience mapper", "JWT", `["orders-api", "account"]`, `"account"`, ErrAudience},
		{"ID token", "JWT", `"typ": "Bearer"`, `"typ": "ID"`, ErrType},
		{"refresh token", "JWT", `"typ": "Bearer"`, `"typ": "Refresh"`, ErrType},
		{"offline token", "JWT", `"typ": "Bearer"`, `"typ": "Offline"`, ErrType},
		{"logout token", "logout+jwt", `"typ": "Bearer"`, `"typ": "Logout"`, ErrType},
		{"DPoP token as bearer", "JWT", `"typ": "Bearer"`, `"typ": "DPoP", "cnf": {"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}`, ErrBinding},
		{"another realm", "JWT", `/realms/demo"`, `/realms/other"`, ErrIssuer},
	}
	for _, tt := range tests {
		payload := strings.Replace(keycloakClaims, tt.old, tt.new, 1)
		if payload == keycloakClaims {
			t.Fatalf("%s: nothing replaced", tt.name)
		}
		if _, err := v.Verify(t.Context(), w.sign(t, tt.typ, payload)); !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
		}
	}
}

// TestKeycloaksAnswersAreRead: introspection adds members of its own.
func TestKeycloaksAnswersAreRead(t *testing.T) {
	t.Parallel()
	w, o := newWorld(t), newOracle()
	claims := decode(t, []byte(keycloakClaims))
	for name, value := range map[string]any{"client_id": "app1", "username": "alice", "token_type": "Bearer"} {
		claims[name] = value
	}
	o.tokens["opaque"] = claims
	v := o.verifier(t, w.clock, nil)
	if got := verified(t, v, "opaque"); got.Revocation.Client != "app1" || !got.Expires.Equal(start.Add(5*time.Minute)) {
		t.Errorf("got %+v", got.Revocation)
	}
	claims["typ"], claims["token_type"] = "Refresh", "Refresh" // as it answers about refresh tokens
	o.tokens["refresh"] = claims
	if _, err := v.Verify(t.Context(), "refresh"); !errors.Is(err, ErrType) {
		t.Errorf("a refresh token: got %v", err)
	}
}
