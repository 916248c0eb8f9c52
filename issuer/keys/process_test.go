package keys_test

import (
	"crypto/rand"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tegata/tegata/internal/jose"
	"github.com/tegata/tegata/issuer/keys"
	"github.com/tegata/tegata/issuer/sqlstore"
)

// TestProcessesAtOnce: several that start, and several that rotate, on one
// database leave one active key of each sort, which all of them then use.
func TestProcessesAtOnce(t *testing.T) {
	t.Parallel()
	const processes = 8
	path := filepath.Join(t.TempDir(), "tegata.db")
	now := func() time.Time { return noon }
	var all []*keys.Keys
	var store keys.Store
	for range processes {
		db, err := sqlstore.Open(t.Context(), sqlstore.Config{Path: path})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
		store = db.Keys()
		k, err := keys.New(keys.Config{Store: store, Seal: seal, Now: now, Rand: rand.Reader})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, k)
	}
	stored := func(status keys.Status) (found []keys.Sealed) {
		if err := store.Read(t.Context(), func(v keys.View) (err error) { found, err = v.Keys(demo.ID); return err }); err != nil {
			t.Fatal(err)
		}
		return slices.DeleteFunc(found, func(k keys.Sealed) bool { return k.Status != status })
	}
	together := func(do func(*keys.Keys) error) {
		var wg sync.WaitGroup
		for _, k := range all {
			wg.Go(func() {
				if err := do(k); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}

	together(func(k *keys.Keys) error { return k.Ensure(t.Context(), demo) })
	first := stored(keys.Active)
	if len(first) != 2 || len(stored(keys.Passive)) != 0 {
		t.Fatalf("%d active and %d passive keys, want a signing key and an own key", len(first), len(stored(keys.Passive)))
	}
	for _, k := range all {
		s, err1 := k.Signer(t.Context(), demo, "")
		own, _, err2 := k.Own(t.Context(), demo)
		ids := []string{s.ID, own}
		for _, want := range first {
			if !slices.Contains(ids, want.ID) || err1 != nil || err2 != nil {
				t.Errorf("a process uses %v (%v, %v), the store has %s", ids, err1, err2, want.ID)
			}
		}
	}

	together(func(k *keys.Keys) error { _, err := k.RotateNow(t.Context(), demo, ""); return err })
	active := slices.DeleteFunc(stored(keys.Active), func(k keys.Sealed) bool { return k.Algorithm == jose.HS512 })
	if len(active) != 1 || len(stored(keys.Passive)) != processes {
		t.Errorf("%d active and %d passive signing keys after %d rotations", len(active), len(stored(keys.Passive)), processes)
	}
	fresh, err := keys.New(keys.Config{Store: store, Seal: seal, Now: now, Rand: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	set, err := fresh.Public(t.Context(), demo)
	if err != nil || len(set.Keys()) != processes+1 {
		t.Errorf("%d keys are published, %v, want %d", len(set.Keys()), err, processes+1)
	}
}
