package keys_test

import (
	"crypto/rand"
	"path/filepath"
	"testing"
	"time"

	"github.com/tegata/tegata/issuer/keys"
	"github.com/tegata/tegata/issuer/sqlstore"
)

// TestOldKeysRetire: a key goes when its successor is old enough, never the
// active one, never the one that the issuer keeps for itself.
func TestOldKeysRetire(t *testing.T) {
	t.Parallel()
	db, err := sqlstore.Open(t.Context(), sqlstore.Config{Path: filepath.Join(t.TempDir(), "tegata.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	now := noon
	k, err := keys.New(keys.Config{Store: db.Keys(), Seal: seal, Now: func() time.Time { return now }, Rand: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Ensure(t.Context(), demo); err != nil {
		t.Fatal(err)
	}
	published := func() int {
		set, err := k.Public(t.Context(), demo)
		if err != nil {
			t.Fatal(err)
		}
		return len(set.Keys())
	}
	retire := func(want int) {
		t.Helper()
		n, err := k.RetireOld(t.Context(), demo, time.Hour)
		if err != nil || n != want {
			t.Errorf("RetireOld = %d, %v, want %d", n, err, want)
		}
	}
	for range 2 {
		now = now.Add(10 * time.Minute)
		if _, err := k.Rotate(t.Context(), demo, ""); err != nil {
			t.Fatal(err)
		}
	}
	retire(0)
	now = noon.Add(71 * time.Minute) // the second is 61 minutes old, the third 51
	retire(1)
	if n := published(); n != 2 {
		t.Errorf("%d keys are published, want 2", n)
	}
	now = noon.Add(100 * time.Hour)
	retire(1)
	retire(0)
	if n := published(); n != 1 {
		t.Errorf("%d keys are published, want the active one", n)
	}
	if _, err := k.Signer(t.Context(), demo); err != nil {
		t.Error(err)
	}
	if _, _, err := k.Own(t.Context(), demo); err != nil {
		t.Error(err)
	}
}
