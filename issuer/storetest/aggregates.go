package storetest

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tegata/tegata/internal/jose"
	"github.com/tegata/tegata/issuer/client"
	"github.com/tegata/tegata/issuer/keys"
	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/issuer/user"
	"github.com/tegata/tegata/revocation"
)

var aggregateTests = []test{
	{"a realm is replaced by name and keeps its id", testRealms},
	{"a client is replaced by client id and keeps its id", testClients},
	{"a user is replaced by name and keeps the id", testUsers},
	{"of a key status and end alone change", testKeys},
	{"a withdrawn key and its record are one commit", testWithdrawnKey},
	{"what a transaction gave up is not there", testAggregatesRollBack},
}

// same fails unless got is want.
func same(t testing.TB, what string, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

func testRealms(t *testing.T, s Store) {
	byName := func(name string) (r realm.Realm, err error) {
		err = s.Realms().Read(t.Context(), func(v realm.View) (err error) {
			r, err = v.RealmByName(name)
			return err
		})
		return r, err
	}
	put := func(r realm.Realm) {
		if err := s.Realms().Write(t.Context(), func(tx realm.Tx) error { return tx.PutRealm(r) }); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := byName("demo"); !errors.Is(err, realm.ErrNotFound) {
		t.Errorf("a realm that is not there: %v", err)
	}
	first := realm.Realm{ID: "r-1", Name: "demo", Enabled: true, Settings: realm.Settings{AccessTokenLifespan: 7 * time.Minute}}
	put(first)
	got, err := byName("demo")
	if err != nil {
		t.Fatal(err)
	}
	first.Version = 1
	same(t, "the realm", first, got)

	second := first
	second.ID, second.Enabled, second.Settings.SigningAlgorithm = "r-other", false, jose.RS256
	put(second)
	put(realm.Realm{ID: "r-2", Name: "a-first"})
	second.ID, second.Version = "r-1", 2 // each Put is a version of its own
	var all []realm.Realm
	if err := s.Realms().Read(t.Context(), func(v realm.View) (err error) { all, err = v.Realms(); return err }); err != nil {
		t.Fatal(err)
	}
	same(t, "all, by name", []realm.Realm{{ID: "r-2", Name: "a-first", Version: 1}, second}, all)
}

func testClients(t *testing.T, s Store) {
	byID := func(realmID, id string) (c client.Client, err error) {
		err = s.Clients().Read(t.Context(), func(v client.View) (err error) {
			c, err = v.ClientByClientID(realmID, id)
			return err
		})
		return c, err
	}
	put := func(c client.Client) {
		if err := s.Clients().Write(t.Context(), func(tx client.Tx) error { return tx.PutClient(c) }); err != nil {
			t.Fatal(err)
		}
	}
	first := client.Client{
		ID: "c-1", RealmID: "r-1", ClientID: "shop", Name: "Shop", Enabled: true, PublicClient: true, StandardFlowEnabled: true,
		RedirectURIs: []string{"https://shop.example/cb"}, DefaultClientScopes: []string{"openid"}, Audience: []string{"api"},
		JWKS: []byte(`{"keys":[]}`), AccessTokenLifespan: time.Minute, Attributes: map[string]string{"k": "v"},
		Mappers: []realm.Mapper{{Name: "m", Type: "t", Config: map[string]string{"k": "v"}}}, FullScopeAllowed: new(bool),
		ServiceAccount: realm.Roles{Realm: []string{"a"}, Client: map[string][]string{"shop": {"b"}}},
		SecretHash:     "hash", SecretSealed: []byte("sealed"), OldSecretHash: "old", OldSecretUntil: time.Unix(1_800_000_000, 0).UTC(),
	}
	put(first)
	put(client.Client{ID: "c-2", RealmID: "r-2", ClientID: "shop"}) // the same client id in another realm
	got, err := byID("r-1", "shop")
	if err != nil {
		t.Fatal(err)
	}
	first.Version = 1
	same(t, "the client", first, got)
	for _, id := range []string{"Shop", "shop ", "", "c-1"} {
		if _, err := byID("r-1", id); !errors.Is(err, client.ErrNotFound) {
			t.Errorf("client %q: %v", id, err)
		}
	}
	second := client.Client{ID: "c-other", RealmID: "r-1", ClientID: "shop"}
	put(second)
	put(client.Client{ID: "c-3", RealmID: "r-1", ClientID: "app"})
	var all []client.Client
	if err := s.Clients().Read(t.Context(), func(v client.View) (err error) { all, err = v.Clients("r-1"); return err }); err != nil {
		t.Fatal(err)
	}
	second.ID, second.Version = "c-1", 2
	same(t, "all of the realm, by client id", []client.Client{{ID: "c-3", RealmID: "r-1", ClientID: "app", Version: 1}, second}, all)
}

func testUsers(t *testing.T, s Store) {
	find := func(f func(user.View) (user.User, error)) (u user.User, err error) {
		err = s.Users().Read(t.Context(), func(v user.View) (err error) { u, err = f(v); return err })
		return u, err
	}
	put := func(u user.User) {
		if err := s.Users().Write(t.Context(), func(tx user.Tx) error { return tx.PutUser(u) }); err != nil {
			t.Fatal(err)
		}
	}
	first := user.User{
		ID: "u-1", RealmID: "r-1", Username: "alice", Enabled: true, Email: "a@example.com", EmailVerified: true,
		FirstName: "Alice", LastName: "Ōkada", PasswordHash: "$argon2id$…",
		Attributes: map[string][]string{"tenant": {"t1", "t2"}}, Groups: []string{"/staff"},
		Roles: realm.Roles{Realm: []string{"a"}, Client: map[string][]string{"shop": {"b"}}},
	}
	put(first)
	put(user.User{ID: "u-2", RealmID: "r-2", Username: "alice"})
	for name, f := range map[string]func(user.View) (user.User, error){
		"by name": func(v user.View) (user.User, error) { return v.UserByUsername("r-1", "alice") },
		"by id":   func(v user.View) (user.User, error) { return v.UserByID("r-1", "u-1") },
	} {
		got, err := find(f)
		if err != nil {
			t.Fatal(err)
		}
		same(t, name, first, got)
	}
	for name, f := range map[string]func(user.View) (user.User, error){
		"unknown name":         func(v user.View) (user.User, error) { return v.UserByUsername("r-1", "bob") },
		"another realm's id":   func(v user.View) (user.User, error) { return v.UserByID("r-1", "u-2") },
		"a name in upper case": func(v user.View) (user.User, error) { return v.UserByUsername("r-1", "ALICE") },
	} {
		if _, err := find(f); !errors.Is(err, user.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	put(user.User{ID: "u-other", RealmID: "r-1", Username: "alice"})
	got, err := find(func(v user.View) (user.User, error) { return v.UserByUsername("r-1", "alice") })
	if err != nil {
		t.Fatal(err)
	}
	same(t, "replaced", user.User{ID: "u-1", RealmID: "r-1", Username: "alice"}, got)
}

func testKeys(t *testing.T, s Store) {
	all := func(realmID string) (all []keys.Sealed) {
		if err := s.Keys().Read(t.Context(), func(v keys.View) (err error) { all, err = v.Keys(realmID); return err }); err != nil {
			t.Fatal(err)
		}
		return all
	}
	put := func(k keys.Sealed) error {
		_, err := s.Keys().Write(t.Context(), func(tx keys.Tx) error { return tx.PutKey(k) })
		return err
	}
	older := keys.Sealed{ID: "k-1", RealmID: "r-1", Algorithm: jose.ES256, Status: keys.Active, Created: noon, SignsFrom: noon.Add(time.Hour), Private: []byte{0, 1, 255}}
	newer := keys.Sealed{ID: "k-2", RealmID: "r-1", Algorithm: jose.HS512, Status: keys.Active, Created: noon.Add(time.Microsecond), SignsFrom: noon, Private: []byte{2}}
	if err := errors.Join(put(older), put(newer)); err != nil {
		t.Fatal(err)
	}
	same(t, "newest first", []keys.Sealed{newer, older}, all("r-1"))
	changed := older
	changed.Status, changed.Private, changed.Algorithm = keys.Passive, []byte("other"), jose.RS256
	changed.Ended, changed.SignsFrom = noon.Add(time.Minute), noon
	if err := put(changed); err != nil {
		t.Fatal(err)
	}
	older.Status, older.Ended = keys.Passive, noon.Add(time.Minute)
	same(t, "after a change", []keys.Sealed{newer, older}, all("r-1"))
	stolen := newer
	stolen.RealmID = "r-2"
	if err := put(stolen); err == nil {
		t.Error("a realm took another's key")
	}
	if got := all("r-2"); len(got) != 0 {
		t.Errorf("another realm has %v", got)
	}
}

func testWithdrawnKey(t *testing.T, s Store) {
	r := settle(t, s)
	key := keys.Sealed{ID: "k-1", RealmID: r.ID, Algorithm: jose.ES256, Status: keys.Active, Created: noon, SignsFrom: noon, Private: []byte{1}}
	mark := noon.Add(time.Hour).Truncate(time.Second)
	write(t, s, func(tx session.Tx) error { return tx.MarkMinted(r.ID, "shop", mark) })
	withdraw := func(after error) (revocation.Revision, error) {
		return s.Keys().Write(t.Context(), func(tx keys.Tx) error {
			gone := key
			gone.Status = keys.Retired
			end, err := tx.MaxAccessExp(r.ID)
			if !end.Equal(mark) {
				t.Errorf("the realm's last token expires at %v, want %v", end, mark)
			}
			return errors.Join(err, tx.PutKey(gone), tx.ResealKey(keys.Sealed{ID: key.ID, RealmID: r.ID, Private: []byte{2}}), tx.Revoke(r.ID, revocation.Record{
				Issuer: r.Issuer, Target: revocation.Target{Kind: revocation.KindKey, ID: key.ID}, ExpiresAt: end, Reason: revocation.ReasonAdmin,
			}), after)
		})
	}
	stored := func() (all []keys.Sealed, records []revocation.Record) {
		err := s.Keys().Read(t.Context(), func(v keys.View) (err error) { all, err = v.Keys(r.ID); return err })
		records, _, err2 := s.Since(t.Context(), 0, 10)
		if err := errors.Join(err, err2); err != nil {
			t.Fatal(err)
		}
		return all, records
	}
	if _, err := s.Keys().Write(t.Context(), func(tx keys.Tx) error { return tx.PutKey(key) }); err != nil {
		t.Fatal(err)
	}
	if _, err := withdraw(errAbort); !errors.Is(err, errAbort) {
		t.Fatalf("Write = %v, want what f returned", err)
	}
	all, records := stored()
	same(t, "given up", []keys.Sealed{key}, all)
	same(t, "records of what was given up", []revocation.Record(nil), records)
	rev, err := withdraw(nil)
	if err != nil || rev != 1 {
		t.Fatalf("withdrawn at %d, %v, want 1", rev, err)
	}
	key.Status, key.Private = keys.Retired, []byte{2}
	all, records = stored()
	same(t, "withdrawn", []keys.Sealed{key}, all)
	if len(records) != 1 || records[0].Target != (revocation.Target{Kind: revocation.KindKey, ID: "k-1"}) || records[0].Revision != rev {
		t.Errorf("records = %+v", records)
	}
	if _, err := s.Keys().Write(t.Context(), func(tx keys.Tx) error { return tx.ResealKey(keys.Sealed{ID: "k-9", RealmID: r.ID}) }); err == nil {
		t.Error("a key that is not there was sealed again")
	}
}

func testAggregatesRollBack(t *testing.T, s Store) {
	r := settle(t, s)
	err := s.Realms().Write(t.Context(), func(tx realm.Tx) error {
		changed := r
		changed.Enabled = false
		return errors.Join(tx.PutRealm(changed), tx.PutRealm(realm.Realm{ID: "r-9", Name: "late"}), errAbort)
	})
	if !errors.Is(err, errAbort) {
		t.Fatalf("Write = %v, want what f returned", err)
	}
	var all []realm.Realm
	if err := s.Realms().Read(t.Context(), func(v realm.View) (err error) { all, err = v.Realms(); return err }); err != nil {
		t.Fatal(err)
	}
	if len(all) != 1 || !all[0].Enabled {
		t.Errorf("realms = %+v", all)
	}
}
