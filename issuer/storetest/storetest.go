// Package storetest is what every store must do, as tests: run it on each
// engine. It must not know any engine.
//
// What is in store.go of the aggregates in words is here in code, and more
// than single calls: numbering under many writers, races of killing with
// minting, storms on one refresh token.
package storetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/tegata/tegata/issuer/client"
	"github.com/tegata/tegata/issuer/keys"
	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/issuer/stream"
	"github.com/tegata/tegata/issuer/user"
	"github.com/tegata/tegata/revocation"
)

// Store is a store of everything.
type Store interface {
	Realms() realm.Store
	Clients() client.Store
	Users() user.Store
	Sessions() session.Store
	Keys() keys.Store
	Streams() stream.Store
	Log
	Replicas
}

// Log is the log of revocations; watch.Source says the same.
type Log interface {
	Head(ctx context.Context) (revocation.Epoch, revocation.Revision, error)
	Since(ctx context.Context, after revocation.Revision, limit int) ([]revocation.Record, revocation.Revision, error)
	Committed() <-chan struct{}
}

// Run runs the suite. open opens a store that is empty and nobody else's, and
// closes it when the test ends.
func Run(t *testing.T, open func(testing.TB) Store) {
	for _, group := range []struct {
		name  string
		tests []test
	}{
		{"Aggregates", aggregateTests},
		{"Sessions", sessionTests},
		{"Log", logTests},
		{"Streams", streamTests},
		{"Replicas", replicaTests},
		{"Together", togetherTests},
	} {
		t.Run(group.name, func(t *testing.T) {
			t.Parallel()
			for _, tt := range group.tests {
				t.Run(tt.name, func(t *testing.T) {
					t.Parallel()
					tt.run(t, open(t))
				})
			}
		})
	}
}

type test struct {
	name string
	run  func(*testing.T, Store)
}

// noon is when tests begin, in the precision that stores keep.
var noon = time.Unix(1_800_000_000, 123_456_000).UTC()

// errAbort is what a transaction is given up with.
var errAbort = errors.New("given up by the test")

// write runs f in a transaction of sessions that must succeed.
func write(t testing.TB, s Store, f func(session.Tx) error) revocation.Revision {
	t.Helper()
	rev, err := s.Sessions().Write(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

// read runs f on a snapshot of sessions.
func read(t testing.TB, s Store, f func(session.View) error) {
	t.Helper()
	if err := s.Sessions().Read(t.Context(), f); err != nil {
		t.Fatal(err)
	}
}

// settle is a realm with a client and a user, as most tests need them.
func settle(t testing.TB, s Store) realm.Realm {
	t.Helper()
	r := realm.Realm{ID: "r-1", Name: "demo", Issuer: "https://id.example/realms/demo", Enabled: true}
	err := errors.Join(
		s.Realms().Write(t.Context(), func(tx realm.Tx) error { return tx.PutRealm(r) }),
		s.Clients().Write(t.Context(), func(tx client.Tx) error {
			return tx.PutClient(client.Client{ID: "c-1", RealmID: r.ID, ClientID: "shop", Enabled: true})
		}),
		s.Users().Write(t.Context(), func(tx user.Tx) error {
			return tx.PutUser(user.User{ID: "u-1", RealmID: r.ID, Username: "alice", Enabled: true})
		}),
	)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// settleOther is another realm that has a client of the same client id.
func settleOther(t testing.TB, s Store) {
	t.Helper()
	err := errors.Join(
		s.Realms().Write(t.Context(), func(tx realm.Tx) error {
			return tx.PutRealm(realm.Realm{ID: "r-2", Name: "other", Enabled: true})
		}),
		s.Clients().Write(t.Context(), func(tx client.Tx) error {
			return tx.PutClient(client.Client{ID: "c-2", RealmID: "r-2", ClientID: "shop", Enabled: true})
		}),
	)
	if err != nil {
		t.Fatal(err)
	}
}

// since reads the whole log in pages of limit.
func since(ctx context.Context, s Store, after revocation.Revision, limit int) ([]revocation.Record, error) {
	var all []revocation.Record
	for {
		page, upTo, err := s.Since(ctx, after, limit)
		if err != nil {
			return nil, err
		}
		all = append(all, page...)
		if len(page) < limit {
			return all, nil
		}
		after = upTo
	}
}
