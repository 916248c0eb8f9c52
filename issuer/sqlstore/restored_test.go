package sqlstore_test

import (
	"crypto/rand"
	"testing"

	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/issuer/sqlstore"
	"github.com/tegata/tegata/revocation"
)

// TestARestoredStoreIsAnother: its epoch is new, its revisions are beyond all
// that the lost part of the log can have handed out, and it can be read on.
func TestARestoredStoreIsAnother(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, c sqlstore.Config) {
		db := openWith(t, c)
		kill := func() revocation.Revision {
			rev, err := db.Sessions().Write(t.Context(), func(tx session.Tx) error {
				return tx.Revoke("r", record(revocation.KindToken, "a"))
			})
			if err != nil {
				t.Fatal(err)
			}
			return rev
		}
		first := kill()
		before, _, err := db.Head(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Restored(t.Context(), rand.Reader); err != nil {
			t.Fatal(err)
		}
		after, head, err := db.Head(t.Context())
		if err != nil || after == before || head < first+1_000_000 {
			t.Errorf("epoch %q, then %q, head %d, %v", before, after, head, err)
		}
		if rev := kill(); rev != head+1 {
			t.Errorf("the next is %d, want %d", rev, head+1)
		}
		if records, upTo, err := db.Since(t.Context(), 0, 10); len(records) != 2 || upTo != head+1 || err != nil {
			t.Errorf("%d records up to %d, %v", len(records), upTo, err)
		}
	})
}
