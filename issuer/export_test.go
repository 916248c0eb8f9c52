package issuer_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tegata/tegata/issuer"
)

// exported is an untouched realm of Keycloak 26.7.3, called demo.
func exported(t *testing.T) issuer.Realm {
	t.Helper()
	text, err := os.ReadFile("testdata/keycloak-26.7.3-fresh.json")
	if err != nil {
		t.Fatal(err)
	}
	var file issuer.Realm
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	file.Realm = "demo"
	return file
}

// TestAnUntouchedRealmOfKeycloakIsImported, and what it has that is not here is
// said, not dropped in silence.
func TestAnUntouchedRealmOfKeycloakIsImported(t *testing.T) {
	t.Parallel()
	s := start(t)
	for range 2 {
		if err := s.iss.Import(t.Context(), exported(t)); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{
		"not imported", "account-console", "security-admin-console", "realm-management", "broker", "admin-cli",
		"role_list", "saml_organization", "AuthnContextClassRef", "organization", "Client IP Address",
	} {
		if !strings.Contains(s.log.String(), want) {
			t.Errorf("the log does not say %q", want)
		}
	}
	if status, _ := s.post("token", "", "", url.Values{"grant_type": {"password"}, "client_id": {"admin-cli"}, "username": {"alice"}, "password": {"pw"}}); status != http.StatusUnauthorized {
		t.Errorf("Keycloak's command line logs people in: %d", status)
	}
}

// TestTokensOfAnExportedRealmAreAsBefore: a person and a client of such a realm,
// as Keycloak exports them.
func TestTokensOfAnExportedRealmAreAsBefore(t *testing.T) {
	t.Parallel()
	s := start(t)
	file := exported(t)
	file.Clients = append(file.Clients, issuer.Client{
		ID: "0d1a9c5e-6f60-4b4c-8d6a-1f6f2c7a9b10", ClientID: "shop", Secret: "shop-secret", Protocol: "openid-connect",
		RootURL: "http://127.0.0.1:9999/", RedirectURIs: []string{"/cb"}, ClientAuthenticatorType: "client-secret",
		Attributes:           map[string]string{"realm_client": "false", "post.logout.redirect.uris": "http://127.0.0.1:9999/bye##+"},
		DefaultClientScopes:  []string{"web-origins", "acr", "profile", "roles", "basic", "email"},
		OptionalClientScopes: []string{"address", "phone", "organization", "offline_access", "microprofile-jwt"},
		ProtocolMappers: []issuer.ProtocolMapper{
			{Name: "nonce", ProtocolMapper: "oidc-nonce-backwards-compatible-mapper", Config: map[string]string{}},
			{Name: "state", ProtocolMapper: "oidc-session-state-mapper", Config: map[string]string{"access.token.claim": "true"}},
		},
	})
	file.Users = []issuer.User{{
		Username: "alice", Email: "alice@example.com", FirstName: "Alice", LastName: "Test", RealmRoles: []string{"default-roles-fresh"},
		Credentials: []issuer.Credential{{Type: "password", Value: "pw"}},
	}}
	if err := s.iss.Import(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	b := newBrowser(t, s)
	tokens := s.as("shop", url.Values{"code": {b.login("shop", "alice", "openid organization")}})
	access := s.claims(tokens["access_token"])
	for name, want := range map[string]any{
		"aud": "account", "azp": "shop", "acr": "1", "nonce": "n", "session_state": access["sid"], "name": "Alice Test", "preferred_username": "alice",
		"realm_access":    roles("default-roles-fresh", "offline_access", "uma_authorization"),
		"resource_access": map[string]any{"account": roles("manage-account", "manage-account-links", "view-profile")},
		"organization":    nil,
	} {
		if d := cmp.Diff(want, access[name]); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
	p := b.logout(url.Values{"id_token_hint": {tokens["id_token"].(string)}, "post_logout_redirect_uri": {"http://127.0.0.1:9999/bye"}})
	if p.location == nil || p.location.Path != "/bye" {
		t.Errorf("after logout: %d %v", p.status, p.location)
	}
}

func TestAnExportedClientThatCannotBeIsRefused(t *testing.T) {
	t.Parallel()
	s := start(t)
	for want, c := range map[string]issuer.Client{
		"masked":                   {Secret: "**********"},
		"implicit":                 {ImplicitFlowEnabled: true},
		"\"saml\"":                 {Protocol: "saml"},
		"surrogateAuthRequired":    {SurrogateAuthRequired: true},
		"FlowBindingOverrides":     {AuthenticationFlowBindingOverride: map[string]string{"browser": "x"}},
		"wildcard":                 {RedirectURIs: []string{"https://a.example/*"}},
		"\"/cb\" is not absolute,": {RedirectURIs: []string{"/cb"}},
	} {
		c.ClientID = "c"
		err := s.iss.Import(t.Context(), issuer.Realm{Realm: "x", Clients: []issuer.Client{c}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want an error with %q", c, err, want)
		}
	}
}

// TestPeopleOfAnExportKeepIDAndPassword: sub is what APIs know them by.
func TestPeopleOfAnExportKeepIDAndPassword(t *testing.T) {
	t.Parallel()
	s := start(t)
	const id = "3f2b9c1e-0000-4000-8000-000000000001"
	file := demoRealm()
	file.Users = []issuer.User{{
		ID: id, Username: "erin", CreatedTimestamp: 1795822263810, RealmRoles: []string{"boss"},
		Credentials: []issuer.Credential{{ // "pw", by Keycloak 26.7.3
			Type:           "password",
			SecretData:     `{"value":"iUzx3LWZYs2hBl4S56W3bMsBcCh+s1/BHaUmdTJ+8J8=","salt":"1uTzein1zv0CF0ODFfgLhg==","additionalParameters":{}}`,
			CredentialData: `{"hashIterations":5,"algorithm":"argon2","additionalParameters":{"hashLength":["32"],"memory":["7168"],"type":["id"],"version":["1.3"],"parallelism":["1"]}}`,
		}},
	}}
	for range 2 {
		if err := s.iss.Import(t.Context(), file); err != nil {
			t.Fatal(err)
		}
	}
	if sub := s.claims(s.redeem(newBrowser(t, s).login("app", "erin", "openid"))["access_token"])["sub"]; sub != id {
		t.Errorf("sub %v", sub)
	}
	for want, change := range map[string]func(*issuer.User){
		"another id":      func(u *issuer.User) { u.ID = "3f2b9c1e-0000-4000-8000-000000000002" },
		"requiredActions": func(u *issuer.User) { u.RequiredActions = []string{"UPDATE_PASSWORD"} },
		"totp":            func(u *issuer.User) { u.TOTP = true },
		"argon2id": func(u *issuer.User) {
			u.Credentials = []issuer.Credential{{Type: "password", SecretData: "{}", CredentialData: "{}"}}
		},
		"a password": func(u *issuer.User) {
			u.Credentials = []issuer.Credential{{Type: "otp", SecretData: "{}", CredentialData: "{}"}}
		},
	} {
		changed := file
		changed.Users = []issuer.User{file.Users[0]}
		change(&changed.Users[0])
		if err := s.iss.Import(t.Context(), changed); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want an error with %q", err, want)
		}
	}
}
