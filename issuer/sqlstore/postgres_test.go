package sqlstore_test

import (
	"testing"

	"github.com/tegata/tegata/internal/pgtest"
	"github.com/tegata/tegata/issuer/sqlstore"
	"github.com/tegata/tegata/issuer/storetest"
)

// openURL opens a store on PostgreSQL and closes it when the test ends.
func openURL(t testing.TB, url string) *sqlstore.DB {
	t.Helper()
	return openWith(t, sqlstore.Config{Postgres: sqlstore.Postgres{URL: url}})
}

func openWith(t testing.TB, c sqlstore.Config) *sqlstore.DB {
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

func TestStoreOnPostgreSQL(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t testing.TB) storetest.Store { return openURL(t, pgtest.URL(t)) })
}

// TestStoreWithoutTurns: where tables cannot be locked, those that meet are run
// again until they do not.
func TestStoreWithoutTurns(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t testing.TB) storetest.Store { return openURL(t, pgtest.URL(t)).WithoutTurns() })
}
