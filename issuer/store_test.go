package issuer_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/tegata/tegata/internal/pgtest"
	"github.com/tegata/tegata/issuer"
	"github.com/tegata/tegata/issuer/sqlstore"
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

func storesOf(db *sqlstore.DB) issuer.Stores {
	return issuer.Stores{
		Realms: db.Realms(), Clients: db.Clients(), Users: db.Users(), Sessions: db.Sessions(), Keys: db.Keys(),
	}
}
