package claims

import (
	"testing"

	"github.com/tegata/tegata/issuer/client"
	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/issuer/user"
)

// Keycloak's scope mappings: of a client that may not name all roles, tokens
// name those that somebody has and that are mapped, composites resolved on both
// sides.
func TestTokensNameTheRolesOfTheirScope(t *testing.T) {
	t.Parallel()
	no := false
	r := staff() // boss has clerk in it, and orders' write, which has read in it
	r.Settings.Roles.Client["shop"] = []realm.Role{{Name: "owner", Composites: realm.Roles{Realm: []string{"insider"}}}, {Name: "cook"}}
	r.Settings.ClientScopes = []realm.ClientScope{
		{Name: "orders", Roles: realm.Roles{Client: map[string][]string{"orders": {"write"}}}},
		{Name: "quiet", Roles: realm.Roles{Realm: []string{"boss"}}, Attributes: map[string]string{"include.in.token.scope": "false"}},
	}
	boss := realm.Roles{Realm: []string{"boss", "insider"}, Client: map[string][]string{"shop": {"cook", "owner", "undefined"}}}
	const own = `"shop":{"roles":["cook","owner","undefined"]}`
	for _, tt := range []struct {
		name   string
		roles  realm.Roles
		client client.Client
		scope  string
		want   string
	}{
		{"its own, and what is in them", boss, client.Client{}, "", `{"realm_access":{"roles":["insider"]},"resource_access":{` + own + `}}`},
		{"mapped to the client", boss, client.Client{ScopeRoles: realm.Roles{Realm: []string{"clerk", "other"}}}, "", `{"realm_access":{"roles":["boss","clerk","insider"]},"resource_access":{"orders":{"roles":["read","write"]},` + own + `}}`},
		{"mapped to a granted scope", boss, client.Client{}, "orders", `{"realm_access":{"roles":["insider"]},"resource_access":{"orders":{"roles":["read","write"]},` + own + `}}`},
		{"mapped to a scope that is not named", boss, client.Client{DefaultClientScopes: []string{"quiet"}}, "", `{"realm_access":{"roles":["boss","clerk","insider"]},"resource_access":{"orders":{"roles":["read","write"]},` + own + `}}`},
		{"mapped, and not had", realm.Roles{}, client.Client{ScopeRoles: boss}, "orders", `{}`},
		{"a part of what is mapped", realm.Roles{Client: map[string][]string{"orders": {"read"}}}, client.Client{}, "orders", `{"resource_access":{"orders":{"roles":["read"]}}}`},
	} {
		tt.client.ClientID, tt.client.FullScopeAllowed = "shop", &no
		tt.client.DefaultClientScopes = append(tt.client.DefaultClientScopes, "roles")
		got := For(Request{Realm: r, Client: tt.client, User: user.User{Roles: tt.roles}, Scope: tt.scope})
		expect(t, tt.name, Claims{Access: got.Access}, tt.want, nil)
	}
}
