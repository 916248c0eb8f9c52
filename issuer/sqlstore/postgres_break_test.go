package sqlstore_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/tegata/tegata/internal/pgtest"
	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/revocation"
)

// TestConnectionsThatBreak: while a server ends connections, as in a restart or
// a failover, what was answered is there, whole, and afterwards all is well.
func TestConnectionsThatBreak(t *testing.T) {
	t.Parallel()
	s := pgtest.New(t, nil, "-c", "fsync=off")
	db := openURL(t, s.URL(nil))
	var mu sync.Mutex
	answered, broken := map[string]revocation.Revision{}, 0
	write := func(sid string) error {
		rev, err := db.Sessions().Write(t.Context(), func(tx session.Tx) error {
			return errors.Join(
				tx.PutUserSession(session.UserSession{ID: sid, RealmID: "r"}),
				tx.PutClientSession(session.ClientSession{SessionID: sid, ClientID: "c"}),
				tx.Revoke("r", record(revocation.KindToken, sid)),
				tx.Revoke("r", record(revocation.KindSession, sid)))
		})
		mu.Lock()
		defer mu.Unlock()
		if err == nil {
			answered[sid] = rev
		} else {
			broken++
		}
		return err
	}
	stop := make(chan struct{})
	var writers sync.WaitGroup
	for w := range 8 {
		writers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
					_ = write(fmt.Sprint(w, "-", i))
				}
			}
		})
	}
	for range 5 {
		if err := s.Run(t.Context(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tegata'"); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	writers.Wait()
	if err := write("afterwards"); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	t.Logf("%d writes were answered, %d were not", len(answered), broken)
	checkWhole(t, db, answered)
}
