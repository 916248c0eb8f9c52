package claims

import (
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tegata/tegata/issuer/client"
	"github.com/tegata/tegata/issuer/realm"
)

func claimMapper(claim, value string) realm.Mapper {
	return realm.Mapper{Type: "oidc-hardcoded-claim-mapper", Config: map[string]string{
		"claim.name": claim, "claim.value": value, "access.token.claim": "true",
	}}
}

// A plan that is kept serves the version that it was made for, and no other.
func TestAnotherVersionIsAnotherPlan(t *testing.T) {
	t.Parallel()
	m := new(Maker)
	r := realm.Realm{ID: "r", Version: 1, Settings: realm.Settings{ClientScopes: []realm.ClientScope{{Name: "s", Mappers: []realm.Mapper{claimMapper("a", "1")}}}}}
	c := client.Client{ID: "c", Version: 1, ClientID: "c", Mappers: []realm.Mapper{claimMapper("b", "1")}}
	said := func(scope string) map[string]any {
		person, account := m.For(Request{Realm: r, Client: c, Scope: scope}).Access, m.ForClient(r, c, scope).Access
		if person["a"] != account["a"] || person["b"] != account["b"] {
			t.Errorf("a person's %v, its own %v", person, account)
		}
		return person
	}
	for range 2 { // made, then kept
		if d := cmp.Diff(map[string]any{"a": "1", "b": "1"}, said("s")); d != "" {
			t.Errorf("with the scope (-want +got):\n%s", d)
		}
		if d := cmp.Diff(map[string]any{"b": "1"}, said("")); d != "" {
			t.Errorf("without (-want +got):\n%s", d)
		}
	}
	c.Version, c.Mappers = 2, []realm.Mapper{claimMapper("b", "2")}
	if d := cmp.Diff(map[string]any{"a": "1", "b": "2"}, said("s")); d != "" {
		t.Errorf("another client (-want +got):\n%s", d)
	}
	r.Version, r.Settings.ClientScopes = 2, []realm.ClientScope{{Name: "s", Mappers: []realm.Mapper{claimMapper("a", "2")}}}
	if d := cmp.Diff(map[string]any{"a": "2", "b": "2"}, said("s")); d != "" {
		t.Errorf("another realm (-want +got):\n%s", d)
	}
}

func TestPlansAreBoundedAndOnlyOfWhatIsStored(t *testing.T) {
	t.Parallel()
	m := new(Maker)
	m.For(Request{Client: client.Client{ID: "c", Version: 1}})
	m.For(Request{Realm: realm.Realm{ID: "r", Version: 1}})
	if len(m.plans) > 0 {
		t.Error("kept what has no version")
	}
	for i := range maxPlans + 1 {
		m.For(Request{Realm: realm.Realm{ID: "r", Version: 1}, Client: client.Client{ID: fmt.Sprint(i), Version: 1}})
	}
	if len(m.plans) > maxPlans {
		t.Errorf("%d plans", len(m.plans))
	}
}

// What one caller does to claims is not seen by the next.
func TestClaimsOfPeopleAreNotShared(t *testing.T) {
	t.Parallel()
	m := new(Maker)
	r := staff()
	r.ID, r.Version = "r", 1
	c := client.Client{ID: "c", Version: 1, DefaultClientScopes: []string{"roles"}, Audience: []string{"api"}}
	request := Request{Realm: r, Client: c, User: alice(), Scope: "profile"}
	request.User.Roles.Realm = []string{"boss"}
	first := m.For(request)
	first.Access["name"], first.Access["realm_access"].(map[string]any)["roles"].([]any)[0] = "x", "x"
	second := m.For(request)
	expect(t, "after a change", Claims{Access: map[string]any{"n": second.Access["name"], "r": second.Access["realm_access"]}, Audience: second.Audience},
		`{"n":"Alice Test","r":{"roles":["boss","clerk"]}}`, []string{"api", "orders"})
}

// Plans are made and kept by many at once; run with -race.
func TestAMakerIsForMany(t *testing.T) {
	t.Parallel()
	m := new(Maker)
	r := staff()
	r.ID, r.Version = "r", 1
	c := client.Client{ID: "c", ClientID: "shop", DefaultClientScopes: []string{"roles"}, ServiceAccount: realm.Roles{Realm: []string{"boss"}}}
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for n := range 100 {
				c := c
				c.Version = uint64(n%3 + 1)
				got := m.For(Request{Realm: r, Client: c, User: alice(), Scope: "profile"})
				got.Access["mine"] = i
				m.ForClient(r, c, "profile")
				m.Ask(r, c, "profile", Named{UserInfo: []string{"name"}})
			}
		})
	}
	all.Wait()
	if got := m.ForClient(r, client.Client{ID: "c", Version: 1, ClientID: "shop"}, "profile").Access; got["mine"] != nil || got["realm_access"] == nil {
		t.Errorf("got %v", got)
	}
}
