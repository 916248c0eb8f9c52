package issuer_test

import (
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tegata/tegata/issuer"
)

// Compiled mappers are kept, but the first token after a change has it: of the
// client, of the realm, of the account.
func TestAChangeIsInTheNextToken(t *testing.T) {
	t.Parallel()
	s := start(t)
	hardcoded := func(value string) []issuer.ProtocolMapper {
		return []issuer.ProtocolMapper{{Name: "m", ProtocolMapper: "oidc-hardcoded-claim-mapper", Config: map[string]string{
			"claim.name": "v", "claim.value": value, "access.token.claim": "true",
		}}}
	}
	file := demoRealm()
	svc := &file.Clients[3]
	svc.DefaultClientScopes = []string{"roles"}
	said := func() map[string]any {
		t.Helper()
		if err := s.iss.Import(t.Context(), file); err != nil {
			t.Fatal(err)
		}
		_, answer := s.post("token", "svc", "svc-secret", url.Values{"grant_type": {"client_credentials"}})
		claims := claimsOf(t, answer["access_token"])
		return map[string]any{"v": claims["v"], "roles": claims["realm_access"]}
	}
	same := func(what string, want map[string]any) {
		t.Helper()
		if d := cmp.Diff(want, said()); d != "" {
			t.Errorf("%s (-want +got):\n%s", what, d)
		}
	}
	svc.ProtocolMappers = hardcoded("1")
	same("at first", map[string]any{"v": "1", "roles": nil})
	svc.ProtocolMappers = hardcoded("2")
	same("another mapper", map[string]any{"v": "2", "roles": nil})
	file.Users = append(file.Users, issuer.User{Username: "service-account-svc", ServiceAccountClientID: "svc", RealmRoles: []string{"robot"}})
	same("another role", map[string]any{"v": "2", "roles": roles("robot")})
	file.Roles.Realm = []issuer.Role{{Name: "robot", Composites: issuer.Composites{Realm: []string{"arm"}}}}
	same("a role in the role", map[string]any{"v": "2", "roles": roles("arm", "robot")})
	file.ClientScopes = append(file.ClientScopes, issuer.ClientScope{Name: "roles", ProtocolMappers: hardcoded("3")})
	svc.ProtocolMappers = nil
	same("another scope", map[string]any{"v": "3", "roles": nil})
}
