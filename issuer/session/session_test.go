package session_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tegata/tegata/issuer/client"
	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/issuer/sqlstore"
	"github.com/tegata/tegata/issuer/user"
	"github.com/tegata/tegata/revocation"
)

// noon is when tests begin: a full minute, in the precision that is kept.
var noon = time.Date(2030, 1, 2, 12, 0, 0, 0, time.UTC)

// life is how long the access tokens of these tests live.
const life = 5 * time.Minute

// world is the service on a store with the realm demo, its clients shop and
// app and its user u-1, and a clock that stands still.
type world struct {
	*session.Sessions
	t     *testing.T
	db    *sqlstore.DB
	realm realm.Realm
	now   time.Time
	log   bytes.Buffer
}

func newWorld(t *testing.T) *world {
	t.Helper()
	db, err := sqlstore.Open(t.Context(), sqlstore.Config{Path: filepath.Join(t.TempDir(), "tegata.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	w := &world{t: t, db: db, now: noon, realm: realm.Realm{ID: "r-1", Name: "demo", Issuer: "https://id.example/realms/demo", Enabled: true}}
	w.putRealm(w.realm)
	w.putClient("shop", true)
	w.putClient("app", true)
	w.putUser(true)
	w.Sessions, err = session.New(session.Config{
		Store: twice{db.Sessions()}, Now: func() time.Time { return w.now }, Rand: rand.Reader,
		Logger: slog.New(slog.NewTextHandler(&w.log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// twice is a store that runs each closure once in vain, as Store says that one
// may: what the first run leaves outside the transaction would show.
type twice struct{ session.Store }

var errAgain = errors.New("once more")

func (s twice) Write(ctx context.Context, f func(session.Tx) error) (revocation.Revision, error) {
	_, err := s.Store.Write(ctx, func(tx session.Tx) error {
		_ = f(tx)
		return errAgain
	})
	if !errors.Is(err, errAgain) {
		return 0, err
	}
	return s.Store.Write(ctx, f)
}

// on is the service on another store.
func (w *world) on(store session.Store) *session.Sessions {
	w.t.Helper()
	s, err := session.New(session.Config{Store: store, Now: func() time.Time { return w.now }, Rand: rand.Reader})
	w.must(err)
	return s
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) putRealm(r realm.Realm) {
	w.t.Helper()
	w.must(w.db.Realms().Write(w.t.Context(), func(tx realm.Tx) error { return tx.PutRealm(r) }))
}

func (w *world) putClient(id string, enabled bool) {
	w.t.Helper()
	w.must(w.db.Clients().Write(w.t.Context(), func(tx client.Tx) error {
		return tx.PutClient(client.Client{
			ID: "uuid of " + id, RealmID: w.realm.ID, ClientID: id, Enabled: enabled,
			Attributes: map[string]string{"backchannel.logout.url": "https://" + id + ".example/logout"},
		})
	}))
}

func (w *world) putUser(enabled bool) {
	w.t.Helper()
	w.must(w.db.Users().Write(w.t.Context(), func(tx user.Tx) error {
		return tx.PutUser(user.User{ID: "u-1", RealmID: w.realm.ID, Username: "alice", Enabled: enabled})
	}))
}

// pass lets time pass.
func (w *world) pass(d time.Duration) { w.now = w.now.Add(d) }

// open opens a session and returns it with its cookie.
func (w *world) open() (session.UserSession, string) {
	w.t.Helper()
	u, cookie, err := w.Open(w.t.Context(), session.Login{Realm: w.realm, UserID: "u-1", ACR: "1", AMR: []string{"pwd"}, IP: "192.0.2.1"})
	w.must(err)
	return u, cookie
}

// code issues a code for a client in a session.
func (w *world) code(sid, clientID string) string {
	w.t.Helper()
	code, err := w.IssueCode(w.t.Context(), w.realm, session.Code{SessionID: sid, ClientID: clientID, Scope: "openid " + clientID})
	w.must(err)
	return code
}

// redeem redeems a code that every check lets pass.
func (w *world) redeem(code string) (session.Grant, error) {
	_, g, err := w.RedeemCode(w.t.Context(), session.Redeeming{Realm: w.realm, Code: code, AccessLife: life, Check: func(session.Code) error { return nil }})
	return g, err
}

// enter lets a client into a session.
func (w *world) enter(sid, clientID string) session.Grant {
	w.t.Helper()
	g, err := w.redeem(w.code(sid, clientID))
	w.must(err)
	return g
}

// login opens a session and lets shop in.
func (w *world) login() session.Grant {
	w.t.Helper()
	u, _ := w.open()
	return w.enter(u.ID, "shop")
}

// present is the refresh token of a grant.
func (w *world) present(g session.Grant) session.Refreshing {
	return session.Refreshing{
		Realm: w.realm, SessionID: g.User.ID, ClientID: g.Client.ClientID, UserID: g.User.UserID,
		FamilyID: g.Family.ID, Generation: g.Family.Generation, AccessLife: life,
	}
}

// token is the access token of a grant.
func (w *world) token(g session.Grant) revocation.Token {
	return revocation.Token{
		Issuer: w.realm.Issuer, ID: "jti of " + g.Family.ID, Session: g.User.ID, Subject: g.User.UserID, Client: g.Client.ClientID,
		Key: "kid", Rev: g.Rev, HasRev: true, IssuedAt: w.now,
	}
}

// alive says why an access token is dead, or nothing.
func (w *world) alive(tok revocation.Token) string {
	w.t.Helper()
	return w.why(w.Alive(w.t.Context(), session.Subject{Realm: w.realm, Token: tok}))
}

// why is why something is dead, or nothing.
func (w *world) why(err error) string {
	w.t.Helper()
	var dead *session.Dead
	if err != nil && !errors.As(err, &dead) {
		w.t.Fatalf("%v, want a verdict", err)
	}
	if err == nil {
		return ""
	}
	return dead.Why
}

// records is the whole log but for what the store adds.
func (w *world) records() []revocation.Record {
	w.t.Helper()
	all, _, err := w.db.Since(w.t.Context(), 0, 10_000)
	w.must(err)
	for i := range all {
		all[i].CommittedAt = time.Time{}
	}
	return all
}

// view runs f on a snapshot.
func (w *world) view(f func(session.View) error) {
	w.t.Helper()
	w.must(w.db.Sessions().Read(w.t.Context(), f))
}

// diff fails unless got is want.
func diff(t *testing.T, what string, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

func TestNewRefusesWhatItCannotRunWith(t *testing.T) {
	t.Parallel()
	whole := session.Config{Store: newWorld(t).db.Sessions(), Now: time.Now, Rand: rand.Reader}
	for name, change := range map[string]func(*session.Config){
		"no store":      func(c *session.Config) { c.Store = nil },
		"no clock":      func(c *session.Config) { c.Now = nil },
		"no randomness": func(c *session.Config) { c.Rand = nil },
	} {
		c := whole
		change(&c)
		if _, err := session.New(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := session.New(whole); err != nil {
		t.Error(err)
	}
}

func TestOpenStoresNoCookie(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	u, cookie := w.open()
	want := session.UserSession{
		ID: u.ID, RealmID: "r-1", Issuer: w.realm.Issuer, UserID: "u-1", CookieHash: u.CookieHash,
		Started: noon, AuthTime: noon, LastSeen: noon, Idle: noon.Add(31 * time.Minute), Expires: noon.Add(10 * time.Hour),
		ACR: "1", AMR: []string{"pwd"}, IP: "192.0.2.1",
	}
	diff(t, "the session", want, u)
	if len(cookie) != 64 || len(u.ID) != 36 || len(u.CookieHash) != 32 {
		t.Errorf("cookie of %d letters, id %q, hash of %d bytes", len(cookie), u.ID, len(u.CookieHash))
	}
	if strings.Contains(string(u.CookieHash), cookie) {
		t.Error("the cookie is stored")
	}
	found, err := w.ByCookie(t.Context(), w.realm, cookie)
	w.must(err)
	diff(t, "by cookie", want, found)
	other, otherCookie := w.open()
	if other.ID == u.ID || otherCookie == cookie {
		t.Error("two logins share an id or a cookie")
	}
}

func TestOpenNeedsARealmAndAUser(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change func(*world)
		want   string
	}{
		"a disabled user":  {func(w *world) { w.putUser(false) }, session.UserDisabled},
		"a disabled realm": {func(w *world) { r := w.realm; r.Enabled = false; w.putRealm(r) }, session.RealmDisabled},
		"a missing realm":  {func(w *world) { w.realm.ID = "r-9" }, session.RealmDisabled},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			tt.change(w)
			_, _, err := w.Open(t.Context(), session.Login{Realm: w.realm, UserID: "u-1"})
			if got := w.why(err); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	w := newWorld(t)
	_, _, err := w.Open(t.Context(), session.Login{Realm: w.realm, UserID: "u-9"})
	if got := w.why(err); got != session.UserDisabled {
		t.Errorf("a missing user: %q", got)
	}
}

// TestByCookieFindsTheLivingOnly: the login page asks a password again, and
// never learns why.
func TestByCookieFindsTheLivingOnly(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*world, session.UserSession){
		"logged out": func(w *world, u session.UserSession) {
			_, err := w.End(w.t.Context(), w.realm, u.ID, revocation.ReasonLogout)
			w.must(err)
		},
		"the user was killed": func(w *world, _ session.UserSession) {
			_, err := w.EndUser(w.t.Context(), w.realm, "u-1", revocation.ReasonAdmin)
			w.must(err)
		},
		"the realm was killed": func(w *world, _ session.UserSession) {
			_, err := w.EndRealm(w.t.Context(), w.realm, revocation.ReasonAdmin)
			w.must(err)
		},
		"idle":             func(w *world, _ session.UserSession) { w.pass(31 * time.Minute) },
		"disabled user":    func(w *world, _ session.UserSession) { w.putUser(false) },
		"disabled realm":   func(w *world, _ session.UserSession) { r := w.realm; r.Enabled = false; w.putRealm(r) },
		"of another realm": func(w *world, _ session.UserSession) { w.realm.ID = "r-2"; w.realm.Name = "two"; w.putRealm(w.realm) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			u, cookie := w.open()
			end(w, u)
			if _, err := w.ByCookie(t.Context(), w.realm, cookie); !errors.Is(err, session.ErrNotFound) {
				t.Errorf("got %v, want ErrNotFound", err)
			}
		})
	}
	w := newWorld(t)
	_, kept := w.open()
	_, err := w.EndClient(t.Context(), w.realm, "shop", revocation.ReasonAdmin)
	w.must(err)
	if _, err := w.ByCookie(t.Context(), w.realm, kept); err != nil {
		t.Errorf("after a client's end: %v: it is no end of the login", err)
	}
	for _, cookie := range []string{"", "no such cookie"} {
		if _, err := w.ByCookie(t.Context(), w.realm, cookie); !errors.Is(err, session.ErrNotFound) {
			t.Errorf("cookie %q: %v", cookie, err)
		}
	}
}

// broken is a store that fails.
type broken struct{ err error }

func (b broken) Read(context.Context, func(session.View) error) error { return b.err }
func (b broken) Write(context.Context, func(session.Tx) error) (revocation.Revision, error) {
	return 0, b.err
}

// TestAFailureIsNoVerdict: when the store fails, nobody is told that a token
// is dead or alive.
func TestAFailureIsNoVerdict(t *testing.T) {
	t.Parallel()
	errDisk := errors.New("disk")
	s, err := session.New(session.Config{Store: broken{errDisk}, Now: time.Now, Rand: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	r, ctx := realm.Realm{ID: "r-1"}, t.Context()
	for name, call := range map[string]func() error{
		"Open":      func() error { _, _, err := s.Open(ctx, session.Login{Realm: r}); return err },
		"ByCookie":  func() error { _, err := s.ByCookie(ctx, r, "c"); return err },
		"IssueCode": func() error { _, err := s.IssueCode(ctx, r, session.Code{}); return err },
		"RedeemCode": func() error {
			_, _, err := s.RedeemCode(ctx, session.Redeeming{Realm: r, Code: "c", AccessLife: life, Check: func(session.Code) error { return nil }})
			return err
		},
		"Refresh":          func() error { _, err := s.Refresh(ctx, session.Refreshing{Realm: r}); return err },
		"Alive":            func() error { return s.Alive(ctx, session.Subject{Realm: r}) },
		"MintPoint":        func() error { _, err := s.MintPoint(ctx, r, "c", life); return err },
		"Once":             func() error { return s.Once(ctx, r, "jti", "v", noon) },
		"Sweep":            func() error { return s.Sweep(ctx) },
		"RevokeToken":      func() error { _, err := s.RevokeToken(ctx, r, "j", noon, ""); return err },
		"End":              func() error { _, err := s.End(ctx, r, "s", ""); return err },
		"EndClientSession": func() error { _, err := s.EndClientSession(ctx, r, "s", "c", ""); return err },
		"EndUser":          func() error { _, err := s.EndUser(ctx, r, "u", ""); return err },
		"EndClient":        func() error { _, err := s.EndClient(ctx, r, "c", ""); return err },
		"EndRealm":         func() error { _, err := s.EndRealm(ctx, r, ""); return err },
	} {
		err := call()
		var dead *session.Dead
		if !errors.Is(err, errDisk) || errors.As(err, &dead) || errors.Is(err, session.ErrNotFound) {
			t.Errorf("%s: %v, want the failure", name, err)
		}
		if err != nil && strings.TrimSpace(strings.TrimSuffix(err.Error(), errDisk.Error())) == "" {
			t.Errorf("%s: %v says not what failed", name, err)
		}
	}
}

func TestWithoutRandomnessNothingIsOpened(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, n := range []int64{0, 15, 16, 47} { // in the id, at its end, in the secret
		s, err := session.New(session.Config{Store: w.db.Sessions(), Now: time.Now, Rand: io.LimitReader(rand.Reader, n)})
		w.must(err)
		if _, _, err := s.Open(t.Context(), session.Login{Realm: w.realm, UserID: "u-1"}); err == nil {
			t.Errorf("a session is opened on %d random bytes", n)
		}
	}
}

// counter counts writes.
type counter struct {
	session.Store
	writes int
}

func (c *counter) Write(ctx context.Context, f func(session.Tx) error) (revocation.Revision, error) {
	c.writes++
	return c.Store.Write(ctx, f)
}
