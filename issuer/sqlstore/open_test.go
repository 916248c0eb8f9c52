package sqlstore_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/issuer/sqlstore"
	"github.com/tegata/tegata/revocation"
	"github.com/tegata/tegata/revocation/watch"
)

var _ watch.Source = (*sqlstore.DB)(nil)

func TestReopeningKeepsEpochAndRevision(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a file?with #odd%41 name.db")
	var epoch revocation.Epoch
	for i := range 3 {
		db, err := sqlstore.Open(t.Context(), sqlstore.Config{Path: path})
		if err != nil {
			t.Fatal(err)
		}
		e, head, err := db.Head(t.Context())
		if err != nil || head != revocation.Revision(i) || i > 0 && e != epoch {
			t.Errorf("opened for the %dth time: %q (was %q), %d, %v", i, e, epoch, head, err)
		}
		epoch = e
		if _, err := db.Sessions().Write(t.Context(), func(tx session.Tx) error {
			return tx.Revoke("r", record(revocation.KindToken, "a"))
		}); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	other := open(t, filepath.Join(t.TempDir(), "other.db"))
	if e, _, err := other.Head(t.Context()); err != nil || e == epoch {
		t.Errorf("two stores have one epoch: %q, %v", e, err)
	}
}

func TestFilesAreTheirOwnersAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	db := open(t, filepath.Join(dir, "tegata.db"))
	if _, err := db.Sessions().Write(t.Context(), func(tx session.Tx) error {
		return tx.Revoke("r", record(revocation.KindToken, "a"))
	}); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) < 2 {
		t.Fatalf("%v, %v: want the database and its log", entries, err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, %v", e.Name(), info.Mode(), err)
		}
	}
}

// edit changes a closed database behind the store's back.
func edit(t *testing.T, path, query string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.ExecContext(t.Context(), query)
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestWhatCannotBeOpenedIsLeftAsItIs(t *testing.T) {
	t.Parallel()
	newer := filepath.Join(t.TempDir(), "newer.db")
	db, err := sqlstore.Open(t.Context(), sqlstore.Config{Path: newer})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	edit(t, newer, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (999, 1)`)

	noDatabase := filepath.Join(t.TempDir(), "text.db")
	if err := os.WriteFile(noDatabase, bytes.Repeat([]byte("this is no database\n"), 100), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]error{
		newer:       sqlstore.ErrNewer,
		noDatabase:  nil,
		t.TempDir(): nil,
		filepath.Join(t.TempDir(), "missing", "tegata.db"): os.ErrNotExist,
		"": nil,
	} {
		before, _ := os.ReadFile(path)
		db, err := sqlstore.Open(t.Context(), sqlstore.Config{Path: path})
		if err == nil {
			t.Errorf("%q was opened", path)
			_ = db.Close()
			continue
		}
		if want != nil && !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", path, err, want)
		}
		if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
			t.Errorf("%q was changed", path)
		}
	}
}

// TestTwoProcessesShareAStore: tegata keys rotate writes while an issuer runs.
func TestTwoProcessesShareAStore(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tegata.db")
	a, b := open(t, path), open(t, path)
	const each = 20
	done := make(chan error)
	for _, db := range []*sqlstore.DB{a, b} {
		go func() {
			var err error
			for range each {
				var read revocation.Revision
				rev, e := db.Sessions().Write(context.Background(), func(tx session.Tx) (err error) {
					if read, err = tx.Revision(); err != nil {
						return err
					}
					return tx.Revoke("r", record(revocation.KindToken, "a"))
				})
				if e == nil && rev != read+1 {
					e = fmt.Errorf("read %d, wrote %d: another came between", read, rev)
				}
				err = errors.Join(err, e)
			}
			done <- err
		}()
	}
	if err := errors.Join(<-done, <-done); err != nil {
		t.Fatal(err)
	}
	for _, db := range []*sqlstore.DB{a, b} {
		if _, head, err := db.Head(t.Context()); head != 2*each || err != nil {
			t.Errorf("head = %d, %v, want %d", head, err, 2*each)
		}
	}
}

// TestCommitTimesNeverGoBack, whatever the clock does between two lives.
func TestCommitTimesNeverGoBack(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tegata.db")
	now := time.Unix(1_800_000_000, 0)
	for range 3 {
		db, err := sqlstore.Open(t.Context(), sqlstore.Config{Path: path, Now: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.Sessions().Write(t.Context(), func(tx session.Tx) error {
			return tx.Revoke("r", record(revocation.KindToken, "a"))
		}); err != nil {
			t.Fatal(err)
		}
		records, _, err := db.Since(t.Context(), 0, 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range records {
			if !r.CommittedAt.Equal(time.Unix(1_800_000_000, 0)) {
				t.Errorf("record %d was committed at %v", r.Revision, r.CommittedAt)
			}
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		now = now.Add(-time.Hour)
	}
}
