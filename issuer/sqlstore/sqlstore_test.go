package sqlstore_test

import (
	"path/filepath"
	"testing"

	"github.com/tegata/tegata/issuer/sqlstore"
	"github.com/tegata/tegata/issuer/storetest"
)

// open opens a store and closes it when the test ends.
func open(t testing.TB, path string) *sqlstore.DB {
	t.Helper()
	return openWith(t, sqlstore.Config{Path: path})
}

func TestStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t testing.TB) storetest.Store { return open(t, filepath.Join(t.TempDir(), "tegata.db")) })
}
