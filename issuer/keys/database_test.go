package keys_test

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tegata/tegata/internal/jose"
	"github.com/tegata/tegata/issuer/keys"
	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/issuer/sqlstore"
)

// database is the real store, in a file that tests may read and change.
type database struct {
	t     *testing.T
	path  string
	store keys.Store
}

func newDatabase(t *testing.T) *database {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tegata.db")
	db, err := sqlstore.Open(t.Context(), sqlstore.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return &database{t: t, path: path, store: db.Keys()}
}

// process is the service in a process of its own.
func (d *database) process(seal []byte) *keys.Keys {
	d.t.Helper()
	k, err := keys.New(keys.Config{Store: d.store, Seal: seal, Now: func() time.Time { return noon }, Rand: rand.Reader})
	d.must(err)
	return k
}

func (d *database) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

// rows is what is stored of a realm.
func (d *database) rows(r realm.Realm) (all []keys.Sealed) {
	d.t.Helper()
	d.must(d.store.Read(d.t.Context(), func(v keys.View) (err error) { all, err = v.Keys(r.ID); return err }))
	return all
}

// row is the stored key of an algorithm.
func (d *database) row(r realm.Realm, alg jose.Algorithm) keys.Sealed {
	d.t.Helper()
	all := d.rows(r)
	i := slices.IndexFunc(all, func(k keys.Sealed) bool { return k.Algorithm == alg })
	if i < 0 {
		d.t.Fatalf("no key of %s among %d", alg, len(all))
	}
	return all[i]
}

// exec changes the file behind the store's back.
func (d *database) exec(statement string, args ...any) {
	d.t.Helper()
	db, err := sql.Open("sqlite", d.path)
	d.must(err)
	done, err := db.ExecContext(d.t.Context(), statement, args...)
	d.must(errors.Join(err, db.Close()))
	if n, err := done.RowsAffected(); err != nil || n == 0 {
		d.t.Fatalf("%s: %d rows, %v", statement, n, err)
	}
}

// TestTheDatabaseFilesHoldNoKey: neither the database nor its log, of any sort
// of key, nor of one that is out of use.
func TestTheDatabaseFilesHoldNoKey(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	k := d.process(seal)
	secrets := make(map[string][]byte)
	for _, alg := range []jose.Algorithm{jose.ES256, jose.EdDSA, jose.RS256} {
		r := demo
		r.Settings.SigningAlgorithm = alg
		d.must(k.Ensure(t.Context(), r))
		s, err := k.Signer(t.Context(), r, "")
		d.must(err)
		secrets["PKCS #8 of "+string(alg)], err = x509.MarshalPKCS8PrivateKey(s.Key)
		d.must(err)
	}
	_, own, err := k.Own(t.Context(), demo)
	d.must(err)
	secrets["own key"], secrets["sealing key"] = own, seal

	files, err := filepath.Glob(d.path + "*") // with the write-ahead log
	d.must(err)
	var stored []byte
	for _, file := range files {
		data, err := os.ReadFile(file)
		d.must(err)
		stored = append(stored, data...)
	}
	for _, row := range d.rows(demo) {
		if !bytes.Contains(stored, row.Private[:16]) {
			t.Fatalf("%s is not in %v: the search finds nothing", row.Algorithm, files)
		}
	}
	for name, secret := range secrets {
		for part := range slices.Chunk(secret, 16) {
			if len(part) == 16 && bytes.Contains(stored, part) {
				t.Errorf("%s is in the clear in %v", name, files)
				break
			}
		}
	}
}

// TestARowMovedInTheDatabase does not open, whoever wrote the file.
func TestARowMovedInTheDatabase(t *testing.T) {
	t.Parallel()
	other := realm.Realm{ID: "r-2", Name: "two"}
	const put = "UPDATE signing_key SET private = $1 WHERE id = $2"
	for name, change := range map[string]func(d *database, mine, theirs keys.Sealed){
		"sealed for another realm": func(d *database, mine, theirs keys.Sealed) { d.exec(put, theirs.Private, mine.ID) },
		"sealed for another algorithm": func(d *database, mine, _ keys.Sealed) {
			d.exec(put, d.row(demo, jose.HS512).Private, mine.ID)
		},
		"another kid": func(d *database, mine, _ keys.Sealed) {
			d.exec("UPDATE signing_key SET id = $1 WHERE id = $2", "chosen", mine.ID)
		},
		"another algorithm": func(d *database, mine, _ keys.Sealed) {
			d.exec("UPDATE signing_key SET algorithm = $1 WHERE id = $2", string(jose.ES384), mine.ID)
		},
		"rows of two realms": func(d *database, mine, theirs keys.Sealed) {
			d.exec("UPDATE signing_key SET realm_id = $1 WHERE id = $2", other.ID, mine.ID)
			d.exec("UPDATE signing_key SET realm_id = $1 WHERE id = $2", demo.ID, theirs.ID)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDatabase(t)
			k := d.process(seal)
			d.must(k.Ensure(t.Context(), demo))
			d.must(k.Ensure(t.Context(), other))
			change(d, d.row(demo, jose.ES256), d.row(other, jose.ES256))
			before := d.rows(demo)
			late := d.process(seal)
			if _, err := late.Signer(t.Context(), demo, ""); !errors.Is(err, keys.ErrSeal) {
				t.Errorf("Signer: %v, want ErrSeal", err)
			}
			if _, err := late.RotateNow(t.Context(), demo, ""); !errors.Is(err, keys.ErrSeal) {
				t.Errorf("Rotate: %v, want ErrSeal: it would hide the row", err)
			}
			if d := cmp.Diff(before, d.rows(demo)); d != "" {
				t.Errorf("rows changed:\n%s", d)
			}
		})
	}
}

// TestAnotherKeyFileLeavesTheDatabaseAlone, also where a key is to be made.
func TestAnotherKeyFileLeavesTheDatabaseAlone(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.must(d.process(seal).Ensure(t.Context(), demo))
	before := d.rows(demo)
	changed := demo
	changed.Settings.SigningAlgorithm = jose.EdDSA
	wrong := d.process(bytes.Repeat([]byte{8}, len(seal)))
	for name, call := range map[string]func() error{
		"Ensure":            func() error { return wrong.Ensure(t.Context(), demo) },
		"Ensure, a new key": func() error { return wrong.Ensure(t.Context(), changed) },
		"Rotate":            func() error { _, err := wrong.RotateNow(t.Context(), demo, ""); return err },
	} {
		if err := call(); !errors.Is(err, keys.ErrSeal) {
			t.Errorf("%s: %v, want ErrSeal", name, err)
		}
		if d := cmp.Diff(before, d.rows(demo)); d != "" {
			t.Errorf("%s changed rows:\n%s", name, d)
		}
	}
}

// TestAlgorithmsInTheDatabase: each is made once, next to one own key, and the
// next process reads it back.
func TestAlgorithmsInTheDatabase(t *testing.T) {
	t.Parallel()
	for _, alg := range []jose.Algorithm{jose.ES256, jose.RS256, jose.EdDSA} {
		t.Run(string(alg), func(t *testing.T) {
			t.Parallel()
			d, r := newDatabase(t), demo
			r.Settings.SigningAlgorithm = alg
			d.must(d.process(seal).Ensure(t.Context(), r))
			before := d.rows(r)
			d.must(d.process(seal).Ensure(t.Context(), r))
			if d := cmp.Diff(before, d.rows(r)); d != "" {
				t.Errorf("ensured twice:\n%s", d)
			}
			var got []string
			for _, k := range before {
				got = append(got, fmt.Sprint(k.Algorithm, " ", k.Status))
			}
			slices.Sort(got)
			want := []string{string(alg) + " active", "HS512 active"}
			slices.Sort(want)
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("stored:\n%s", d)
			}
			late := d.process(seal)
			s, err := late.Signer(t.Context(), r, "")
			d.must(err)
			compact, err := s.Sign("JWT", []byte(`{"a":1}`))
			d.must(err)
			set, err := late.Public(t.Context(), r)
			d.must(err)
			if _, _, err := set.Verify(compact, jose.Accept{Algorithms: []jose.Algorithm{alg}, Types: []string{"JWT"}}); err != nil {
				t.Errorf("what was read back does not verify: %v", err)
			}
		})
	}
}

// TestAChangeIsSeenAtOnce by who made it, though what it has opened is fresh.
// The clock must not be set back here: that alone makes it read again.
func TestAChangeIsSeenAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.must(w.Ensure(t.Context(), demo))
	first, _ := w.sign(w.Keys, demo)
	w.pass(time.Millisecond)
	second, err := w.RotateNow(t.Context(), demo, "")
	w.must(err)
	if s, _ := w.sign(w.Keys, demo); s.ID != second {
		t.Errorf("after Rotate it signs with %s, want %s", s.ID, second)
	}
	published := func(kid string) bool {
		set, err := w.Public(t.Context(), demo)
		w.must(err)
		return set.Has(kid)
	}
	if !published(first.ID) || !published(second) {
		t.Error("after Rotate the old key and the new must be published")
	}
	w.must(w.Retire(t.Context(), demo, first.ID))
	if published(first.ID) {
		t.Error("after Retire the key is published")
	}
	w.pass(time.Millisecond)
	third, err := w.RotateNow(t.Context(), demo, "")
	w.must(err)
	if s, _ := w.sign(w.Keys, demo); s.ID != third {
		t.Errorf("after Rotate it signs with %s, want %s", s.ID, third)
	}
	w.pass(time.Millisecond)
	if m, err := w.Maintain(t.Context(), demo, 0); m.Retired != 1 || err != nil || published(second) {
		t.Errorf("Maintain = %+v, %v, still published: %v", m, err, published(second))
	}
	if rev, err := w.Withdraw(t.Context(), demo, third); rev != 1 || err != nil || published(third) {
		t.Errorf("withdrawn at %d, %v, still published: %v", rev, err, published(third))
	}
}
