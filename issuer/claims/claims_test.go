package claims

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tegata/tegata/issuer/client"
	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/issuer/user"
)

func alice() user.User {
	return user.User{
		ID: "u", Username: "alice", Email: "a@b.example", FirstName: "Alice", LastName: "Test", EmailVerified: true,
		Attributes: map[string][]string{
			"locale": {"ja"}, "updatedAt": {"1700000000"}, "phoneNumber": {"+81 3 1234"}, "street": {"1-1"}, "country": {"JP"}, "colour": {"red", "blue"},
		},
	}
}

// OpenID Connect Core §5.4, with Keycloak's attributes.
func TestScopesDecideWhatIsReleased(t *testing.T) {
	t.Parallel()
	profile := map[string]any{
		"preferred_username": "alice", "name": "Alice Test", "given_name": "Alice", "family_name": "Test",
		"locale": "ja", "updated_at": int64(1700000000),
	}
	for _, tt := range []struct {
		scope string
		user  user.User
		want  map[string]any
	}{
		{"openid", alice(), map[string]any{}},
		{"", alice(), map[string]any{}},
		{"profiles emails", alice(), map[string]any{}},
		{"profile", alice(), profile},
		{"openid email", alice(), map[string]any{"email": "a@b.example", "email_verified": true}},
		{"email profile", user.User{Username: "b"}, map[string]any{"preferred_username": "b", "email_verified": false}},
		{"phone", alice(), map[string]any{"phone_number": "+81 3 1234"}},
		{"address", alice(), map[string]any{"address": map[string]any{"street_address": "1-1", "country": "JP"}}},
		{"address", user.User{Username: "b"}, map[string]any{}},
		{"microprofile-jwt", alice(), map[string]any{"upn": "alice"}},
	} {
		got := For(Request{Client: client.Client{Audience: []string{"api"}}, User: tt.user, Scope: tt.scope})
		for kind, claims := range map[string]map[string]any{"access": got.Access, "ID": got.ID, "UserInfo": got.UserInfo, "introspection": got.Introspection} {
			if diff := cmp.Diff(tt.want, claims); diff != "" {
				t.Errorf("scope %q, %s (-want +got):\n%s", tt.scope, kind, diff)
			}
		}
		if diff := cmp.Diff([]string{"api"}, got.Audience); diff != "" {
			t.Error(diff)
		}
	}
}

// staff is a realm with roles and groups.
func staff() realm.Realm {
	return realm.Realm{Settings: realm.Settings{
		Roles: realm.RoleDefinitions{
			Realm: []realm.Role{
				{Name: "boss", Composites: realm.Roles{Realm: []string{"clerk"}, Client: map[string][]string{"orders": {"write"}}}},
				{Name: "clerk", Composites: realm.Roles{Realm: []string{"boss"}}}, // in a circle
			},
			Client: map[string][]realm.Role{"orders": {{Name: "write", Composites: realm.Roles{Client: map[string][]string{"orders": {"read"}}}}}},
		},
		Groups: []realm.Group{{
			Name: "staff", Roles: realm.Roles{Realm: []string{"staffer"}}, Attributes: map[string][]string{"site": {"Tokyo"}, "floor": {"1"}},
			SubGroups: []realm.Group{{Name: "a/b", Roles: realm.Roles{Client: map[string][]string{"shop": {"cook"}}}, Attributes: map[string][]string{"floor": {"2"}}}},
		}},
	}}
}

// expect compares the access token's claims, as JSON, and its audience.
func expect(t *testing.T, name string, got Claims, access string, audience []string) {
	t.Helper()
	encoded, err := json.Marshal(got.Access)
	if err != nil {
		t.Fatal(err)
	}
	if string(encoded) != access {
		t.Errorf("%s: got %s, want %s", name, encoded, access)
	}
	if diff := cmp.Diff(audience, got.Audience); diff != "" {
		t.Errorf("%s: audience (-want +got):\n%s", name, diff)
	}
}

// Keycloak's scope roles: realm_access, resource_access and the audience.
func TestRolesAreInAccessTokens(t *testing.T) {
	t.Parallel()
	no := false
	for _, tt := range []struct {
		name     string
		user     user.User
		client   client.Client
		want     string // access token
		audience []string
	}{
		{"none", user.User{}, client.Client{}, `{}`, nil},
		{"direct", user.User{Roles: realm.Roles{Realm: []string{"x"}}}, client.Client{}, `{"realm_access":{"roles":["x"]}}`, nil},
		{
			"composite",
			user.User{Roles: realm.Roles{Realm: []string{"boss"}}},
			client.Client{},
			`{"realm_access":{"roles":["boss","clerk"]},"resource_access":{"orders":{"roles":["read","write"]}}}`,
			[]string{"orders"},
		},
		{
			"of a group and the one around it",
			user.User{Groups: []string{"/staff/a/b"}},
			client.Client{},
			`{"realm_access":{"roles":["staffer"]},"resource_access":{"shop":{"roles":["cook"]}}}`, nil, // its own client is no audience
		},
		{
			"of a client with dots",
			user.User{Roles: realm.Roles{Client: map[string][]string{"a.example": {"r"}}}},
			client.Client{Audience: []string{"api"}},
			`{"resource_access":{"a.example":{"roles":["r"]}}}`,
			[]string{"api", "a.example"},
		},
		{
			"fullScopeAllowed off",
			user.User{Roles: realm.Roles{Realm: []string{"boss"}}, Groups: []string{"/staff/a/b"}},
			client.Client{FullScopeAllowed: &no},
			`{"resource_access":{"shop":{"roles":["cook"]}}}`, nil,
		},
		{"a group that is gone", user.User{Groups: []string{"/staff/c", "staff"}}, client.Client{}, `{}`, nil},
	} {
		tt.client.ClientID, tt.client.DefaultClientScopes = "shop", []string{"roles"}
		got := For(Request{Realm: staff(), Client: tt.client, User: tt.user, Scope: "openid"})
		expect(t, tt.name, got, tt.want, tt.audience)
		if len(got.ID)+len(got.UserInfo) > 0 {
			t.Errorf("%s: roles are in ID token %v or UserInfo %v", tt.name, got.ID, got.UserInfo)
		}
	}
}

// Each type of Keycloak's with its configuration.
func TestMappers(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, kind string
		config     map[string]string
		want       string // access token
		audience   []string
	}{
		{"attribute", "oidc-usermodel-attribute-mapper", map[string]string{"user.attribute": "colour", "claim.name": "c"}, `{"c":"red"}`, nil},
		{"many values", "oidc-usermodel-attribute-mapper", map[string]string{"user.attribute": "colour", "claim.name": "c", "multivalued": "true"}, `{"c":["red","blue"]}`, nil},
		{"a field as attribute", "oidc-usermodel-attribute-mapper", map[string]string{"user.attribute": "lastName", "claim.name": "c"}, `{"c":"Test"}`, nil},
		{"no such attribute", "oidc-usermodel-attribute-mapper", map[string]string{"user.attribute": "x", "claim.name": "c", "multivalued": "true"}, `{}`, nil},
		{"attribute of the nearest group", "oidc-usermodel-attribute-mapper", map[string]string{"user.attribute": "floor", "claim.name": "c", "jsonType.label": "int"}, `{"c":2}`, nil},
		{"attribute of a group around it", "oidc-usermodel-attribute-mapper", map[string]string{"user.attribute": "site", "claim.name": "c"}, `{"c":"Tokyo"}`, nil},
		{"nested", "oidc-usermodel-property-mapper", map[string]string{"user.attribute": "username", "claim.name": "a.b.c"}, `{"a":{"b":{"c":"alice"}}}`, nil},
		{"escaped dots", "oidc-usermodel-property-mapper", map[string]string{"user.attribute": "id", "claim.name": `https://a\.b/x.y`}, `{"https://a.b/x":{"y":"u"}}`, nil},
		{"no number", "oidc-usermodel-property-mapper", map[string]string{"user.attribute": "username", "claim.name": "c", "jsonType.label": "long"}, `{}`, nil},
		{"hardcoded", "oidc-hardcoded-claim-mapper", map[string]string{"claim.name": "c", "claim.value": `{"k":[1]}`, "jsonType.label": "JSON"}, `{"c":{"k":[1]}}`, nil},
		{"hardcoded true", "oidc-hardcoded-claim-mapper", map[string]string{"claim.name": "c", "claim.value": "true", "jsonType.label": "boolean"}, `{"c":true}`, nil},
		{"renamed address", "oidc-address-mapper", map[string]string{"user.attribute.region": "colour"}, `{"address":{"country":"JP","region":"red","street_address":"1-1"}}`, nil},
		{"groups", "oidc-group-membership-mapper", map[string]string{"claim.name": "g"}, `{"g":["/staff/a/b"]}`, nil},
		{"group names", "oidc-group-membership-mapper", map[string]string{"claim.name": "g", "full.path": "false"}, `{"g":["a/b"]}`, nil},
		{"realm roles", "oidc-usermodel-realm-role-mapper", map[string]string{"claim.name": "r", "multivalued": "true", "usermodel.realmRoleMapping.rolePrefix": "R_"}, `{"r":["R_staffer"]}`, nil},
		{"roles of one client", "oidc-usermodel-client-role-mapper", map[string]string{"claim.name": "r.${client_id}", "multivalued": "true", "usermodel.clientRoleMapping.clientId": "shop", "usermodel.clientRoleMapping.rolePrefix": "C_"}, `{"r":{"shop":["C_cook"]}}`, nil},
		{"client audience", "oidc-audience-mapper", map[string]string{"included.client.audience": "orders", "included.custom.audience": "x"}, `{}`, []string{"orders"}},
		{"custom audience", "oidc-audience-mapper", map[string]string{"included.custom.audience": "https://x"}, `{}`, []string{"https://x"}},
		{"audience of ID tokens alone", "oidc-audience-mapper", map[string]string{"included.custom.audience": "x", "access.token.claim": "false"}, `{}`, nil},
		{"audience resolved", "oidc-audience-resolve-mapper", nil, `{}`, []string{"shop"}},
		{"what every token says", "oidc-sub-mapper", nil, `{}`, nil},
		{"not in access tokens", "oidc-full-name-mapper", map[string]string{"access.token.claim": "false"}, `{}`, nil},
	} {
		config := map[string]string{"access.token.claim": "true"}
		for key, value := range tt.config {
			config[key] = value
		}
		m := realm.Mapper{Name: tt.name, Type: tt.kind, Config: config}
		if err := Check(m); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		u := alice()
		u.Groups = []string{"/staff/a/b"}
		got := For(Request{Realm: staff(), Client: client.Client{ClientID: "c", Mappers: []realm.Mapper{m}}, User: u})
		expect(t, tt.name, got, tt.want, tt.audience)
	}
}

// TestRolesOfSeveralMappersAreTogether: none takes another's place (Keycloak).
func TestRolesOfSeveralMappersAreTogether(t *testing.T) {
	t.Parallel()
	for _, label := range []string{"String", "JSON"} {
		config := map[string]string{"claim.name": "all.roles", "multivalued": "true", "access.token.claim": "true", "jsonType.label": label}
		c := client.Client{Mappers: []realm.Mapper{
			{Type: "oidc-usermodel-realm-role-mapper", Config: config},
			{Type: "oidc-usermodel-client-role-mapper", Config: config}, // of every client
			{Type: "oidc-usermodel-realm-role-mapper", Config: config},  // once more
		}}
		u := user.User{Roles: realm.Roles{Realm: []string{`"r"`}, Client: map[string][]string{"a": {`"x"`}, "b": {`"x"`, `"y"`}}}}
		encoded, err := json.Marshal(For(Request{Client: c, User: u}).Access)
		if err != nil {
			t.Fatal(err)
		}
		want := `{"all":{"roles":["r","x","y"]}}`
		if got := strings.ReplaceAll(string(encoded), `\"`, ""); got != want {
			t.Errorf("%s: got %s, want %s", label, got, want)
		}
	}
}

// TestOnlyTrueIsTrue: a claim that something is verified is not made of 1.
func TestOnlyTrueIsTrue(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]bool{"true": true, "True": true, "1": false, "t": false, "yes": false, "false": false} {
		m := realm.Mapper{Type: "oidc-hardcoded-claim-mapper", Config: map[string]string{
			"claim.name": "c", "claim.value": value, "jsonType.label": "boolean", "id.token.claim": "true",
		}}
		if got := For(Request{Client: client.Client{Mappers: []realm.Mapper{m}}}).ID["c"]; got != want {
			t.Errorf("%q: got %v, want %v", value, got, want)
		}
	}
}

// TestNoMapperMakesUpWhatWasGranted (RFC 9396 §9).
func TestNoMapperMakesUpWhatWasGranted(t *testing.T) {
	t.Parallel()
	m := realm.Mapper{Type: "oidc-hardcoded-claim-mapper", Config: map[string]string{
		"claim.name": "authorization_details", "claim.value": "[]", "jsonType.label": "JSON", "access.token.claim": "true", "id.token.claim": "true",
	}}
	got := For(Request{Client: client.Client{Mappers: []realm.Mapper{m}}})
	if n := len(got.Access) + len(got.ID) + len(got.UserInfo) + len(got.Introspection); n != 0 {
		t.Errorf("released: %v", got)
	}
}

// What a file from before UserInfo and introspection had their own keys says
// of them (Keycloak).
func TestWhereAClaimGoes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ config, want string }{
		{"", ""},
		{"access", "access introspection"},
		{"id", "id userinfo"},
		{"access id", "access id userinfo introspection"},
		{"access id -userinfo -introspection", "access id"},
		{"userinfo", "userinfo"},
		{"introspection", "introspection"},
	} {
		config := make(map[string]string)
		for _, word := range strings.Fields(tt.config) {
			name, off := strings.CutPrefix(word, "-")
			config[name+".token.claim"] = map[bool]string{true: "false", false: "true"}[off]
		}
		got := For(Request{User: alice(), Client: client.Client{Mappers: []realm.Mapper{{Type: "oidc-full-name-mapper", Config: config}}}})
		var in []string
		for _, kind := range []struct {
			name   string
			claims map[string]any
		}{{"access", got.Access}, {"id", got.ID}, {"userinfo", got.UserInfo}, {"introspection", got.Introspection}} {
			if len(kind.claims) > 0 {
				in = append(in, kind.name)
			}
		}
		if strings.Join(in, " ") != tt.want {
			t.Errorf("%s: in %q, want %s", tt.config, in, tt.want)
		}
	}
}

// A hardcoded role is there for the mappers of scopes that came before it.
func TestAHardcodedRoleIsInRoles(t *testing.T) {
	t.Parallel()
	for role, want := range map[string]string{
		"clerk":       `{"realm_access":{"roles":["boss","clerk"]},"resource_access":{"orders":{"roles":["read","write"]}}}`,
		"orders.read": `{"resource_access":{"orders":{"roles":["read"]}}}`,
	} {
		c := client.Client{DefaultClientScopes: []string{"roles"}, Mappers: []realm.Mapper{{Type: hardcodedRole, Config: map[string]string{"role": role}}}}
		encoded, err := json.Marshal(For(Request{Realm: staff(), Client: c}).Access)
		if err != nil || string(encoded) != want {
			t.Errorf("%s: got %s, %v, want %s", role, encoded, err, want)
		}
	}
}

// A realm's own scope is asked for by its name, and one that it calls like a
// built-in one stands for it.
func TestScopesOfTheRealm(t *testing.T) {
	t.Parallel()
	name := realm.Mapper{Type: "oidc-full-name-mapper", Config: map[string]string{"access.token.claim": "true"}}
	r := realm.Realm{Settings: realm.Settings{ClientScopes: []realm.ClientScope{
		{Name: "who", Mappers: []realm.Mapper{name}},
		{Name: "profile"},
		{Name: "quiet", Attributes: map[string]string{"include.in.token.scope": "false"}, Mappers: []realm.Mapper{name}},
	}}}
	for _, tt := range []struct {
		scope, always string
		want          map[string]any
	}{
		{"who", "", map[string]any{"name": "Alice Test"}},
		{"profile", "", map[string]any{}},
		{"openid", "", map[string]any{}},
		{"openid", "quiet", map[string]any{"name": "Alice Test"}},
		{"openid", "who", map[string]any{}}, // shown, and not granted
	} {
		got := For(Request{Realm: r, Client: client.Client{DefaultClientScopes: strings.Fields(tt.always)}, User: alice(), Scope: tt.scope})
		if diff := cmp.Diff(tt.want, got.Access); diff != "" {
			t.Errorf("%s, always %s (-want +got):\n%s", tt.scope, tt.always, diff)
		}
	}
}

func TestMappersThatCannotWork(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		kind   string
		config map[string]string
		want   string
	}{
		{"oidc-script-based-protocol-mapper", nil, "oidc-script-based-protocol-mapper"},
		{"oidc-usermodel-attribute-mapper", map[string]string{"claim.name": "c"}, "user.attribute"},
		{"oidc-usermodel-attribute-mapper", map[string]string{"user.attribute": "a"}, "claim.name"},
		{"oidc-usermodel-attribute-mapper", map[string]string{"user.attribute": "a", "claim.name": "a..b"}, "claim.name"},
		{"oidc-usermodel-attribute-mapper", map[string]string{"user.attribute": "a", "claim.name": strings.Repeat("a.", maxDepth) + "a"}, "levels"},
		{"oidc-usermodel-attribute-mapper", map[string]string{"user.attribute": "a", "claim.name": "c", "jsonType.label": "float"}, "float"},
		{"oidc-usermodel-property-mapper", map[string]string{"user.attribute": "password", "claim.name": "c"}, "no property"},
		{"oidc-hardcoded-claim-mapper", map[string]string{"claim.name": "c", "claim.value": "x", "jsonType.label": "long"}, "claim.value"},
		{"oidc-audience-mapper", nil, "audience"},
		{"oidc-hardcoded-role-mapper", map[string]string{"role": ".x"}, "role"},
		{"oidc-usermodel-client-role-mapper", nil, "claim.name"},
	} {
		err := Check(realm.Mapper{Name: "m", Type: tt.kind, Config: tt.config})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s %v: got %v, want an error with %q", tt.kind, tt.config, err, tt.want)
		}
	}
}

// For makes claims anew.
func For(r Request) Claims { return new(Maker).For(r) }

// ForClient makes claims anew.
func ForClient(r realm.Realm, c client.Client, scope string) Claims {
	return new(Maker).ForClient(r, c, scope)
}
