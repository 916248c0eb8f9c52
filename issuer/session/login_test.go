package session_test

import (
	"errors"
	"testing"
	"time"

	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/revocation"
)

var errCheck = errors.New("another client's code")

func TestIssueCodeNeedsALivingSession(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change func(*world)
		want   string
	}{
		"alive":             {func(*world) {}, ""},
		"a disabled client": {func(w *world) { w.putClient("shop", false) }, session.ClientDisabled},
		"a disabled user":   {func(w *world) { w.putUser(false) }, session.UserDisabled},
		"an idle session":   {func(w *world) { w.pass(31 * time.Minute) }, session.Expired},
		"a killed realm": {func(w *world) {
			_, err := w.EndRealm(w.t.Context(), w.realm, revocation.ReasonAdmin)
			w.must(err)
		}, session.Revoked},
		"a killed user": {func(w *world) {
			_, err := w.EndUser(w.t.Context(), w.realm, "u-1", revocation.ReasonAdmin)
			w.must(err)
		}, session.NoSession},
		"a killed client, which is not disabled": {func(w *world) {
			_, err := w.EndClient(w.t.Context(), w.realm, "shop", revocation.ReasonAdmin)
			w.must(err)
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			u, _ := w.open()
			tt.change(w)
			_, err := w.IssueCode(t.Context(), w.realm, session.Code{SessionID: u.ID, ClientID: "shop"})
			if got := w.why(err); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// TestIssueCodeKeepsASessionFromIdling: who comes back to log in elsewhere is
// there.
func TestIssueCodeKeepsASessionFromIdling(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	u, cookie := w.open()
	for range 3 {
		w.pass(20 * time.Minute)
		w.code(u.ID, "shop")
	}
	got, err := w.ByCookie(t.Context(), w.realm, cookie)
	w.must(err)
	if got.LastSeen != w.now {
		t.Errorf("seen at %v, want %v", got.LastSeen, w.now)
	}
}

func TestRedeemCodeOpensAClientSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	u, _ := w.open()
	issued := session.Code{
		SessionID: u.ID, ClientID: "shop", RedirectURI: "https://shop.example/cb", Scope: "openid orders", Nonce: "n",
		CodeChallenge: "challenge", ACR: "1", AuthTime: noon,
	}
	value, err := w.IssueCode(t.Context(), w.realm, issued)
	w.must(err)
	w.pass(30 * time.Second)
	c, g, err := w.RedeemCode(t.Context(), session.Redeeming{Realm: w.realm, Code: value, AccessLife: life, Check: func(c session.Code) error {
		diff(t, "what is checked", issued, c)
		return nil
	}})
	w.must(err)
	diff(t, "the code", issued, c)

	end, mark := noon.Add(10*time.Hour), noon.Add(6*time.Minute) // of 12:05:30, in whole minutes
	diff(t, "the client session", session.ClientSession{
		SessionID: u.ID, ClientID: "shop", Started: w.now, LastSeen: w.now, Expires: end, Scope: "openid orders", MaxAccessExp: mark,
	}, g.Client)
	diff(t, "the family", session.Family{
		ID: g.Family.ID, SessionID: u.ID, ClientID: "shop", Scope: "openid orders", Generation: 1, Rotated: w.now, Expires: end,
	}, g.Family)
	if g.User.ID != u.ID || g.User.MaxAccessExp != mark || g.Expires != end || g.Rev != 0 {
		t.Errorf("grant = %+v", g)
	}
	w.view(func(v session.View) error {
		user, err1 := v.UserSession("r-1", u.ID)
		client, err2 := v.ClientSession(u.ID, "shop")
		family, err3 := v.Family(g.Family.ID)
		diff(t, "stored", []any{g.User, g.Client, g.Family}, []any{user, client, family})
		r, err4 := v.RealmStanding("r-1")
		c, err5 := v.ClientStanding("r-1", "shop")
		if r.MaxAccessExp != mark || c.MaxAccessExp != mark {
			t.Errorf("marks: realm %v, client %v, want %v", r.MaxAccessExp, c.MaxAccessExp, mark)
		}
		return errors.Join(err1, err2, err3, err4, err5)
	})
	if got := w.alive(w.token(g)); got != "" {
		t.Errorf("the first token is dead: %s", got)
	}
}

// TestRedeemCodeTwice: what the second use of a code says, and what it ends,
// by what the first was (RFC 6749 §4.1.2).
func TestRedeemCodeTwice(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		first  func(w *world, code string) error // nil: none
		pass   time.Duration
		want   error  // of the second use; nil: a grant
		after  string // why the first's token is dead
		reused bool   // whether the reuse is recorded
		logout bool   // whether a logout is
	}{
		"the first time": {},
		"the last microsecond": {
			pass: time.Minute - time.Microsecond,
		},
		"expired": {
			pass: time.Minute, want: session.ErrCodeGone,
		},
		"after a success": {
			first: func(w *world, code string) error { _, err := w.redeem(code); return err },
			want:  session.ErrCodeReused, after: session.NoSession, reused: true,
		},
		"after a success, long after the code's life": {
			first: func(w *world, code string) error { _, err := w.redeem(code); return err },
			pass:  20 * time.Minute, want: session.ErrCodeReused, after: session.NoSession, reused: true,
		},
		"after a success, when the session is over": {
			first: func(w *world, code string) error { _, err := w.redeem(code); return err },
			pass:  10 * time.Hour, want: session.ErrCodeGone,
		},
		"after a success and a logout, which the reuse need not repeat": {
			first: func(w *world, code string) error {
				g, err := w.redeem(code)
				w.must(err)
				_, err = w.End(w.t.Context(), w.realm, g.User.ID, revocation.ReasonLogout)
				return err
			},
			want: session.ErrCodeReused, logout: true,
		},
		"after a check that failed": {
			first: func(w *world, code string) error {
				_, _, err := w.RedeemCode(w.t.Context(), session.Redeeming{Realm: w.realm, Code: code, AccessLife: life, Check: func(session.Code) error { return errCheck }})
				if !errors.Is(err, errCheck) {
					return errors.Join(errors.New("the check's error was lost"), err)
				}
				return nil
			},
			want: session.ErrCodeGone,
		},
		"after a client that was disabled": {
			first: func(w *world, code string) error {
				w.putClient("shop", false)
				_, err := w.redeem(code)
				if got := w.why(err); got != session.ClientDisabled {
					return errors.New("got " + got)
				}
				w.putClient("shop", true)
				return nil
			},
			want: session.ErrCodeGone,
		},
		"after a user that was disabled": {
			first: func(w *world, code string) error {
				w.putUser(false)
				_, err := w.redeem(code)
				if got := w.why(err); got != session.UserDisabled {
					return errors.New("got " + got)
				}
				w.putUser(true)
				return nil
			},
			want: session.ErrCodeGone,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			u, _ := w.open()
			code := w.code(u.ID, "shop")
			if tt.first != nil {
				w.must(tt.first(w, code))
			}
			w.pass(tt.pass)
			g, err := w.redeem(code)
			if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
			if err == nil && g.Family.ID == "" || err != nil && g.Family.ID != "" {
				t.Errorf("grant %+v with %v", g, err)
			}
			records := w.records()
			if tt.reused {
				diff(t, "the log", []revocation.Record{
					{
						Revision: 1, Issuer: w.realm.Issuer, Target: revocation.Target{Kind: revocation.KindClientSession, ID: u.ID, Client: "shop"},
						IssuedBefore: w.now, ExpiresAt: records[0].ExpiresAt, Reason: revocation.ReasonCodeReuse,
					},
					{
						Revision: 2, Issuer: w.realm.Issuer, Target: revocation.Target{Kind: revocation.KindSession, ID: u.ID},
						IssuedBefore: w.now, ExpiresAt: records[1].ExpiresAt, Reason: revocation.ReasonCodeReuse,
					},
				}, records)
				g := session.Grant{User: u, Client: session.ClientSession{ClientID: "shop"}}
				if got := w.alive(w.token(g)); got != tt.after {
					t.Errorf("the first's token: %q, want %q", got, tt.after)
				}
				return
			}
			if tt.logout != (len(records) == 1) || len(records) > 1 {
				t.Errorf("records %+v", records)
			}
		})
	}
}

func TestRedeemCodeKnowsItsOwnCodesOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	u, cookie := w.open()
	code := w.code(u.ID, "shop")
	other := w.realm
	other.ID, other.Name = "r-2", "two"
	w.putRealm(other)
	if _, _, err := w.RedeemCode(t.Context(), session.Redeeming{Realm: other, Code: code, AccessLife: life, Check: func(session.Code) error { return nil }}); !errors.Is(err, session.ErrCodeGone) {
		t.Errorf("in another realm: %v", err)
	}
	w.must(w.Once(t.Context(), w.realm, "jti", "seen", noon.Add(time.Hour)))
	for _, value := range []string{"", "no such code", cookie, u.ID, "seen"} {
		if _, err := w.redeem(value); !errors.Is(err, session.ErrCodeGone) {
			t.Errorf("%q: %v, want ErrCodeGone", value, err)
		}
	}
	if _, err := w.redeem(code); err != nil {
		t.Errorf("a code that others tried is gone: %v", err)
	}
}

// TestACodeOfBeforeAKillIsDead: the kill of a client reaches what was granted
// but not yet redeemed.
func TestACodeOfBeforeAKillIsDead(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		kill func(*world, string) (revocation.Revision, error)
		want string
	}{
		"of the client": {func(w *world, _ string) (revocation.Revision, error) {
			return w.EndClient(w.t.Context(), w.realm, "shop", revocation.ReasonAdmin)
		}, session.Revoked},
		"of another client": {func(w *world, _ string) (revocation.Revision, error) {
			return w.EndClient(w.t.Context(), w.realm, "app", revocation.ReasonAdmin)
		}, ""},
		"of the realm": {func(w *world, _ string) (revocation.Revision, error) {
			return w.EndRealm(w.t.Context(), w.realm, revocation.ReasonAdmin)
		}, session.Revoked},
		"of the user": {func(w *world, _ string) (revocation.Revision, error) {
			return w.EndUser(w.t.Context(), w.realm, "u-1", revocation.ReasonAdmin)
		}, session.NoSession},
		"of the session": {func(w *world, sid string) (revocation.Revision, error) {
			return w.End(w.t.Context(), w.realm, sid, revocation.ReasonLogout)
		}, session.NoSession},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			u, _ := w.open()
			code := w.code(u.ID, "shop")
			_, err := tt.kill(w, u.ID)
			w.must(err)
			_, err = w.redeem(code)
			if got := w.why(err); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// TestASecondLoginOfAClient stays in the client session, with a new chain
// beside the first, each of its own scope.
func TestASecondLoginOfAClient(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.login()
	code, err := w.IssueCode(t.Context(), w.realm, session.Code{SessionID: first.User.ID, ClientID: "shop", Scope: "openid more"})
	w.must(err)
	second, err := w.redeem(code)
	w.must(err)
	if second.Family.ID == first.Family.ID || second.Client.Scope != "openid more" || second.Client.Started != first.Client.Started {
		t.Errorf("second grant = %+v", second)
	}
	w.view(func(v session.View) error {
		stored, err := v.ClientSession(first.User.ID, "shop")
		diff(t, "the client session", second.Client, stored)
		return err
	})
	for _, g := range []session.Grant{first, second} {
		next, err := w.Refresh(t.Context(), w.present(g))
		w.must(err)
		if next.Client.Scope != g.Family.Scope || next.Family.Scope != g.Family.Scope {
			t.Errorf("refreshed to %q, want the chain's own scope %q", next.Client.Scope, g.Family.Scope)
		}
	}
}

// TestALoginAfterAClientWasKilled begins the client session anew: nothing of
// the old one comes back to life.
func TestALoginAfterAClientWasKilled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.login()
	rev, err := w.EndClient(t.Context(), w.realm, "shop", revocation.ReasonAdmin)
	w.must(err)
	second := w.enter(first.User.ID, "shop")
	if second.Client.Rev != rev || second.Rev != rev {
		t.Errorf("opened at %d and %d, want the kill's %d", second.Client.Rev, second.Rev, rev)
	}
	if got := w.alive(w.token(second)); got != "" {
		t.Errorf("the new token is dead: %s", got)
	}
	bare := w.token(second)
	bare.Rev, bare.HasRev = 0, false // as old as its session, whatever is in the log
	if got := w.alive(bare); got != "" {
		t.Errorf("a new token without rev is dead: %s", got)
	}
	if got := w.alive(w.token(first)); got != session.Revoked {
		t.Errorf("the old token: %q", got)
	}
	_, err = w.Refresh(t.Context(), w.present(first))
	if got := w.why(err); got != session.NoClientSession {
		t.Errorf("the old chain: %q", got)
	}
	if _, err := w.Refresh(t.Context(), w.present(second)); err != nil {
		t.Errorf("the new chain: %v", err)
	}
}
