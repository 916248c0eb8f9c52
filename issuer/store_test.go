package issuer_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/tegata/tegata/internal/pgtest"
	"github.com/tegata/tegata/issuer"
	"github.com/tegata/tegata/issuer/client"
	"github.com/tegata/tegata/issuer/keys"
	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/issuer/sqlstore"
	"github.com/tegata/tegata/issuer/stream"
	"github.com/tegata/tegata/issuer/user"
	"github.com/tegata/tegata/revocation"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// openStores opens a real store in a folder of its own.
func openStores(t testing.TB) (issuer.Stores, *sqlstore.DB) {
	t.Helper()
	db := openConfig(t, sqlstore.Config{Path: filepath.Join(t.TempDir(), "tegata.db")})
	return storesOf(db), db
}

// openConfig opens a store and closes it when the test ends.
func openConfig(t testing.TB, c sqlstore.Config) *sqlstore.DB {
	t.Helper()
	db, err := sqlstore.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// storesOf hands out the stores of a database, each of which runs what is to be
// written twice.
func storesOf(db *sqlstore.DB) issuer.Stores {
	return issuer.Stores{
		Realms: twiceOf[realm.View, realm.Tx](db.Realms()), Clients: twiceOf[client.View, client.Tx](db.Clients()),
		Users:    twiceOf[user.View, user.Tx](db.Users()),
		Sessions: twiceRevoking[session.View, session.Tx]{db.Sessions()}, Keys: twiceRevoking[keys.View, keys.Tx]{db.Keys()},
		Streams: twiceOf[stream.View, stream.Tx](db.Streams()),
	}
}

// errOnce undoes the first run of a transaction.
var errOnce = errors.New("undone by the test")

// A transaction that has met another is undone and run again, by contract. So
// each that anything here writes is: what it leaves behind of its first run,
// the tests will notice.
type twice[V, T any] struct{ store[V, T] }

type store[V, T any] interface {
	Read(ctx context.Context, f func(V) error) error
	Write(ctx context.Context, f func(T) error) error
}

func twiceOf[V, T any](s store[V, T]) twice[V, T] { return twice[V, T]{s} }

func (s twice[V, T]) Write(ctx context.Context, f func(T) error) error {
	err := s.store.Write(ctx, func(tx T) error { return errors.Join(f(tx), errOnce) })
	if !errors.Is(err, errOnce) {
		return err
	}
	return s.store.Write(ctx, f)
}

// twiceRevoking is twice of a store that revokes.
type twiceRevoking[V, T any] struct{ revoking[V, T] }

type revoking[V, T any] interface {
	Read(ctx context.Context, f func(V) error) error
	Write(ctx context.Context, f func(T) error) (revocation.Revision, error)
}

func (s twiceRevoking[V, T]) Write(ctx context.Context, f func(T) error) (revocation.Revision, error) {
	_, err := s.revoking.Write(ctx, func(tx T) error { return errors.Join(f(tx), errOnce) })
	if !errors.Is(err, errOnce) {
		return 0, err
	}
	return s.revoking.Write(ctx, f)
}
