package issuer_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/tegata/tegata/issuer"
	"github.com/tegata/tegata/issuer/client"
	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/issuer/sqlstore"
	"github.com/tegata/tegata/issuer/user"
	"github.com/tegata/tegata/revocation"
)

func TestImportRefusesWhatCannotBeMeant(t *testing.T) {
	t.Parallel()
	s := start(t)
	tests := []struct {
		name string
		file issuer.Realm
		want string
	}{
		{"no name", issuer.Realm{}, `realm ""`},
		{"a name that is a path", issuer.Realm{Realm: "a/b"}, `realm "a/b"`},
		{"unknown algorithm", issuer.Realm{Realm: "x", DefaultSignatureAlgorithm: "HS256"}, `"HS256"`},
		{"unknown token type", issuer.Realm{Realm: "x", AccessTokenType: "jwt"}, `"jwt"`},
		{"negative lifetime", issuer.Realm{Realm: "x", AccessTokenLifespan: -1}, "negative"},
		{"no client id", issuer.Realm{Realm: "x", Clients: []issuer.Client{{}}}, "clientId"},
		{"a client twice", issuer.Realm{Realm: "x", Clients: []issuer.Client{{ClientID: "a"}, {ClientID: "a"}}}, "client a is there twice"},
		{"public with secret", issuer.Realm{Realm: "x", Clients: []issuer.Client{{ClientID: "a", PublicClient: true, Secret: "s3cret"}}}, "public client a"},
		{"script as redirect", issuer.Realm{Realm: "x", Clients: []issuer.Client{{ClientID: "a", RedirectURIs: []string{"javascript:x"}}}}, "javascript:x"},
		{"no username", issuer.Realm{Realm: "x", Users: []issuer.User{{}}}, "username"},
		{"a long user id", issuer.Realm{Realm: "x", Users: []issuer.User{{ID: strings.Repeat("a", 65), Username: "a"}}}, "at most 64 bytes"},
		{"a user twice", issuer.Realm{Realm: "x", Users: []issuer.User{{Username: "a"}, {Username: "a"}}}, "user a is there twice"},
		{"an unknown mapper", issuer.Realm{Realm: "x", Clients: []issuer.Client{{ClientID: "a", ProtocolMappers: []issuer.ProtocolMapper{{Name: "m", ProtocolMapper: "oidc-magic-mapper"}}}}}, `"oidc-magic-mapper"`},
		{"an unknown mapper of a scope", issuer.Realm{Realm: "x", ClientScopes: []issuer.ClientScope{{Name: "s", ProtocolMappers: []issuer.ProtocolMapper{{Name: "m", ProtocolMapper: "oidc-magic-mapper"}}}}}, `client scope s`},
		{"another protocol", issuer.Realm{Realm: "x", ClientScopes: []issuer.ClientScope{{Name: "s", Protocol: "docker-v2"}}}, `"docker-v2"`},
		{"a group that is not there", issuer.Realm{Realm: "x", Users: []issuer.User{{Username: "a", Groups: []string{"/g"}}}}, `"/g"`},
		{"a service account of no client", issuer.Realm{Realm: "x", Users: []issuer.User{{Username: "a", ServiceAccountClientID: "c"}}}, `"c"`},
		{"unknown credential", issuer.Realm{Realm: "x", Users: []issuer.User{{Username: "a", Credentials: []issuer.Credential{{Type: "otp", Value: "s3cret"}}}}}, "password"},
	}
	for _, tt := range tests {
		err := s.iss.Import(t.Context(), tt.file)
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: got %v, want an error with %s", tt.name, err, tt.want)
		}
	}
}

func TestImportingAgainChangesNothing(t *testing.T) {
	t.Parallel()
	s := start(t)
	b := newBrowser(t, s)
	tokens := s.redeem(b.login("app", "alice", "openid"))
	if err := s.iss.Import(t.Context(), demoRealm()); err != nil {
		t.Fatal(err)
	}
	if !s.active(tokens["access_token"]) {
		t.Errorf("a token died of importing again")
	}
	if got := outcome(s, b.ask(authorize("app2", "openid")), "s"); got != "code" {
		t.Errorf("the session: %q, want a code", got)
	}
}

func TestImportKeepsWhatTheFileDoesNotName(t *testing.T) {
	t.Parallel()
	s := start(t)
	if err := s.iss.Import(t.Context(), issuer.Realm{Realm: "demo"}); err != nil {
		t.Fatal(err)
	}
	if status, answer := s.post("token", "svc", "svc-secret", url.Values{"grant_type": {"client_credentials"}}); status != http.StatusOK {
		t.Errorf("client svc is gone: %d %v", status, answer)
	}
}

func TestImportChangesASecret(t *testing.T) {
	t.Parallel()
	s := start(t)
	file := demoRealm()
	for i := range file.Clients {
		if file.Clients[i].ClientID == "svc" {
			file.Clients[i].Secret = "new-secret"
		}
	}
	file.Users[0].Credentials[0].Value = "new-pw"
	if err := s.iss.Import(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	for secret, want := range map[string]int{"new-secret": http.StatusOK, "svc-secret": http.StatusUnauthorized} {
		if status, answer := s.post("token", "svc", secret, url.Values{"grant_type": {"client_credentials"}}); status != want {
			t.Errorf("secret %s: %d %v, want %d", secret, status, answer, want)
		}
	}
	b := newBrowser(t, s)
	page := b.submit(b.ask(authorize("app", "openid")), "alice", "pw")
	if page.status != http.StatusOK {
		t.Errorf("the old password still works: %d", page.status)
	}
	if page = b.submit(page, "alice", "new-pw"); page.status != http.StatusFound {
		t.Errorf("the new password does not work: %d", page.status)
	}
}

func TestWhatTheFileDisablesIsDead(t *testing.T) {
	t.Parallel()
	no := false
	tests := []struct {
		name    string
		disable func(*issuer.Realm)
	}{
		{"user", func(r *issuer.Realm) { r.Users[0].Enabled = &no }},
		{"client", func(r *issuer.Realm) { r.Clients[0].Enabled = &no }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			tokens := s.redeem(newBrowser(t, s).login("app", "alice", "openid"))
			file := demoRealm()
			tt.disable(&file)
			if err := s.iss.Import(t.Context(), file); err != nil {
				t.Fatal(err)
			}
			if s.active(tokens["access_token"]) {
				t.Errorf("tokens of the disabled %s live on", tt.name)
			}
		})
	}
}

func TestADisabledRealmServesNothing(t *testing.T) {
	t.Parallel()
	s := start(t)
	no := false
	file := demoRealm()
	file.Enabled = &no
	if err := s.iss.Import(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	status, answer := s.post("token", "svc", "svc-secret", url.Values{"grant_type": {"client_credentials"}})
	if status != http.StatusForbidden || answer["error_description"] != "Realm not enabled" {
		t.Errorf("got %d %v", status, answer)
	}
}

// dying are the stores of a process that dies before its nth transaction.
type dying struct{ left int }

var errDied = errors.New("the process died")

func (d *dying) next() error {
	d.left--
	if d.left < 0 {
		return errDied
	}
	return nil
}

type (
	dyingRealms struct {
		realm.Store
		d *dying
	}
	dyingClients struct {
		client.Store
		d *dying
	}
	dyingUsers struct {
		user.Store
		d *dying
	}
	dyingSessions struct {
		session.Store
		d *dying
	}
)

func (s dyingRealms) Write(ctx context.Context, f func(realm.Tx) error) error {
	return errors.Join(s.d.next(), s.d.do(func() error { return s.Store.Write(ctx, f) }))
}

func (s dyingClients) Write(ctx context.Context, f func(client.Tx) error) error {
	return errors.Join(s.d.next(), s.d.do(func() error { return s.Store.Write(ctx, f) }))
}

func (s dyingUsers) Write(ctx context.Context, f func(user.Tx) error) error {
	return errors.Join(s.d.next(), s.d.do(func() error { return s.Store.Write(ctx, f) }))
}

func (s dyingSessions) Write(ctx context.Context, f func(session.Tx) error) (rev revocation.Revision, err error) {
	err = errors.Join(s.d.next(), s.d.do(func() error { rev, err = s.Store.Write(ctx, f); return err }))
	return rev, err
}

// do does nothing for the dead.
func (d *dying) do(f func() error) error {
	if d.left < 0 {
		return nil
	}
	return f()
}

// TestDisablingIsOneCommit: wherever the process dies while it imports, what is
// disabled in the store is dead on the stream too, and what is not lives.
func TestDisablingIsOneCommit(t *testing.T) {
	t.Parallel()
	no := false
	for name, disable := range map[string]func(*issuer.Realm){
		"realm":  func(r *issuer.Realm) { r.Enabled = &no },
		"client": func(r *issuer.Realm) { r.Clients[0].Enabled = &no },
		"user":   func(r *issuer.Realm) { r.Users[0].Enabled = &no },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := demoRealm()
			disable(&file)
			died := 0
			for n := 0; ; n++ {
				stores, db := openStores(t)
				if err := importer(t, stores, db).Import(t.Context(), demoRealm()); err != nil {
					t.Fatal(err)
				}
				d := &dying{n}
				err := importer(t, issuer.Stores{
					Realms: dyingRealms{stores.Realms, d}, Clients: dyingClients{stores.Clients, d}, Users: dyingUsers{stores.Users, d},
					Sessions: dyingSessions{stores.Sessions, d}, Keys: stores.Keys, Streams: stores.Streams,
				}, db).Import(t.Context(), file)
				disabled, records := standing(t, stores), recorded(t, db)
				if disabled != (records > 0) {
					t.Errorf("died before transaction %d: disabled %v, with %d records", n, disabled, records)
				}
				if err == nil {
					break
				}
				died++
				// The next import does the rest, and revokes nothing twice.
				if err := importer(t, stores, db).Import(t.Context(), file); err != nil {
					t.Fatal(err)
				}
				if disabled, records := standing(t, stores), recorded(t, db); !disabled || records != 1 {
					t.Errorf("died before transaction %d, imported again: disabled %v, with %d records", n, disabled, records)
				}
			}
			if died < 2 {
				t.Errorf("died in %d places only", died)
			}
		})
	}
}

func importer(t *testing.T, stores issuer.Stores, db *sqlstore.DB) *issuer.Issuer {
	t.Helper()
	iss, err := issuer.New(issuer.Config{
		BaseURL: "http://127.0.0.1:1", Stores: stores, WatchSource: db, Seal: bytes.Repeat([]byte{1}, 32), NewStore: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	return iss
}

// standing reports whether the realm, its first client or its first user is
// disabled in the store.
func standing(t *testing.T, stores issuer.Stores) (disabled bool) {
	t.Helper()
	var realmID string
	err := stores.Realms.Read(t.Context(), func(v realm.View) error {
		r, err := v.RealmByName("demo")
		realmID, disabled = r.ID, !r.Enabled
		return err
	})
	err = errors.Join(err, stores.Clients.Read(t.Context(), func(v client.View) error {
		c, err := v.ClientByClientID(realmID, demoRealm().Clients[0].ClientID)
		disabled = disabled || !c.Enabled
		return err
	}), stores.Users.Read(t.Context(), func(v user.View) error {
		u, err := v.UserByUsername(realmID, demoRealm().Users[0].Username)
		disabled = disabled || !u.Enabled
		return err
	}))
	if err != nil {
		t.Fatal(err)
	}
	return disabled
}

func recorded(t *testing.T, db *sqlstore.DB) int {
	t.Helper()
	records, _, err := db.Since(t.Context(), 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	return len(records)
}
