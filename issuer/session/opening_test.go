package session_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/revocation"
)

// offline lets shop into a session with offline_access.
func (w *world) offline(sid string) (g session.Grant, code string) {
	w.t.Helper()
	code, err := w.IssueCode(w.t.Context(), w.realm, session.Code{SessionID: sid, ClientID: "shop", Scope: "openid offline_access"})
	w.must(err)
	g, err = w.redeem(code)
	w.must(err)
	return g, code
}

// TestAnOfflineSessionIsItsOwn: it has a sid that the browser's never had, and
// goes on when the browser's ends, by logout or by its lifetime.
func TestAnOfflineSessionIsItsOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	u, _ := w.open()
	g, _ := w.offline(u.ID)
	if !g.User.Offline || g.User.ID == u.ID || g.User.Origin != u.ID || g.User.UserID != u.UserID || g.User.CookieHash != nil || !g.User.AuthTime.Equal(u.AuthTime) {
		t.Fatalf("offline session %+v of %+v", g.User, u)
	}
	w.rev(w.End(t.Context(), w.realm, u.ID, revocation.ReasonLogout))
	if why := w.alive(w.token(g)); why != "" {
		t.Errorf("after the browser's logout: %s", why)
	}
	w.pass(20 * 24 * time.Hour)
	w.must(w.Sweep(t.Context()))
	g, err := w.Refresh(t.Context(), w.present(g))
	if err != nil || !g.User.Offline || !g.Expires.IsZero() {
		t.Fatalf("after 20 days: %+v, %v", g, err)
	}
	w.pass(20 * 24 * time.Hour)
	if g, err = w.Refresh(t.Context(), w.present(g)); err != nil {
		t.Errorf("40 days, used after 20: %v", err)
	}
	w.pass(31 * 24 * time.Hour)
	if _, err := w.Refresh(t.Context(), w.present(g)); w.why(err) != session.Expired {
		t.Errorf("31 days idle: %v", err)
	}
}

func TestAnOfflineSessionEndsAtItsMaximum(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.realm.Settings.OfflineSessionMaxLifespan = 24 * time.Hour
	u, _ := w.open()
	g, _ := w.offline(u.ID)
	if want := w.now.Add(24 * time.Hour); !g.Expires.Equal(want) || !g.Family.Expires.Equal(want) {
		t.Errorf("ends at %v and %v, want %v", g.Expires, g.Family.Expires, want)
	}
	w.pass(24 * time.Hour)
	if _, err := w.Refresh(t.Context(), w.present(g)); w.why(err) != session.Expired {
		t.Errorf("after its maximum: %v", err)
	}
}

// TestACodeThatComesBackEndsWhatItOpened: the offline session, and not the one
// of the browser.
func TestACodeThatComesBackEndsWhatItOpened(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	u, cookie := w.open()
	beside := w.enter(u.ID, "shop")
	g, code := w.offline(u.ID)
	w.pass(time.Hour / 3)
	if _, err := w.redeem(code); !errors.Is(err, session.ErrCodeReused) {
		t.Fatalf("second use: %v", err)
	}
	if w.alive(w.token(g)) == "" {
		t.Error("what the code opened lives on")
	}
	if why := w.alive(w.token(beside)); why != "" {
		t.Errorf("what another code opened: %s", why)
	}
	if _, err := w.ByCookie(t.Context(), w.realm, cookie); err != nil {
		t.Errorf("the browser's session: %v", err)
	}
}

// TestWhatWasAskedStaysWithTheChain: also over a refresh and the store.
func TestWhatWasAskedStaysWithTheChain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	u, _ := w.open()
	asked := session.Asked{
		Resource: []string{"https://api.example"}, Details: json.RawMessage(`[{"type":"pay"}]`), Claims: json.RawMessage(`{"userinfo":{"email":null}}`),
	}
	code, err := w.IssueCode(t.Context(), w.realm, session.Code{SessionID: u.ID, ClientID: "shop", Scope: "openid", Asked: asked, DPoPKey: "k"})
	w.must(err)
	c, g, err := w.RedeemCode(t.Context(), session.Redeeming{
		Realm: w.realm, Code: code, AccessLife: life, Binding: session.Binding{JKT: "k"}, Check: func(session.Code) error { return nil },
	})
	w.must(err)
	p := w.present(g)
	p.Binding = session.Binding{JKT: "k"}
	g, err = w.Refresh(t.Context(), p)
	w.must(err)
	if diff := cmp.Diff(asked, g.Family.Asked); diff != "" || c.DPoPKey != "k" || g.Family.Binding.JKT != "k" {
		t.Errorf("code %+v, family %+v\n%s", c, g.Family, diff)
	}
}

// TestABoundRefreshTokenIsWorthNothingAlone: it is refused to who cannot show
// what it is bound to, and stays good for who can.
func TestABoundRefreshTokenIsWorthNothingAlone(t *testing.T) {
	t.Parallel()
	for _, bound := range []session.Binding{{JKT: "key"}, {X5T: "cert"}, {JKT: "key", X5T: "cert"}} {
		w := newWorld(t)
		u, _ := w.open()
		_, g, err := w.RedeemCode(t.Context(), session.Redeeming{
			Realm: w.realm, Code: w.code(u.ID, "shop"), AccessLife: life, Binding: bound, Check: func(session.Code) error { return nil },
		})
		w.must(err)
		p := w.present(g)
		for _, shown := range []session.Binding{{}, {JKT: "other", X5T: "cert"}, {JKT: "key", X5T: "other"}} {
			if shown.JKT == bound.JKT || bound.JKT == "" && shown.X5T == bound.X5T {
				continue
			}
			p.Binding = shown
			if _, err := w.Refresh(t.Context(), p); !errors.Is(err, session.ErrBinding) {
				t.Errorf("%+v, shown %+v: %v", bound, shown, err)
			}
		}
		p.Binding = bound
		if _, err := w.Refresh(t.Context(), p); err != nil {
			t.Errorf("%+v, shown: %v", bound, err)
		}
	}
}

func TestASessionIsOpenedWithoutABrowser(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	direct := session.Direct{
		Login:    session.Login{Realm: w.realm, UserID: "u-1", ACR: "1", AMR: []string{"pwd"}},
		ClientID: "shop", Scope: "openid", AccessLife: life,
	}
	g, err := w.OpenDirect(t.Context(), direct)
	w.must(err)
	if g.User.CookieHash != nil || g.User.Offline || g.Family.Generation != 1 || w.alive(w.token(g)) != "" {
		t.Errorf("opened %+v", g)
	}
	if _, err := w.Refresh(t.Context(), w.present(g)); err != nil {
		t.Error(err)
	}

	direct.NoRefresh = true
	if g, err = w.OpenDirect(t.Context(), direct); err != nil || g.Family.ID != "" || g.Family.Scope != "openid" {
		t.Errorf("without a refresh token: %+v, %v", g.Family, err)
	}

	direct.Scope, direct.NoRefresh = "openid offline_access", false
	if g, err = w.OpenDirect(t.Context(), direct); err != nil || !g.User.Offline || w.alive(w.token(g)) != "" {
		t.Errorf("offline: %+v, %v", g.User, err)
	}

	u, _ := w.open()
	direct.Scope, direct.SessionID = "openid", u.ID
	if _, err = w.OpenDirect(t.Context(), direct); w.why(err) != session.Revoked {
		t.Errorf("in a browser's session, without consent: %v", err)
	}
	w.must(w.Consent(t.Context(), w.realm, "u-1", "shop", "openid"))
	if g, err = w.OpenDirect(t.Context(), direct); err != nil || g.User.ID != u.ID {
		t.Errorf("in a browser's session: %+v, %v", g.User, err)
	}
	direct.Login.UserID = "u-2"
	if _, err = w.OpenDirect(t.Context(), direct); w.why(err) != session.NoSession {
		t.Errorf("in the session of somebody else: %v", err)
	}
	w.putUser(false)
	direct.Login.UserID, direct.SessionID = "u-1", ""
	if _, err = w.OpenDirect(t.Context(), direct); w.why(err) != session.UserDisabled {
		t.Errorf("of a disabled user: %v", err)
	}
}

// TestAnExchangedTokenDiesWithItsSession: and brings nothing that could refresh.
func TestAnExchangedTokenDiesWithItsSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	from := w.login()
	e := session.Exchanging{
		Realm: w.realm, SessionID: from.User.ID, UserID: "u-1", ClientID: "app", Scope: "openid offline_access", AccessLife: life,
	}
	g, err := w.Exchange(t.Context(), e)
	w.must(err)
	if g.User.ID != from.User.ID || g.Family.ID != "" || g.Client.ClientID != "app" || g.Client.Scope != "openid" || w.alive(w.token(g)) != "" {
		t.Errorf("exchanged %+v", g)
	}
	e.UserID = "u-2"
	if _, err := w.Exchange(t.Context(), e); w.why(err) != session.NoSession {
		t.Errorf("of somebody else: %v", err)
	}
	w.rev(w.End(t.Context(), w.realm, from.User.ID, revocation.ReasonLogout))
	if w.alive(w.token(g)) == "" {
		t.Error("the session is over, the token is not")
	}
	e.UserID = "u-1"
	if _, err := w.Exchange(t.Context(), e); w.why(err) != session.NoSession {
		t.Errorf("in a session that is over: %v", err)
	}
}

// TestConsentThatIsWithdrawnEndsTheClientEverywhere: in every session of the
// user, offline ones too, and no other client.
func TestConsentThatIsWithdrawnEndsTheClientEverywhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	u, cookie := w.open()
	online, other := w.enter(u.ID, "shop"), w.enter(u.ID, "app")
	away, _ := w.offline(u.ID)
	rev, err := w.EndConsent(t.Context(), w.realm, "u-1", "shop")
	w.must(err)
	if rev == 0 || w.alive(w.token(online)) == "" || w.alive(w.token(away)) == "" {
		t.Errorf("revision %d: tokens live on", rev)
	}
	if why := w.alive(w.token(other)); why != "" {
		t.Errorf("another client's: %s", why)
	}
	if _, err := w.ByCookie(t.Context(), w.realm, cookie); err != nil {
		t.Errorf("the browser's session: %v", err)
	}
	if rev, err := w.EndConsent(t.Context(), w.realm, "u-1", "shop"); rev != 0 || err != nil {
		t.Errorf("nothing to end: %d, %v", rev, err)
	}
}
