package session_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tegata/tegata/issuer/client"
	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/revocation"
)

// take takes all notices that are due, as session/client, in order. S1 and S2
// stand for the sessions.
func (w *world) take(sids ...string) (all []session.Notice, short string) {
	w.t.Helper()
	all, err := w.TakeNotices(w.t.Context(), 100, time.Minute)
	w.must(err)
	var names []string
	for _, n := range all {
		names = append(names, fmt.Sprintf("%d/%s", slices.Index(sids, n.SessionID)+1, n.ClientID))
	}
	slices.Sort(names)
	return all, strings.Join(names, " ")
}

// TestWhoIsToldOfAnEnd: Keycloak's table of what ends with a back-channel
// logout, of two sessions of a user with two clients each that want to know
// and one that does not.
func TestWhoIsToldOfAnEnd(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		end  func(w *world, sid string) (revocation.Revision, error)
		told string
	}{
		"a logout": {func(w *world, sid string) (revocation.Revision, error) {
			return w.End(w.t.Context(), w.realm, sid, revocation.ReasonLogout)
		}, "1/app 1/shop"},
		"a user's end": {func(w *world, _ string) (revocation.Revision, error) {
			return w.EndUser(w.t.Context(), w.realm, "u-1", revocation.ReasonAdmin)
		}, "1/app 1/shop 2/app 2/shop"},
		"time": {func(w *world, _ string) (revocation.Revision, error) {
			w.pass(time.Hour)
			return 0, w.Sweep(w.t.Context())
		}, "1/app 1/shop 2/app 2/shop"},
		"time, after the realm's end": {func(w *world, _ string) (revocation.Revision, error) {
			w.rev(w.EndRealm(w.t.Context(), w.realm, revocation.ReasonAdmin))
			w.pass(time.Hour)
			return 0, w.Sweep(w.t.Context())
		}, ""},
		"a revoked refresh token": {func(w *world, sid string) (revocation.Revision, error) {
			w.rev(w.EndClientSession(w.t.Context(), w.realm, sid, "app", revocation.ReasonRevoked))
			w.rev(w.EndClientSession(w.t.Context(), w.realm, sid, "mute", revocation.ReasonRevoked))
			return w.EndClientSession(w.t.Context(), w.realm, sid, "shop", revocation.ReasonRevoked)
		}, ""},
		"a client's end": {func(w *world, _ string) (revocation.Revision, error) {
			return w.EndClient(w.t.Context(), w.realm, "app", revocation.ReasonAdmin)
		}, ""},
		"a withdrawn consent": {func(w *world, _ string) (revocation.Revision, error) {
			return w.EndConsent(w.t.Context(), w.realm, "u-1", "app")
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.must(w.db.Clients().Write(t.Context(), func(tx client.Tx) error {
				return tx.PutClient(client.Client{ID: "uuid of mute", RealmID: w.realm.ID, ClientID: "mute", Enabled: true})
			}))
			var sids []string
			for range 2 {
				u, _ := w.open()
				sids = append(sids, u.ID)
				for _, c := range []string{"app", "shop", "mute"} {
					w.enter(u.ID, c)
				}
			}
			_, err := tt.end(w, sids[0])
			w.must(err)
			all, told := w.take(sids...)
			if told != tt.told {
				t.Errorf("told: %q, want %q", told, tt.told)
			}
			for _, n := range all {
				if n.UserID != "u-1" || n.RealmID != "r-1" {
					t.Errorf("notice %+v", n)
				}
			}
		})
	}
}

// TestANoticeIsKeptUntilItIsDelivered: one taker at a time, later each time it
// fails, until a day has passed.
func TestANoticeIsKeptUntilItIsDelivered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := w.login()
	w.rev(w.End(t.Context(), w.realm, g.User.ID, revocation.ReasonLogout))
	select {
	case <-w.Notices():
	default:
		t.Error("nobody was woken")
	}
	if _, got := w.take(g.User.ID); got != "1/shop" {
		t.Fatalf("took %q", got)
	}
	if _, got := w.take(g.User.ID); got != "" {
		t.Errorf("took %q, which somebody else has", got)
	}
	w.pass(time.Minute) // who had it has not said a word
	var waits []time.Duration
	for start := w.now; ; {
		all, got := w.take(g.User.ID)
		if got != "1/shop" {
			t.Fatalf("after %v: took %q", w.now.Sub(start), got)
		}
		again, err := w.Failed(t.Context(), all[0])
		w.must(err)
		if !again {
			break
		}
		var wait time.Duration
		for got = ""; got == ""; wait += time.Second {
			w.pass(time.Second)
			var due []session.Notice
			w.view(func(v session.View) (err error) {
				due, err = v.DueNotices(w.now, 10)
				return err
			})
			if len(due) > 0 {
				got = "due"
			}
		}
		waits = append(waits, wait)
	}
	if want := []time.Duration{2 * time.Second, 4 * time.Second, 8 * time.Second}; !slices.Equal(waits[:3], want) || slices.Max(waits) != 10*time.Minute {
		t.Errorf("waits %v", waits)
	}
	if life := w.now.Sub(noon); life < 23*time.Hour || life > 25*time.Hour {
		t.Errorf("given up after %v", life)
	}
	w.pass(time.Hour)
	if _, got := w.take(g.User.ID); got != "" {
		t.Errorf("took %q, which was given up", got)
	}

	g = w.login()
	w.rev(w.End(t.Context(), w.realm, g.User.ID, revocation.ReasonLogout))
	all, _ := w.take(g.User.ID)
	w.must(w.Delivered(t.Context(), all[0]))
	w.pass(time.Hour)
	if _, got := w.take(g.User.ID); got != "" {
		t.Errorf("took %q, which was delivered", got)
	}
}
