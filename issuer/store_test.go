package issuer_test

import (
	"path/filepath"
	"testing"

	"github.com/tegata/tegata/issuer"
	"github.com/tegata/tegata/issuer/sqlstore"
)

// openStores opens a real store in a folder of its own.
func openStores(t testing.TB) (issuer.Stores, *sqlstore.DB) {
	t.Helper()
	db, err := sqlstore.Open(t.Context(), sqlstore.Config{Path: filepath.Join(t.TempDir(), "tegata.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return issuer.Stores{
		Realms: db.Realms(), Clients: db.Clients(), Users: db.Users(), Sessions: db.Sessions(), Keys: db.Keys(),
	}, db
}
