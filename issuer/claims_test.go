package issuer_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tegata/tegata/issuer"
)

// staffed is the demo realm with roles, groups and mappers.
func staffed() issuer.Realm {
	file := demoRealm()
	file.Roles = issuer.Roles{Realm: []issuer.Role{{Name: "boss", Composites: issuer.Composites{Client: map[string][]string{"rs": {"write"}}}}}}
	file.Groups = []issuer.Group{{Name: "staff", SubGroups: []issuer.Group{{Name: "cooks", ClientRoles: map[string][]string{"gw": {"pass"}}}}}}
	alice := &file.Users[0]
	alice.RealmRoles, alice.Groups = []string{"boss"}, []string{"/staff/cooks"}
	alice.Attributes = map[string][]string{"tenant": {"t1"}}
	app2 := &file.Clients[1] // names no client scopes
	app2.Audience = nil
	app2.Attributes = map[string]string{"user.info.response.signature.alg": "RS256"}
	app2.ProtocolMappers = []issuer.ProtocolMapper{{
		Name: "tenant", ProtocolMapper: "oidc-usermodel-attribute-mapper",
		Config: map[string]string{"user.attribute": "tenant", "claim.name": "tenant", "access.token.claim": "true", "userinfo.token.claim": "true"},
	}}
	file.Users = append(file.Users, issuer.User{
		Username: "service-account-svc", ServiceAccountClientID: "svc", RealmRoles: []string{"robot"}, ClientRoles: map[string][]string{"gw": {"pass"}},
	})
	for i := range file.Clients {
		if file.Clients[i].ClientID == "svc" {
			file.Clients[i].DefaultClientScopes = append(file.Clients[i].DefaultClientScopes, "roles")
		}
	}
	return file
}

// roles makes the claim of roles as JSON has it.
func roles(names ...any) map[string]any { return map[string]any{"roles": names} }

// Keycloak's default client scopes, roles and mappers, from the file to the
// token, UserInfo and introspection.
func TestARealmFilesRolesAndMappers(t *testing.T) {
	t.Parallel()
	s := start(t)
	for range 2 { // the second time nothing is new
		if err := s.iss.Import(t.Context(), staffed()); err != nil {
			t.Fatal(err)
		}
	}
	code := newBrowser(t, s).login("app2", "alice", "openid")
	status, answer := s.post("token", "app2", "app2-secret", url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {callback}, "code_verifier": {verifier},
	})
	if status != http.StatusOK || answer["scope"] != "openid profile email" {
		t.Fatalf("got %d, scope %v", status, answer["scope"])
	}
	token := claimsOf(t, answer["access_token"])
	want := map[string]any{
		"aud": []any{"gw", "rs"}, "realm_access": roles("boss"), "tenant": "t1", "name": "Alice Test",
		"resource_access": map[string]any{"gw": roles("pass"), "rs": roles("write")},
	}
	for name, value := range want {
		if diff := cmp.Diff(value, token[name]); diff != "" {
			t.Errorf("access token: %s (-want +got):\n%s", name, diff)
		}
	}

	info := s.userInfo(answer["access_token"].(string), "application/jwt") // OpenID Connect Core §5.3.2
	claims := claimsOf(t, info)
	for name, value := range map[string]any{
		"iss": s.base + "/realms/demo", "aud": "app2", "sub": token["sub"], "tenant": "t1", "email": "alice@example.com", "realm_access": nil,
	} {
		if diff := cmp.Diff(value, claims[name]); diff != "" {
			t.Errorf("UserInfo: %s (-want +got):\n%s", name, diff)
		}
	}
	if status, _ := s.post("token/introspect", "rs", "rs-secret", url.Values{"token": {info}}); status != http.StatusOK || s.active(info) {
		t.Errorf("UserInfo is taken for a token")
	}

	// What has been taken away since is not said any more (RFC 7662 §2.2).
	file := staffed()
	file.Users[0].RealmRoles, file.Users[0].FirstName = nil, "Alicia"
	if err := s.iss.Import(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	_, now := s.post("token/introspect", "rs", "rs-secret", url.Values{"token": {answer["access_token"].(string)}})
	for name, value := range map[string]any{
		"active": true, "username": "alice", "name": "Alicia Test", "realm_access": nil, "jti": token["jti"], "scope": token["scope"],
		"resource_access": map[string]any{"gw": roles("pass")},
	} {
		if diff := cmp.Diff(value, now[name]); diff != "" {
			t.Errorf("introspection: %s (-want +got):\n%s", name, diff)
		}
	}
}

func (s *server) userInfo(token, kind string) string {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.oidc("userinfo"), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != kind || resp.Header.Get("Cache-Control") != "no-store" {
		s.t.Fatalf("got %d %v, want a %s", resp.StatusCode, resp.Header, kind)
	}
	return string(content)
}

func TestAServiceAccountHasRoles(t *testing.T) {
	t.Parallel()
	s := start(t)
	if err := s.iss.Import(t.Context(), staffed()); err != nil {
		t.Fatal(err)
	}
	_, answer := s.post("token", "svc", "svc-secret", url.Values{"grant_type": {"client_credentials"}})
	token := claimsOf(t, answer["access_token"])
	_, now := s.post("token/introspect", "rs", "rs-secret", url.Values{"token": {answer["access_token"].(string)}})
	for kind, claims := range map[string]map[string]any{"token": token, "introspection": now} {
		for name, value := range map[string]any{
			"aud": []any{"rs", "gw"}, "realm_access": roles("robot"), "preferred_username": "service-account-svc", "scope": "orders:read",
		} {
			if diff := cmp.Diff(value, claims[name]); diff != "" {
				t.Errorf("%s: %s (-want +got):\n%s", kind, name, diff)
			}
		}
	}
}

// Keycloak: naming one kind of client scopes leaves the other empty.
func TestWhichClientScopesAClientHas(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, tt := range []struct {
		name             string
		realm            issuer.Realm
		always, optional []string
		asked, want      string // want empty: invalid_scope
	}{
		{"none named", issuer.Realm{}, nil, nil, "", "profile email"},
		{"none named, optional asked", issuer.Realm{}, nil, nil, "phone address", "profile email address phone"},
		{"the realm's", issuer.Realm{DefaultDefaultClientScopes: []string{}, DefaultOptionalClientScopes: []string{"a"}}, nil, nil, "a", "a"},
		{"an empty list", issuer.Realm{}, []string{}, nil, "", "-"},
		{"an empty list has no optional ones", issuer.Realm{}, []string{}, nil, "phone", ""},
		{"optional ones alone", issuer.Realm{}, nil, []string{"a"}, "a", "a"},
		{"hidden ones", issuer.Realm{ClientScopes: []issuer.ClientScope{{Name: "q", Attributes: map[string]string{"include.in.token.scope": "false"}}}}, []string{"q", "roles", "a"}, nil, "q", "a"},
	} {
		file := tt.realm
		file.Realm = "demo"
		file.Clients = []issuer.Client{{ClientID: "c", Secret: "c-secret", ServiceAccountsEnabled: true, DefaultClientScopes: tt.always, OptionalClientScopes: tt.optional}}
		if err := s.iss.Import(t.Context(), file); err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		_, answer := s.post("token", "c", "c-secret", url.Values{"grant_type": {"client_credentials"}, "scope": {tt.asked}})
		switch {
		case tt.want == "":
			if answer["error"] != "invalid_scope" {
				t.Errorf("%s: got %v, want invalid_scope", tt.name, answer)
			}
		case !slices.Equal(strings.Fields(strings.Trim(tt.want, "-")), strings.Fields(answer["scope"].(string))):
			t.Errorf("%s: got %v, want scope %s", tt.name, answer["scope"], tt.want)
		}
	}
}

// TestPlainUserInfoSaysNothingOfTheProtocol: a mapper cannot make the answer
// look like a token, signed or not.
func TestPlainUserInfoSaysNothingOfTheProtocol(t *testing.T) {
	t.Parallel()
	s := start(t)
	file := demoRealm()
	app2 := &file.Clients[1]
	for _, name := range []string{"sub", "iss", "aud", "exp", "rev", "cnf", "tenant"} {
		app2.ProtocolMappers = append(app2.ProtocolMappers, issuer.ProtocolMapper{
			Name: name, ProtocolMapper: "oidc-hardcoded-claim-mapper",
			Config: map[string]string{"claim.name": name, "claim.value": "made up", "userinfo.token.claim": "true"},
		})
	}
	if err := s.iss.Import(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	code := newBrowser(t, s).login("app2", "alice", "openid")
	_, answer := s.post("token", "app2", "app2-secret", url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {callback}, "code_verifier": {verifier},
	})
	var info map[string]any
	if err := json.Unmarshal([]byte(s.userInfo(answer["access_token"].(string), "application/json")), &info); err != nil {
		t.Fatal(err)
	}
	if info["tenant"] != "made up" || info["sub"] == "made up" {
		t.Errorf("got %v", info)
	}
	for _, name := range []string{"iss", "aud", "exp", "rev", "cnf"} {
		if info[name] != nil {
			t.Errorf("%s is %v", name, info[name])
		}
	}
}
