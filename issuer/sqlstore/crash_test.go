package sqlstore_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tegata/tegata/internal/pgtest"
	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/issuer/sqlstore"
	"github.com/tegata/tegata/revocation"
)

// crashStore is set in the child of TestNothingAnsweredIsLost: the file or
// PostgreSQL database it writes.
const crashStore = "TEGATA_TEST_CRASH_STORE"

func TestMain(m *testing.M) {
	if store := os.Getenv(crashStore); store != "" {
		fmt.Fprintln(os.Stderr, writeUntilKilled(store))
		os.Exit(1)
	}
	if url := os.Getenv(migrateStore); url != "" {
		if err := migrateOnce(url); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(pgtest.Main(m))
}

// writeUntilKilled opens, ends and revokes, each in one transaction, and says
// the revision only after Write has returned.
func writeUntilKilled(store string) error {
	c := sqlstore.Config{Path: store}
	if strings.HasPrefix(store, "postgres:") {
		c = sqlstore.Config{Postgres: sqlstore.Postgres{URL: store}}
	}
	db, err := sqlstore.Open(context.Background(), c)
	if err != nil {
		return err
	}
	for i := 0; ; i++ {
		sid := fmt.Sprint(os.Getpid(), "-", i)
		rev, err := db.Sessions().Write(context.Background(), func(tx session.Tx) error {
			return errors.Join(
				tx.PutUserSession(session.UserSession{ID: sid, RealmID: "r"}),
				tx.PutClientSession(session.ClientSession{SessionID: sid, ClientID: "c"}),
				tx.Revoke("r", record(revocation.KindToken, sid)),
				tx.Revoke("r", record(revocation.KindSession, sid)))
		})
		if err != nil {
			return err
		}
		fmt.Println(rev, sid)
	}
}

func record(k revocation.Kind, id string) revocation.Record {
	return revocation.Record{
		Issuer: "iss", Target: revocation.Target{Kind: k, ID: id}, IssuedBefore: time.Unix(1, 0),
		ExpiresAt: time.Unix(1<<40, 0), Reason: revocation.ReasonRevoked,
	}
}

// TestNothingAnsweredIsLost kills a writing process at any moment: what it was
// told is committed is there, whole, and what is there is whole.
func TestNothingAnsweredIsLost(t *testing.T) {
	t.Parallel()
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "tegata.db")
		answered := killWriters(t, path)
		checkWhole(t, open(t, path), answered)
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Parallel()
		url := pgtest.URL(t)
		answered := killWriters(t, url)
		checkWhole(t, openURL(t, url), answered)
	})
}

// killWriters kills one writer after the other, and returns what they were
// told is committed.
func killWriters(t *testing.T, store string) map[string]revocation.Revision {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	answered := map[string]revocation.Revision{}
	for range 12 {
		child := exec.CommandContext(t.Context(), self)
		child.Env = append(os.Environ(), crashStore+"="+store)
		var complaint strings.Builder
		child.Stderr = &complaint
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		after := time.Duration(-1)
		for lines.Scan() {
			var rev revocation.Revision
			var sid string
			if _, err := fmt.Sscan(lines.Text(), &rev, &sid); err != nil {
				break // killed while it wrote the line
			}
			answered[sid] = rev
			if after < 0 { // it works; now at any moment
				after = time.Duration(rand.Int64N(int64(20 * time.Millisecond)))
				time.AfterFunc(after, func() { _ = child.Process.Kill() })
			}
		}
		if err := child.Wait(); err == nil || complaint.Len() > 0 {
			t.Fatalf("the writer ended by itself: %v, %s", err, complaint.String())
		}
	}
	if len(answered) < 12 { // one from each child
		t.Fatalf("only %d writes were answered: the test shows nothing", len(answered))
	}
	t.Logf("%d writes were answered", len(answered))
	return answered
}

// checkWhole: all that was answered is there under its revision, and of what
// was not answered nothing is there by half.
func checkWhole(t *testing.T, db *sqlstore.DB, answered map[string]revocation.Revision) {
	t.Helper()
	_, head, err := db.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	records, _, err := db.Since(t.Context(), 0, 1_000_000)
	if err != nil || len(records) != int(head) || head%2 != 0 {
		t.Fatalf("%d records, head %d, %v: want pairs without a gap", len(records), head, err)
	}
	for i := 0; i < len(records); i += 2 {
		first, second := records[i], records[i+1]
		sid := first.Target.ID
		if first.Target.Kind != revocation.KindToken || second.Target.Kind != revocation.KindSession || second.Target.ID != sid {
			t.Fatalf("records %d and %d are not of one transaction", first.Revision, second.Revision)
		}
		if rev, ok := answered[sid]; ok && rev != second.Revision {
			t.Errorf("%s was answered %d, and is %d", sid, rev, second.Revision)
		}
		delete(answered, sid)
		if err := db.Sessions().Read(t.Context(), func(v session.View) error {
			_, err1 := v.UserSession("r", sid)
			_, err2 := v.ClientSession(sid, "c")
			return errors.Join(err1, err2)
		}); err != nil {
			t.Errorf("the sessions of record %d: %v", first.Revision, err)
		}
	}
	if len(answered) > 0 {
		t.Errorf("%d answered writes are lost: %v", len(answered), answered)
	}
}
