package sqlstore_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tegata/tegata/internal/pgtest"
	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/revocation"
)

// TestWhoWaitsTogether: transactions that had to wait for the turn are each as
// if it were alone. One that fails, one whose caller has gone and one that
// panics leave nothing behind and take no other with them.
func TestWhoWaitsTogether(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	db := openURL(t, url)
	other, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close(context.Background())
	if _, err := other.Exec(t.Context(), "BEGIN; LOCK TABLE turn IN EXCLUSIVE MODE"); err != nil {
		t.Fatal(err)
	}

	errNo := errors.New("no")
	gone, leave := context.WithCancel(t.Context())
	var released atomic.Bool // until then all find the turn taken, or wait behind who has found it so
	var all sync.WaitGroup
	write := func(ctx context.Context, id string, end func() error) (rev revocation.Revision, err error) {
		defer func() {
			if v := recover(); v != nil {
				err = fmt.Errorf("panicked: %v", v)
			}
		}()
		return db.Sessions().Write(ctx, func(tx session.Tx) error {
			err := errors.Join(
				tx.PutUserSession(session.UserSession{ID: id, RealmID: "r"}), tx.Revoke("r", record(revocation.KindToken, id)))
			if err == nil && released.Load() {
				err = end()
			}
			return err
		})
	}
	ends := map[string]struct {
		ctx  context.Context
		end  func() error
		want string
	}{
		"failing":   {t.Context(), func() error { return errNo }, "no"},
		"panicking": {t.Context(), func() error { panic("oops") }, "panicked: oops"},
		"gone":      {gone, func() error { return nil }, "context canceled"},
	}
	for i := range 10 {
		ends[fmt.Sprint("good ", i)] = struct {
			ctx  context.Context
			end  func() error
			want string
		}{t.Context(), func() error { return nil }, "<nil>"}
	}
	var mu sync.Mutex
	revisions := map[revocation.Revision]string{}
	for id, e := range ends {
		all.Go(func() {
			rev, err := write(e.ctx, id, e.end)
			if got := fmt.Sprint(err); got != e.want {
				t.Errorf("%s: %v, want %s", id, err, e.want)
			}
			if err == nil {
				mu.Lock()
				defer mu.Unlock()
				revisions[rev] = id
			}
		})
	}
	for db.Waiting() < len(ends) {
		runtime.Gosched()
	}
	leave()
	released.Store(true)
	if _, err := other.Exec(t.Context(), "COMMIT"); err != nil {
		t.Fatal(err)
	}
	all.Wait()
	records, head, err := db.Since(t.Context(), 0, 100)
	if err != nil || head != 10 || len(records) != 10 || len(revisions) != 10 {
		t.Fatalf("%d records, head %d, %d answers, %v", len(records), head, len(revisions), err)
	}
	for _, r := range records {
		if revisions[r.Revision] != r.Target.ID {
			t.Errorf("revision %d is %q, was answered to %q", r.Revision, r.Target.ID, revisions[r.Revision])
		}
	}
	if err := db.Sessions().Read(t.Context(), func(v session.View) error {
		for id, e := range ends {
			if _, err := v.UserSession("r", id); (err == nil) != (e.want == "<nil>") {
				t.Errorf("the session of %q: %v", id, err)
			}
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}
