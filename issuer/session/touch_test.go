package session_test

import (
	"context"
	"testing"
	"time"

	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/revocation"
)

// rows is a store that counts the rows written for a session's being used.
type rows struct {
	session.Store
	user, client, mark int
}

func (r *rows) Write(ctx context.Context, f func(session.Tx) error) (revocation.Revision, error) {
	return r.Store.Write(ctx, func(tx session.Tx) error { return f(rowsTx{tx, r}) })
}

type rowsTx struct {
	session.Tx
	rows *rows
}

func (t rowsTx) PutUserSession(u session.UserSession) error {
	t.rows.user++
	return t.Tx.PutUserSession(u)
}

func (t rowsTx) PutClientSession(c session.ClientSession) error {
	t.rows.client++
	return t.Tx.PutClientSession(c)
}

func (t rowsTx) MarkMinted(realmID, clientID string, at time.Time) error {
	t.rows.mark++
	return t.Tx.MarkMinted(realmID, clientID, at)
}

// TestARefreshTouchesOnceAMinute: of a busy session, a refresh each second
// writes its family, and the other rows with the minute.
func TestARefreshTouchesOnceAMinute(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := w.login()
	counted := &rows{Store: w.db.Sessions()}
	s := w.on(counted)
	const minutes = 3
	for range minutes * 60 {
		w.pass(time.Second)
		var err error
		g, err = s.Refresh(t.Context(), w.present(g))
		w.must(err)
	}
	if counted.user == 0 || counted.client == 0 || counted.mark == 0 {
		t.Errorf("written: %+v: a touch is lost", *counted)
	}
	// Once for being seen and once for the mark, which are due at different
	// seconds of a minute.
	if counted.user > 2*minutes || counted.client > 2*minutes || counted.mark > minutes {
		t.Errorf("written in %d minutes: session %d, client session %d, marks %d", minutes, counted.user, counted.client, counted.mark)
	}
}

// TestMaxLifetimeEndsASession that is in use, whatever its idle time says: at
// the login page, for a new code, and for one that was issued before.
func TestMaxLifetimeEndsASession(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.realm.Settings = realm.Settings{SSOSessionMaxLifespan: time.Hour}
	u, cookie := w.open()
	w.pass(30 * time.Minute)
	w.code(u.ID, "shop")
	w.pass(30*time.Minute - time.Microsecond) // idle is a minute later than max
	if _, err := w.ByCookie(t.Context(), w.realm, cookie); err != nil {
		t.Errorf("a moment before: %v", err)
	}
	code := w.code(u.ID, "shop")
	w.pass(time.Microsecond)
	if found, err := w.ByCookie(t.Context(), w.realm, cookie); err == nil {
		t.Errorf("found at max lifetime: %+v", found)
	}
	_, err := w.IssueCode(t.Context(), w.realm, session.Code{SessionID: u.ID, ClientID: "shop"})
	if got := w.why(err); got != session.Expired {
		t.Errorf("a new code: %q, want %q", got, session.Expired)
	}
	_, err = w.redeem(code)
	if got := w.why(err); got != session.Expired {
		t.Errorf("a code of before: %q, want %q", got, session.Expired)
	}
}

// TestAMarkNeverFalls: a token of a short life does not make the mesh forget
// one of a long life that was minted before it.
func TestAMarkNeverFalls(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*world, session.Grant) (revocation.Revision, error){
		"session": func(w *world, g session.Grant) (revocation.Revision, error) {
			return w.End(w.t.Context(), w.realm, g.User.ID, revocation.ReasonLogout)
		},
		"client session": func(w *world, g session.Grant) (revocation.Revision, error) {
			return w.EndClientSession(w.t.Context(), w.realm, g.User.ID, "shop", revocation.ReasonLogout)
		},
		"client": func(w *world, _ session.Grant) (revocation.Revision, error) {
			return w.EndClient(w.t.Context(), w.realm, "shop", revocation.ReasonLogout)
		},
		"realm": func(w *world, _ session.Grant) (revocation.Revision, error) {
			return w.EndRealm(w.t.Context(), w.realm, revocation.ReasonLogout)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			p := w.present(w.login())
			p.AccessLife = time.Hour
			g, err := w.Refresh(t.Context(), p)
			w.must(err)
			long := w.now.Add(time.Hour)
			w.pass(2 * time.Minute) // so that the next touches the rows
			g, err = w.Refresh(t.Context(), w.present(g))
			w.must(err)
			w.rev(end(w, g))
			for _, r := range w.records() {
				if r.ExpiresAt.Before(long.Add(time.Minute)) {
					t.Errorf("the record of kind %d expires at %v, a token lives until %v", r.Target.Kind, r.ExpiresAt, long)
				}
			}
		})
	}
}

// TestMarksAreOfTheirOwn: a client's record need not wait for the tokens of
// another client, but the realm's must; a client that begins late is marked,
// although the realm is marked higher already.
func TestMarksAreOfTheirOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.MintPoint(t.Context(), w.realm, "app", time.Hour)
	w.must(err)
	w.pass(time.Minute)
	_, err = w.MintPoint(t.Context(), w.realm, "shop", life)
	w.must(err)
	for _, tt := range []struct {
		end  func() (revocation.Revision, error)
		want time.Time
	}{
		{func() (revocation.Revision, error) {
			return w.EndClient(t.Context(), w.realm, "shop", revocation.ReasonAdmin)
		}, w.now.Add(life + time.Minute)},
		{func() (revocation.Revision, error) {
			return w.EndClient(t.Context(), w.realm, "app", revocation.ReasonAdmin)
		}, noon.Add(time.Hour + time.Minute)},
		{func() (revocation.Revision, error) {
			return w.EndRealm(t.Context(), w.realm, revocation.ReasonAdmin)
		}, noon.Add(time.Hour + time.Minute)},
	} {
		rev := w.rev(tt.end())
		r := w.records()[rev-1]
		if r.ExpiresAt != tt.want {
			t.Errorf("record of %+v expires at %v, want %v", r.Target, r.ExpiresAt, tt.want)
		}
	}
}
