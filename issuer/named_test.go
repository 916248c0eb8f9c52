package issuer_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tegata/tegata/issuer"
)

// naming is a server with a client whose scopes have little, and allow more.
func naming(t *testing.T) (*server, *browser) {
	t.Helper()
	s := start(t)
	file := demoRealm()
	file.Clients = append(file.Clients,
		issuer.Client{
			ClientID: "naming", Secret: "naming-secret", RedirectURIs: []string{callback}, Audience: []string{"rs"},
			DefaultClientScopes: []string{"roles"}, OptionalClientScopes: []string{"profile", "email"},
		},
		issuer.Client{
			ClientID: "keycloaks", Secret: "keycloaks-secret", RedirectURIs: []string{callback}, Audience: []string{"rs"}, DefaultClientScopes: []string{},
			ProtocolMappers: []issuer.ProtocolMapper{{Name: "named", ProtocolMapper: "oidc-claims-param-token-mapper", Config: map[string]string{"id.token.claim": "true", "userinfo.token.claim": "true"}}},
		},
		issuer.Client{ClientID: "bare", Secret: "bare-secret", RedirectURIs: []string{callback}, Audience: []string{"rs"}, DefaultClientScopes: []string{}},
		issuer.Client{
			ClientID: "shy", Secret: "shy-secret", RedirectURIs: []string{callback}, Audience: []string{"rs"}, ConsentRequired: true,
			DefaultClientScopes: []string{"email"}, OptionalClientScopes: []string{"profile"},
		},
	)
	file.Users[0].RealmRoles = []string{"boss"}
	file.Users = append(file.Users, issuer.User{Username: "carol", Credentials: []issuer.Credential{{Type: "password", Value: "pw"}}})
	if err := s.iss.Import(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	b := newBrowser(t, s)
	b.login("app", "alice", "openid")
	return s, b
}

// askingClaims is an ordinary request with claims.
func askingClaims(clientID, scope, claims string) url.Values {
	query := authorize(clientID, scope)
	query.Set("claims", claims)
	return query
}

// told is what a client learns of a person by UserInfo and an ID token.
func (s *server) told(answer map[string]any) (info, id map[string]any) {
	s.t.Helper()
	if err := json.Unmarshal([]byte(s.userInfo(answer["access_token"].(string), "application/json")), &info); err != nil {
		s.t.Fatal(err)
	}
	return info, s.claims(answer["id_token"])
}

func (s *server) claims(token any) map[string]any {
	t, ok := s.t.(*testing.T)
	if !ok {
		s.t.Fatal("not a test")
	}
	return claimsOf(t, token)
}

// as gets a client its tokens, for a code or a refresh token.
func (s *server) as(clientID string, form url.Values) map[string]any {
	s.t.Helper()
	form.Set("grant_type", "refresh_token")
	if form.Has("code") {
		form.Set("grant_type", "authorization_code")
		form.Set("redirect_uri", callback)
		form.Set("code_verifier", verifier)
	}
	status, answer := s.post("token", clientID, clientID+"-secret", form)
	if status != http.StatusOK {
		s.t.Fatalf("no tokens: %d %v", status, answer)
	}
	return answer
}

// TestClaimsAreToldWhereTheyAreNamed: OpenID Connect Core §5.5. A client that
// could have had the scope may have one claim of it, where it wants it.
func TestClaimsAreToldWhereTheyAreNamed(t *testing.T) {
	t.Parallel()
	s, b := naming(t)
	for _, tt := range []struct {
		name, client, scope, claims string
		info, id                    map[string]any // of name, given_name, email, realm_access, zoneinfo
	}{
		{"essential, in UserInfo", "naming", "openid", `{"userinfo":{"name":{"essential":true}}}`, map[string]any{"name": "Alice Test"}, map[string]any{}},
		{
			"voluntary, in both", "naming", "openid", `{"userinfo":{"name":null},"id_token":{"email":null,"given_name":{"value":"Eve"}}}`,
			map[string]any{"name": "Alice Test"},
			map[string]any{"email": "alice@example.com", "given_name": "Alice"},
		},
		{"none", "naming", "openid", `{}`, map[string]any{}, map[string]any{}},
		{"nobody's, and what the person has not", "naming", "openid", `{"userinfo":{"shoe_size":{"essential":true},"zoneinfo":null},"other":{}}`, map[string]any{}, map[string]any{}},
		{"not for clients", "naming", "openid", `{"userinfo":{"realm_access":null},"id_token":{"realm_access":null}}`, map[string]any{}, map[string]any{}},
		{"of no scope of the client", "bare", "openid", `{"userinfo":{"name":{"essential":true}}}`, map[string]any{}, map[string]any{}},
		{
			"by Keycloak's mapper", "keycloaks", "openid", `{"userinfo":{"name":{"essential":true},"locale":null},"id_token":{"email":null}}`,
			map[string]any{"name": "Alice Test"},
			map[string]any{"email": "alice@example.com"},
		},
		{
			"beside a scope", "naming", "openid email", `{"userinfo":{"name":null}}`,
			map[string]any{"name": "Alice Test", "email": "alice@example.com"},
			map[string]any{"email": "alice@example.com"},
		},
	} {
		p := b.ask(askingClaims(tt.client, tt.scope, tt.claims))
		if p.location == nil {
			t.Errorf("%s: %d\n%s", tt.name, p.status, p.body)
			continue
		}
		tokens := s.as(tt.client, url.Values{"code": {p.location.Query().Get("code")}})
		refreshed := s.as(tt.client, url.Values{"refresh_token": {tokens["refresh_token"].(string)}})
		for _, answer := range []map[string]any{tokens, refreshed} { // it is the authorization's, as its scope is
			info, id := s.told(answer)
			for _, claim := range []string{"name", "given_name", "email", "realm_access", "zoneinfo"} {
				if d := cmp.Diff([]any{tt.info[claim], tt.id[claim]}, []any{info[claim], id[claim]}); d != "" {
					t.Errorf("%s: %s at UserInfo and in the ID token (-want +got):\n%s", tt.name, claim, d)
				}
			}
			access := s.claims(answer["access_token"])
			if access["name"] != nil || strings.Contains(answer["scope"].(string), "profile") {
				t.Errorf("%s: it is in the access token, or granted as a scope: %v, scope %v", tt.name, access, answer["scope"])
			}
		}
	}
}

// TestNamingAClaimNeedsConsent: what a person has not let a client have by a
// scope, it does not get by the name of a claim.
func TestNamingAClaimNeedsConsent(t *testing.T) {
	t.Parallel()
	s, b := naming(t)
	query := askingClaims("shy", "openid", `{"userinfo":{"name":{"essential":true}}}`)
	b.answer(b.ask(authorize("shy", "openid")), "accept") // only email
	p := b.ask(query)
	if !asksConsent(p) || !strings.Contains(p.body, `id="scope-profile"`) {
		t.Fatalf("not asked: %d\n%s", p.status, p.body)
	}
	silent := askingClaims("shy", "openid", query.Get("claims"))
	silent.Set("prompt", "none")
	if got := outcome(s, b.ask(silent), "s"); got != "interaction_required: " {
		t.Errorf("without a page: %q", got)
	}
	if got := outcome(s, b.answer(p, "cancel"), "s"); got != "access_denied: " {
		t.Errorf("refused: %q", got)
	}
	p = b.answer(b.ask(query), "accept")
	info, _ := s.told(s.as("shy", url.Values{"code": {p.location.Query().Get("code")}}))
	if info["name"] != "Alice Test" {
		t.Errorf("accepted: %v", info)
	}
	if got := outcome(s, b.ask(silent), "s"); got != "code" {
		t.Errorf("asked again: %q", got)
	}
	info, _ = s.told(s.as("shy", url.Values{"code": {b.ask(authorize("shy", "openid")).location.Query().Get("code")}}))
	if info["name"] != nil {
		t.Errorf("said without being asked: %v", info)
	}
}

// TestASubIsWhoItHasToBe: OpenID Connect Core §3.1.2.2, §5.5.1.
func TestASubIsWhoItHasToBe(t *testing.T) {
	t.Parallel()
	s, alice := naming(t)
	sub := s.claims(s.redeem(alice.login("app", "alice", "openid"))["id_token"])["sub"].(string)
	carol := newBrowser(t, s)
	carol.login("app", "carol", "openid")
	for _, tt := range []struct {
		name   string
		who    *browser
		claims string
		want   string
	}{
		{"hers", alice, `{"id_token":{"sub":{"value":"` + sub + `"}}}`, "code"},
		{"one of two", alice, `{"id_token":{"sub":{"values":["x","` + sub + `"]}}}`, "code"},
		{"whoever", alice, `{"id_token":{"sub":null}}`, "code"},
		{"another's", carol, `{"id_token":{"sub":{"value":"` + sub + `"}}}`, "login_required: "},
		{"nobody's", alice, `{"id_token":{"sub":{"value":"x"}}}`, "login_required: "},
		{"nobody's, at UserInfo", alice, `{"userinfo":{"sub":{"value":"x"}}}`, "login_required: "},
		{"no text", alice, `{"id_token":{"sub":{"value":1}}}`, "invalid_request: Invalid parameter: claims"},
	} {
		query := askingClaims("app", "openid", tt.claims)
		query.Set("prompt", "none")
		if got := outcome(s, tt.who.ask(query), "s"); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	query := askingClaims("app", "openid", `{"id_token":{"sub":{"value":"`+sub+`"}}}`)
	if got := outcome(s, carol.submit(carol.ask(query), "carol", "pw"), "s"); got != "login_required: " {
		t.Errorf("another logs in: %q", got)
	}
	if got := outcome(s, carol.submit(carol.ask(query), "alice", "pw"), "s"); got != "code" {
		t.Errorf("she logs in: %q", got)
	}
}
