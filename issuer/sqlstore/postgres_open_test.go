package sqlstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tegata/tegata/internal/pgtest"
	"github.com/tegata/tegata/issuer/client"
	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/issuer/sqlstore"
	"github.com/tegata/tegata/issuer/user"
	"github.com/tegata/tegata/revocation"
)

// migrateStore is set in a child of TestProcessesMigrateAtOnce: the database it opens.
const migrateStore = "TEGATA_TEST_MIGRATE_STORE"

// migrateOnce opens a store and prints what it migrated and the epoch.
func migrateOnce(url string) error {
	var log bytes.Buffer
	db, err := sqlstore.Open(context.Background(), sqlstore.Config{
		Postgres: sqlstore.Postgres{URL: url}, Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	if err != nil {
		return err
	}
	epoch, _, err := db.Head(context.Background())
	fmt.Println(strings.Count(log.String(), "migrated"), db.Created(), epoch)
	return errors.Join(err, db.Close())
}

// TestProcessesMigrateAtOnce: of eight processes that start on an empty
// database one migrates it, one begins the log, and all serve the same.
func TestProcessesMigrateAtOnce(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	type child struct {
		*exec.Cmd
		out, complaint bytes.Buffer
	}
	var children [8]child
	for i := range children {
		c := &children[i]
		c.Cmd = exec.CommandContext(t.Context(), self)
		c.Env = append(os.Environ(), migrateStore+"="+url)
		c.Stdout, c.Stderr = &c.out, &c.complaint
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
	}
	migrated, created, epochs := 0, 0, map[string]bool{}
	for i := range children {
		c := &children[i]
		if err := c.Wait(); err != nil {
			t.Errorf("%v: %s", err, c.complaint.String())
			continue
		}
		var n int
		var began bool
		var epoch string
		if _, err := fmt.Sscan(c.out.String(), &n, &began, &epoch); err != nil {
			t.Fatal(err)
		}
		epochs[epoch] = true
		if n > 0 {
			migrated++
		}
		if began {
			created++
		}
	}
	if migrated != 1 || created != 1 || len(epochs) != 1 {
		t.Errorf("%d migrated, %d began the log, epochs %v: want one of each", migrated, created, epochs)
	}
}

func TestPostgreSQLThatIsNewerIsLeftAsItIs(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	openURL(t, url)
	schema := url[strings.LastIndex(url, "=")+1:]
	pgtest.Run(t, "INSERT INTO "+schema+".goose_db_version (version_id, is_applied) VALUES (999, true)")
	db, err := sqlstore.Open(t.Context(), sqlstore.Config{Postgres: sqlstore.Postgres{URL: url}})
	if !errors.Is(err, sqlstore.ErrNewer) {
		t.Errorf("Open = %v, %v", db, err)
	}
}

// TestWhatCannotBeReachedIsNamed, with what to do and without the password.
func TestWhatCannotBeReachedIsNamed(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	url := pgtest.URL(t)
	for _, row := range []struct{ name, url, want, hint string }{
		{"nobody answers", "postgres://u:hunter2@" + l.Addr().String() + "/d?connect_timeout=1", l.Addr().String(), "does it run"},
		{"no such host", "postgres://u:hunter2@host.invalid/d", "host.invalid:5432", "does it run"},
		{"no TLS there", url + "&sslmode=require&password=hunter2", "", ""}, // a socket has none, and needs none
		{"no such user", strings.Replace(url, "tegata@", "nobody:hunter2@", 1), "/", "pg_hba.conf"},
		{"no such database", strings.Replace(url, "/postgres?", "/missing?", 1) + "&password=hunter2", "/", "CREATE DATABASE"},
	} {
		db, err := sqlstore.Open(t.Context(), sqlstore.Config{Postgres: sqlstore.Postgres{URL: row.url, Password: "hunter3"}})
		if row.want == "" {
			if err != nil {
				t.Errorf("%s: %v", row.name, err)
				continue
			}
			_ = db.Close()
			continue
		}
		var away *sqlstore.UnreachableError
		if !errors.As(err, &away) || !strings.HasPrefix(away.Where, row.want) || !strings.Contains(away.Hint, row.hint) {
			t.Errorf("%s: %v (%+v)", row.name, err, away)
		}
		if err != nil && strings.Contains(err.Error(), "hunter") {
			t.Errorf("%s: the password is told: %v", row.name, err)
		}
	}
}

func TestURLsThatCannotBeRight(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"postgres://u:hunter2@[::1/d", "postgres://u:hunter2%zz@h/d", "mysql://u:hunter2@h/d", "u:hunter2@h",
		"postgres://u:hunter2@h/d?sslmode=perhaps", "postgres://u:hunter2@h/d?sslmode=verify-full&sslrootcert=missing.pem",
		"postgres://u:hunter2@h:port/d", "postgres://u:hunter2@h/d?connect_timeout=soon",
	} {
		_, err := sqlstore.Open(t.Context(), sqlstore.Config{Postgres: sqlstore.Postgres{URL: url}})
		if !errors.Is(err, sqlstore.ErrURL) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", url, err)
		}
	}
}

// TestTextThatPostgreSQLCannotHold: what anybody may send as a name is not
// found, rather than an error.
func TestTextThatPostgreSQLCannotHold(t *testing.T) {
	t.Parallel()
	db := openURL(t, pgtest.URL(t))
	for _, name := range []string{"alice\x00", "\x00", "\xff\xfe", "a\xc3"} {
		err := db.Users().Read(t.Context(), func(v user.View) error {
			_, err := v.UserByUsername("r", name)
			return err
		})
		if !errors.Is(err, user.ErrNotFound) {
			t.Errorf("user %q: %v", name, err)
		}
		err = db.Clients().Read(t.Context(), func(v client.View) error {
			_, err := v.ClientByClientID("r", name)
			return err
		})
		if !errors.Is(err, client.ErrNotFound) {
			t.Errorf("client %q: %v", name, err)
		}
		u := session.UserSession{ID: "s", RealmID: "r", Agent: name}
		if _, err := db.Sessions().Write(t.Context(), func(tx session.Tx) error { return tx.PutUserSession(u) }); err != nil {
			t.Errorf("agent %q: %v", name, err)
		}
	}
}

// TestStoppedInTheMiddle: a process that stops in the middle of a transaction
// keeps others waiting until the server gives it up. Going on, it begins anew
// and sees what they did.
func TestStoppedInTheMiddle(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	a, b := openURL(t, url+"&idle_in_transaction_session_timeout=300"), openURL(t, url)
	began, going := make(chan struct{}), make(chan struct{})
	stopped := make(chan error)
	var saw revocation.Revision
	go func() {
		var once sync.Once
		_, err := a.Sessions().Write(context.Background(), func(tx session.Tx) (err error) {
			if saw, err = tx.Revision(); err != nil {
				return err
			}
			err = tx.PutUserSession(session.UserSession{ID: "s", RealmID: "r"}) // locks the key
			once.Do(func() { close(began); <-going })
			return errors.Join(err, tx.Revoke("r", record(revocation.KindToken, "late")))
		})
		stopped <- err
	}()
	<-began
	rev, err := b.Sessions().Write(t.Context(), func(tx session.Tx) error {
		return errors.Join(tx.PutUserSession(session.UserSession{ID: "s", RealmID: "r", Agent: "b"}), tx.Revoke("r", record(revocation.KindToken, "b")))
	})
	if err != nil || rev != 1 {
		t.Errorf("the other: %d, %v", rev, err)
	}
	close(going)
	if err := <-stopped; err != nil || saw != 1 {
		t.Errorf("who was given up: %v, and saw revision %d", err, saw)
	}
	if _, head, err := b.Head(t.Context()); head != 2 || err != nil {
		t.Errorf("head = %d, %v", head, err)
	}
}

// TestStatementsEnd: who waits for a lock for too long is told so.
func TestStatementsEnd(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	a := openURL(t, url)
	b := openWith(t, sqlstore.Config{Postgres: sqlstore.Postgres{URL: url, StatementTimeout: 200 * time.Millisecond}})
	put := func(tx session.Tx) error { return tx.PutUserSession(session.UserSession{ID: "s", RealmID: "r"}) }
	_, err := a.Sessions().Write(t.Context(), func(tx session.Tx) error {
		if err := put(tx); err != nil {
			return err
		}
		if _, err := b.Sessions().Write(t.Context(), put); err == nil || !strings.Contains(err.Error(), "statement timeout") {
			t.Errorf("the one who waited: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
