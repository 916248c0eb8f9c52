package issuer_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tegata/tegata/issuer"
)

// mappedRealm is the demo realm with Keycloak's scope mappings, as it exports
// them, and a client that may not name all roles.
func mappedRealm() issuer.Realm {
	no := false
	file := demoRealm()
	file.ScopeMappings = []issuer.ScopeMapping{{Client: "narrow", Roles: []string{"boss"}}, {ClientScope: "profile", Roles: []string{"seen"}}}
	file.ClientScopeMappings = map[string][]issuer.ScopeMapping{"gw": {{ClientScope: "orders:read", Roles: []string{"pass"}}}}
	file.Clients = append(file.Clients, issuer.Client{
		ClientID: "narrow", Secret: "narrow-secret", RedirectURIs: []string{callback}, FullScopeAllowed: &no,
		DefaultClientScopes: []string{"roles"}, OptionalClientScopes: []string{"orders:read", "profile"},
	})
	file.Users[0].RealmRoles = []string{"boss", "seen", "hidden", "default-roles-demo"}
	file.Users[0].ClientRoles = map[string][]string{"gw": {"pass", "stop"}}
	return file
}

func TestScopeMappingsOfARealmFile(t *testing.T) {
	t.Parallel()
	s := start(t)
	for range 2 {
		if err := s.iss.Import(t.Context(), mappedRealm()); err != nil {
			t.Fatal(err)
		}
	}
	b := newBrowser(t, s)
	for _, tt := range []struct {
		scope         string
		realm, client any
	}{
		{"openid", roles("boss"), nil},
		{"openid profile", roles("boss", "seen"), nil},
		{"openid orders:read", roles("boss"), map[string]any{"gw": roles("pass")}},
	} {
		tokens := s.as("narrow", url.Values{"code": {b.login("narrow", "alice", tt.scope)}})
		access := s.claims(tokens["access_token"])
		if d := cmp.Diff([]any{tt.realm, tt.client}, []any{access["realm_access"], access["resource_access"]}); d != "" {
			t.Errorf("%s (-want +got):\n%s", tt.scope, d)
		}
		if info, _ := s.told(tokens); (info["name"] != nil) != strings.Contains(tt.scope, "profile") {
			t.Errorf("%s: the scope lost its mappers, or says more than it did: %v", tt.scope, info)
		}
	}
}

// TestTheDefaultRoleHasInItWhatEverybodyHas: Keycloak 26's composite, there
// also if the file does not define it.
func TestTheDefaultRoleHasInItWhatEverybodyHas(t *testing.T) {
	t.Parallel()
	s := start(t)
	login := func(change func(*issuer.Realm)) map[string]any {
		t.Helper()
		file := demoRealm()
		file.Clients[1].Audience = nil // app2 has Keycloak's default scopes
		change(&file)
		if err := s.iss.Import(t.Context(), file); err != nil {
			t.Fatal(err)
		}
		access := s.claims(s.as("app2", url.Values{"code": {newBrowser(t, s).login("app2", "alice", "openid")}})["access_token"])
		return map[string]any{"realm": access["realm_access"], "client": access["resource_access"], "aud": access["aud"]}
	}
	account := map[string]any{"account": roles("manage-account", "view-profile")}
	for name, tt := range map[string]struct {
		change func(*issuer.Realm)
		want   map[string]any
	}{
		"not given, as in Keycloak's import": {func(*issuer.Realm) {}, map[string]any{"realm": nil, "client": nil, "aud": "account"}},
		"given": {
			func(f *issuer.Realm) { f.Users[0].RealmRoles = []string{"default-roles-demo"} },
			map[string]any{"realm": roles("default-roles-demo", "offline_access", "uma_authorization"), "client": account, "aud": "account"},
		},
		"with more in it": {
			func(f *issuer.Realm) {
				f.Users[0].RealmRoles, f.DefaultRoles = []string{"default-roles-demo"}, []string{"member"}
			},
			map[string]any{"realm": roles("default-roles-demo", "member", "offline_access", "uma_authorization"), "client": account, "aud": "account"},
		},
		"as the file defines it, under its name": {
			func(f *issuer.Realm) {
				f.Users[0].RealmRoles, f.DefaultRole = []string{"all"}, &issuer.Role{Name: "all"}
				f.Roles.Realm = []issuer.Role{{Name: "all", Composites: issuer.Composites{Realm: []string{"member"}}}}
			},
			map[string]any{"realm": roles("all", "member"), "client": nil, "aud": "account"},
		},
	} {
		if d := cmp.Diff(tt.want, login(tt.change)); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

func TestScopeMappingsToNothingAreRefused(t *testing.T) {
	t.Parallel()
	s := start(t)
	for want, m := range map[string]issuer.ScopeMapping{
		"no client scope": {ClientScope: "none"}, "no client \"none\"": {Client: "none"}, "of a client or": {}, "or of a clientScope": {Client: "app", ClientScope: "email"},
	} {
		file := demoRealm()
		file.ClientScopeMappings = map[string][]issuer.ScopeMapping{"gw": {m}}
		if err := s.iss.Import(t.Context(), file); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want an error with %q", m, err, want)
		}
	}
	file := demoRealm()
	file.DefaultRole = &issuer.Role{}
	if err := s.iss.Import(t.Context(), file); err == nil {
		t.Error("a default role without a name was taken")
	}
}
