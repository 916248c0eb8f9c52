package claims

import (
	"testing"

	"github.com/tegata/tegata/issuer/client"
	"github.com/tegata/tegata/issuer/realm"
)

// BenchmarkFor is what one minting costs here: a person with roles, and a
// client for itself, with Keycloak's default client scopes.
func BenchmarkFor(b *testing.B) {
	r, m := staff(), new(Maker)
	r.ID, r.Version, r.Settings = "r", 1, r.Settings.WithDefaults()
	person := alice()
	person.Roles = realm.Roles{Realm: []string{"boss"}}
	c := client.Client{
		ID: "c", Version: 1, RealmID: "r", ClientID: "shop", Audience: []string{"rs"},
		DefaultClientScopes: r.Settings.DefaultClientScopes, ServiceAccount: person.Roles,
	}
	b.Run("person", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			m.For(Request{Realm: r, Client: c, User: person, Scope: "openid profile email"})
		}
	})
	b.Run("client", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			m.ForClient(r, c, "profile email")
		}
	})
}
