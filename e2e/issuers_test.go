package e2e

import (
	"crypto/rand"
	"maps"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tegata/tegata/internal/stack"
)

// documented is what docs/issuers.md shows for Keycloak, the n-th of them,
// below authz.issuers; only addresses are others.
func documented(t *testing.T, n int, addresses ...string) string {
	t.Helper()
	page := readFile(t, filepath.Join("..", "docs", "issuers.md"))
	blocks := regexp.MustCompile("(?s)```yaml\nauthz:\n  issuers:\n(.*?)```").FindAllStringSubmatch(page, -1)
	if n >= len(blocks) {
		t.Fatalf("%d configurations in issuers.md", len(blocks))
	}
	return strings.NewReplacer(addresses...).Replace(blocks[n][1])
}

// keycloak is what an access token of Keycloak 26.7 says of a person who has
// logged in; it is signed with RS256 and has the type JWT.
func (f *foreign) keycloak(t *testing.T, changes map[string]any) string {
	t.Helper()
	now := time.Now().Unix()
	claims := map[string]any{
		"exp": now + 300, "iat": now, "auth_time": now - 1000, "jti": "onrtac:" + rand.Text(),
		"iss": f.url, "aud": []string{stack.Audience, "account"}, "sub": "13ce3fd0-ffdb-41a8-9bf9-ca24c1a35d22",
		"typ": "Bearer", "azp": "app1", "sid": "Ws6eKsJIoemHmEF93ENphUsg", "acr": "1",
		"allowed-origins": []string{"http://127.0.0.1:9999"},
		"realm_access":    map[string]any{"roles": []string{"default-roles-main", "offline_access", "manager"}},
		"resource_access": map[string]any{
			"account": map[string]any{"roles": []string{"view-profile"}}, stack.Audience: map[string]any{"roles": []string{"writer"}},
		},
		"scope": "openid email profile", "email_verified": true, "preferred_username": "alice", "email": "alice@example.com",
	}
	maps.Copy(claims, changes)
	return f.signRS256(t, "JWT", claims)
}

const metadataURL = "https://api.example/.well-known/oauth-protected-resource"

// TestSeveralIssuers: Tegata, a Keycloak as docs/issuers.md configures it, and
// one of opaque tokens, each believed in what is its own; and what a refusal
// says would help (RFC 6750 §3, RFC 9470 §3, RFC 9728 §5.1).
func TestSeveralIssuers(t *testing.T) {
	k, o := newForeign(t), newForeign(t)
	s := ownStack(t, func(c *stack.Config) {
		moreIssuers(
			t, c, documented(t, 0, "https://sso.example.com/realms/main", k.url),
			o.trusted(o.introspected(time.Minute, "")),
		)
		c.Set["authz.resource_metadata"] = metadataURL
		c.Set["authz.policy.dir"] = policyDir(t, `
import rego.v1

path := input.attributes.request.http.path

default allow := {"allowed": false}

allow := {"allowed": true, "headers": {"x-tegata-who": sprintf("%s %s %s", [input.token.subject, input.token.client, object.get(input.token, "session", "-")])}} if {
	path == "/who"
	input.token
}

allow if {
	path == "/roles"
	"manager" in input.token.claims.realm_access.roles
	"writer" in input.token.claims.resource_access["orders-api"].roles
}

allow := {"allowed": "orders:read" in input.token.scopes, "required_scopes": ["orders:read"]} if {
	path == "/scopes"
	input.token
}

allow := {"allowed": input.token.claims.acr == "gold", "step_up": {"acr_values": ["gold", "platinum"], "max_age": 300}} if path == "/transfer"
`)
	})
	mine, theirs, opaque := mustMint(t, s, "orders:read"), k.keycloak(t, nil), o.issue(nil)
	for name, tt := range map[string]struct{ token, who string }{
		"Tegata":   {mine, ` orders-service -`},
		"Keycloak": {theirs, "13ce3fd0-ffdb-41a8-9bf9-ca24c1a35d22 app1 Ws6eKsJIoemHmEF93ENphUsg"},
		"opaque":   {opaque, "mallory forge -"},
	} {
		a := ask(s, http.MethodGet, "/who", tt.token)
		wantOK(t, name, a)
		if got := echo(t, a).Headers["X-Tegata-Who"]; len(got) != 1 || !strings.HasSuffix(got[0], tt.who) {
			t.Errorf("%s: the policy saw %q", name, got)
		}
	}
	wantOK(t, "Keycloak's roles", ask(s, http.MethodGet, "/roles", theirs))
	if a := ask(s, http.MethodGet, "/roles", k.keycloak(t, map[string]any{"realm_access": nil})); a.status != http.StatusForbidden {
		t.Errorf("without a role: %v", a)
	}

	for name, token := range map[string]string{
		"an ID token":              k.keycloak(t, map[string]any{"typ": "ID"}),
		"a refresh token":          k.keycloak(t, map[string]any{"typ": "Refresh"}),
		"a logout token":           k.keycloak(t, map[string]any{"typ": "Logout"}),
		"without a mapper":         k.keycloak(t, map[string]any{"aud": "account"}),
		"Keycloak as Tegata":       k.keycloak(t, map[string]any{"iss": s.RealmURL}),
		"Keycloak as the opaque":   k.keycloak(t, map[string]any{"iss": o.url}),
		"the opaque as Keycloak":   o.keycloak(t, map[string]any{"iss": k.url}),
		"not its algorithm":        k.sign(t, func(h map[string]any) { h["typ"] = "JWT" }, nil),
		"not its type":             k.signRS256(t, "at+jwt", k.claims()),
		"a realm that is nobody's": k.keycloak(t, map[string]any{"iss": k.url + "2"}),
	} {
		wantRefused(t, name, ask(s, http.MethodGet, "/who", token), http.StatusUnauthorized, "invalid_token")
	}
	if n := k.questions(opaque); n != 0 {
		t.Errorf("Keycloak was shown another issuer's token %d times", n)
	}
	if n := o.questions(theirs); n != 0 {
		t.Errorf("the opaque issuer was shown Keycloak's token %d times", n)
	}

	const metadata = `, resource_metadata="` + metadataURL + `"`
	for _, tt := range []struct {
		what, path, token string
		status            int
		want              string
	}{
		{"no token (RFC 9728 §5.1)", "/transfer", "", 401, `Bearer realm="orders-api"` + metadata},
		{
			"no such token (RFC 6750 §3.1)", "/who", "x.y.z", 401,
			`Bearer realm="orders-api", error="invalid_token", error_description="the token is not valid here, or has expired"` + metadata,
		},
		{
			"a scope is missing (RFC 6750 §3.1)", "/scopes", theirs, 403,
			`Bearer realm="orders-api", error="insufficient_scope", error_description="the token lacks a scope", scope="orders:read"` + metadata,
		},
		{
			"a weak login (RFC 9470 §3)", "/transfer", theirs, 401,
			`Bearer realm="orders-api", error="insufficient_user_authentication", error_description="a stronger or fresher login is required", acr_values="gold platinum", max_age="300"` + metadata,
		},
		{"a strong login", "/transfer", k.keycloak(t, map[string]any{"acr": "gold"}), 200, ""},
		{"neither scope nor login would help", "/nowhere", theirs, 403, ""},
	} {
		a := ask(s, http.MethodGet, tt.path, tt.token)
		if got := strings.Join(a.header.Values("WWW-Authenticate"), "\n"); a.status != tt.status || got != tt.want {
			t.Errorf("%s: %d\ngot  %s\nwant %s", tt.what, a.status, got, tt.want)
		}
	}

	// Each issuer's revocations are its own affair: without Tegata's stream
	// Tegata's tokens are refused, Keycloak's pass.
	s.Issuer.Kill()
	eventually(t, 10*lease, "Tegata's tokens are refused", func() bool { return ask(s, http.MethodGet, "/who", mine).status == http.StatusServiceUnavailable })
	wantOK(t, "Keycloak's token", ask(s, http.MethodGet, "/who", theirs))
	wantOK(t, "a new one", ask(s, http.MethodGet, "/who", k.keycloak(t, nil)))
	wantOK(t, "an opaque one", ask(s, http.MethodGet, "/who", opaque))
	k.server.CloseClientConnections()
	k.server.Close()
	wantOK(t, "a new one, of a Keycloak that is away", ask(s, http.MethodGet, "/who", k.keycloak(t, nil)))
}

// TestKeycloakIsAsked: the configuration of docs/issuers.md for whom the
// lifetime of a token is too long.
func TestKeycloakIsAsked(t *testing.T) {
	k := newForeign(t)
	s := ownStack(t, func(c *stack.Config) {
		dir := t.TempDir()
		secret := filepath.Join(dir, "introspection.secret")
		writeFile(t, secret, askerSecret+"\n")
		onlyIssuers(t, c, documented(t, 1,
			"https://sso.example.com/realms/main/protocol/openid-connect/token/introspect", k.server.URL+"/introspect",
			"https://sso.example.com/realms/main", k.url,
			"client_id: orders-api", `client_id: "`+asker+`"`, "introspection.secret", secret, "ttl: 5s", "ttl: 1s"))
		c.Set["authz.policy.dir"] = policyDir(t, "import rego.v1\n\nallow if input.token.claims.preferred_username == \"alice\"\n")
	})
	// Its tokens are JWTs, and are asked about all the same.
	token := k.keycloak(t, nil)
	wantRefused(t, "one of which it knows nothing", ask(s, http.MethodGet, "/", token), http.StatusUnauthorized, "invalid_token")
	token = k.keycloak(t, nil)
	answer := k.claims()
	maps.Copy(answer, map[string]any{"active": true, "token_type": "Bearer", "username": "alice", "preferred_username": "alice"})
	k.mu.Lock()
	k.answers[token] = answer
	k.mu.Unlock()
	wantOK(t, "an active one", ask(s, http.MethodGet, "/", token))
	k.revoke(token)
	eventually(t, 20*time.Second, "it is refused", func() bool { return ask(s, http.MethodGet, "/", token).status != http.StatusOK })
	wantRefused(t, "revoked there", ask(s, http.MethodGet, "/", token), http.StatusUnauthorized, "invalid_token")
}
