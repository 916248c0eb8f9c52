package issuer_test

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tegata/tegata/internal/jose"
	"github.com/tegata/tegata/issuer"
)

// keyServer serves a key set, as an issuer's jwks_uri does.
func keyServer(t *testing.T, jwks map[string]any) string {
	t.Helper()
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(jwks)
	}))
	t.Cleanup(web.Close)
	return web.URL
}

// TestAssertionsForPeople (RFC 7523 §2.1, §3, §3.1).
func TestAssertionsForPeople(t *testing.T) {
	t.Parallel()
	s := start(t)
	key, jwks := signer(t)
	stranger, _ := signer(t)
	no := false
	trusted := map[string]string{
		"oauth2.jwt.authorization.grant.enabled": "true",
		"oauth2.jwt.authorization.grant.issuers": "https://idp.example " + keyServer(t, jwks),
	}
	s.importMore(
		issuer.Client{
			ClientID: "agent", Secret: "agent-secret", StandardFlowEnabled: &no, Audience: []string{"rs"},
			DefaultClientScopes: []string{"profile"}, OptionalClientScopes: []string{"offline_access"}, Attributes: trusted,
		},
		issuer.Client{
			ClientID: "agent2", Secret: "agent2-secret", StandardFlowEnabled: &no, OptionalClientScopes: []string{"offline_access"},
			Attributes: map[string]string{"oauth2.jwt.authorization.grant.enabled": "true"},
		},
	)
	const absent = "-"
	sign := func(k jose.Signer, typ string, change map[string]any) string {
		now := s.now().Unix()
		claims := map[string]any{
			"iss": "https://idp.example", "sub": "alice", "aud": s.base + "/realms/demo", "jti": rand.Text(), "iat": now, "exp": now + 60,
		}
		for name, v := range change {
			if claims[name] = v; v == absent {
				delete(claims, name)
			}
		}
		data, err := json.Marshal(claims)
		if err != nil {
			t.Fatal(err)
		}
		compact, err := k.Sign(typ, data)
		if err != nil {
			t.Fatal(err)
		}
		return compact
	}
	with := func(change map[string]any) string { return sign(key, "JWT", change) }
	ask := func(clientID, assertion string) (int, map[string]any) {
		return s.post("token", clientID, clientID+"-secret", url.Values{
			"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {assertion}, "scope": {"openid offline_access"},
		})
	}

	once := with(nil)
	status, answer := ask("agent", once)
	if status != http.StatusOK || answer["refresh_token"] != nil || answer["id_token"] != nil || answer["scope"] != "openid profile" {
		t.Fatalf("%d %v, want an access token alone", status, answer)
	}
	claims := claimsOf(t, answer["access_token"])
	if claims["preferred_username"] != "alice" || claims["azp"] != "agent" || claims["acr"] != "0" || claims["auth_time"] != nil ||
		!strings.HasPrefix(claims["jti"].(string), "onrtag:") {
		t.Errorf("claims %v", claims)
	}
	if !s.active(answer["access_token"]) {
		t.Error("the token is not active")
	}
	if status, answer := ask("agent", with(map[string]any{"sub": claims["sub"], "aud": s.oidc("token")})); status != http.StatusOK || claimsOf(t, answer["access_token"])["sub"] != claims["sub"] {
		t.Errorf("by user id, for the token endpoint: %d %v", status, answer)
	}

	for name, tt := range map[string]struct{ assertion, want string }{
		"used again (§3 7)":         {once, "Token reuse detected"},
		"for somebody else (§3 3)":  {with(map[string]any{"aud": "https://other.example"}), "Invalid token audience"},
		"for others too":            {with(map[string]any{"aud": []string{s.base + "/realms/demo", "https://other.example"}}), "Invalid token audience"},
		"expired (§3 4)":            {with(map[string]any{"iat": 1, "exp": 2}), "Token is not active"},
		"without an end (§3 4)":     {with(map[string]any{"exp": absent}), "exp is missing"},
		"without a jti":             {with(map[string]any{"jti": absent}), "jti is missing or too long"},
		"of too long a life":        {with(map[string]any{"iat": s.now().Add(-time.Hour).Unix(), "exp": s.now().Add(time.Hour).Unix()}), "Token is not active"},
		"not yet (§3 5)":            {with(map[string]any{"nbf": s.now().Add(time.Hour).Unix()}), "Token is not active"},
		"without a subject (§3 2)":  {with(map[string]any{"sub": absent}), "Missing claim: sub"},
		"about nobody":              {with(map[string]any{"sub": "nosuch"}), "User not found"},
		"about somebody disabled":   {with(map[string]any{"sub": "bob"}), "User disabled"},
		"of a stranger (§3 1)":      {with(map[string]any{"iss": "https://evil.example"}), "No trusted issuer found for provided assertion"},
		"of a stranger's key (§3)":  {sign(stranger, "JWT", nil), "Invalid signature"},
		"an access token, disguise": {sign(key, "at+jwt", nil), "Invalid signature"},
		"not a token":               {"x", "The assertion is malformed"},
	} {
		status, answer := ask("agent", tt.assertion)
		if status != http.StatusBadRequest || answer["error"] != "invalid_grant" || answer["error_description"] != tt.want {
			t.Errorf("%s: %d %v, want %q", name, status, answer, tt.want)
		}
	}
	if _, answer := ask("agent2", with(nil)); answer["error"] != "invalid_grant" || answer["error_description"] != "No trusted issuer found for provided assertion" {
		t.Errorf("a client that trusts nobody: %v", answer)
	}
	if _, answer := ask("app", with(nil)); answer["error"] != "unauthorized_client" {
		t.Errorf("a client that may not: %v", answer)
	}
	if _, answer := ask("agent", ""); answer["error_description"] != "Missing parameter:assertion" {
		t.Errorf("no assertion: %v", answer)
	}
}

// TestAssertionIssuersAreChecked when the client is imported.
func TestAssertionIssuersAreChecked(t *testing.T) {
	t.Parallel()
	s := start(t)
	for name, c := range map[string]issuer.Client{
		"no pair":         {ClientID: "x", Attributes: map[string]string{"oauth2.jwt.authorization.grant.issuers": "https://idp.example"}},
		"no web address":  {ClientID: "x", Attributes: map[string]string{"oauth2.jwt.authorization.grant.issuers": "https://idp.example file:///keys"}},
		"a public client": {ClientID: "x", PublicClient: true, Attributes: map[string]string{"oauth2.jwt.authorization.grant.enabled": "true"}},
	} {
		file := demoRealm()
		file.Clients = append(file.Clients, c)
		if err := s.iss.Import(t.Context(), file); err == nil {
			t.Errorf("%s: imported", name)
		}
	}
}
