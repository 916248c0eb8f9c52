package session_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/revocation"
)

// TestEnd: what each end revokes, how long the record lives, and which of two
// sessions of a user, each with two clients, is left.
func TestEnd(t *testing.T) {
	t.Parallel()
	const (
		token     = revocation.KindToken
		sso       = revocation.KindSession
		inSession = revocation.KindClientSession
	)
	for name, tt := range map[string]struct {
		end     func(w *world, sid string) (revocation.Revision, error)
		revoked []revocation.Target // SID stands for the first session
		alive   string              // whose access tokens live: session and client
		open    string              // whose cookies do
	}{
		"a token": {
			func(w *world, _ string) (revocation.Revision, error) {
				return w.RevokeToken(w.t.Context(), w.realm, "J", w.now.Add(life), revocation.ReasonRevoked)
			},
			[]revocation.Target{{Kind: token, ID: "J"}},
			"1/app 1/shop 2/app 2/shop", "1 2",
		},
		"a client session": {
			func(w *world, sid string) (revocation.Revision, error) {
				return w.EndClientSession(w.t.Context(), w.realm, sid, "app", revocation.ReasonRevoked)
			},
			[]revocation.Target{{Kind: inSession, ID: "SID", Client: "app"}},
			"1/shop 2/app 2/shop", "1 2",
		},
		"the last client session, and so the session": {
			func(w *world, sid string) (revocation.Revision, error) {
				w.rev(w.EndClientSession(w.t.Context(), w.realm, sid, "app", revocation.ReasonRevoked))
				return w.EndClientSession(w.t.Context(), w.realm, sid, "shop", revocation.ReasonRevoked)
			},
			[]revocation.Target{{Kind: inSession, ID: "SID", Client: "app"}, {Kind: inSession, ID: "SID", Client: "shop"}, {Kind: sso, ID: "SID"}},
			"2/app 2/shop", "2",
		},
		"a session": {
			func(w *world, sid string) (revocation.Revision, error) {
				return w.End(w.t.Context(), w.realm, sid, revocation.ReasonRevoked)
			},
			[]revocation.Target{{Kind: sso, ID: "SID"}},
			"2/app 2/shop", "2",
		},
		"a user": {
			func(w *world, _ string) (revocation.Revision, error) {
				return w.EndUser(w.t.Context(), w.realm, "u-1", revocation.ReasonRevoked)
			},
			[]revocation.Target{{Kind: sso, ID: "FIRST"}, {Kind: sso, ID: "SECOND"}, {Kind: revocation.KindSubject, ID: "u-1"}},
			"", "",
		},
		"a client": {
			func(w *world, _ string) (revocation.Revision, error) {
				return w.EndClient(w.t.Context(), w.realm, "app", revocation.ReasonRevoked)
			},
			[]revocation.Target{{Kind: revocation.KindClient, ID: "app"}},
			"1/shop 2/shop", "1 2",
		},
		"a realm": {
			func(w *world, _ string) (revocation.Revision, error) {
				return w.EndRealm(w.t.Context(), w.realm, revocation.ReasonRevoked)
			},
			[]revocation.Target{{Kind: revocation.KindIssuer}},
			"", "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			var grants []session.Grant
			var cookies []string
			for range 2 {
				u, cookie := w.open()
				grants = append(grants, w.enter(u.ID, "app"), w.enter(u.ID, "shop"))
				cookies = append(cookies, cookie)
			}
			sid := grants[0].User.ID
			both := []string{sid, grants[2].User.ID}
			slices.Sort(both)
			ids := strings.NewReplacer("SID", sid, "FIRST", both[0], "SECOND", both[1])
			w.pass(time.Second)
			rev := w.rev(tt.end(w, sid))

			var want []revocation.Record
			for i, target := range tt.revoked {
				target.ID = ids.Replace(target.ID)
				want = append(want, revocation.Record{
					Revision: revocation.Revision(i + 1), Issuer: w.realm.Issuer, Target: target, IssuedBefore: w.now,
					ExpiresAt: noon.Add(life + time.Minute), Reason: revocation.ReasonRevoked,
				})
			}
			if tt.revoked[0].Kind == token {
				want[0].ExpiresAt = w.now.Add(life + time.Minute)
			}
			diff(t, "the log", want, w.records())
			if int(rev) != len(want) {
				t.Errorf("revision %d, want the last of %d", rev, len(want))
			}
			diff(t, "alive", tt.alive, living(w, grants))
			diff(t, "open", tt.open, opened(w, cookies))
		})
	}
}

// TestATokenIsRevokedOnce: a client that repeats itself costs nothing, until
// the record is gone.
func TestATokenIsRevokedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i, step := range []struct {
		jti  string
		want revocation.Revision
	}{{"J", 1}, {"J", 1}, {"K", 2}, {"J", 1}} {
		if rev := w.rev(w.RevokeToken(t.Context(), w.realm, step.jti, noon.Add(life), revocation.ReasonRevoked)); rev != step.want {
			t.Errorf("call %d: revision %d, want %d", i, rev, step.want)
		}
	}
	if n := len(w.records()); n != 2 {
		t.Errorf("%d records, want one of each token", n)
	}
}

// living names the grants, two of each session, whose access tokens live.
func living(w *world, grants []session.Grant) string {
	w.t.Helper()
	var names []string
	for i, g := range grants {
		if w.alive(w.token(g)) == "" {
			names = append(names, string(rune('1'+i/2))+"/"+g.Client.ClientID)
		}
	}
	return strings.Join(names, " ")
}

// opened numbers the cookies whose sessions live.
func opened(w *world, cookies []string) string {
	w.t.Helper()
	var names []string
	for i, cookie := range cookies {
		_, err := w.ByCookie(w.t.Context(), w.realm, cookie)
		if err == nil {
			names = append(names, string(rune('1'+i)))
		} else if !errors.Is(err, session.ErrNotFound) {
			w.t.Error(err)
		}
	}
	return strings.Join(names, " ")
}

func TestEndOfNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := w.login()
	other := w.realm
	other.ID, other.Name = "r-2", "two"
	w.putRealm(other)
	for name, end := range map[string]func() (revocation.Revision, error){
		"a session":               func() (revocation.Revision, error) { return w.End(t.Context(), w.realm, "none", "") },
		"another realm's session": func() (revocation.Revision, error) { return w.End(t.Context(), other, g.User.ID, "") },
		"a client that is not in it": func() (revocation.Revision, error) {
			return w.EndClientSession(t.Context(), w.realm, g.User.ID, "app", "")
		},
		"a client of no session": func() (revocation.Revision, error) {
			return w.EndClientSession(t.Context(), w.realm, "none", "shop", "")
		},
		"another realm's client in s": func() (revocation.Revision, error) {
			return w.EndClientSession(t.Context(), other, g.User.ID, "shop", "")
		},
	} {
		if rev, err := end(); !errors.Is(err, session.ErrNotFound) || rev != 0 {
			t.Errorf("%s: %d, %v, want ErrNotFound", name, rev, err)
		}
	}
	if len(w.records()) != 0 {
		t.Errorf("records %+v", w.records())
	}
	if got := w.alive(w.token(g)); got != "" {
		t.Errorf("the session died of it: %s", got)
	}
	if w.log.Len() != 0 {
		t.Errorf("log: %s", w.log.String())
	}
}

// TestARecordOutlivesTheTokens: as long as a token of what was ended may live,
// and a minute more; however short a kill's own clock says it is.
func TestARecordOutlivesTheTokens(t *testing.T) {
	t.Parallel()
	ends := map[string]func(*world, session.Grant) (revocation.Revision, error){
		"session": func(w *world, g session.Grant) (revocation.Revision, error) {
			return w.End(w.t.Context(), w.realm, g.User.ID, revocation.ReasonLogout)
		},
		"client session": func(w *world, g session.Grant) (revocation.Revision, error) {
			return w.EndClientSession(w.t.Context(), w.realm, g.User.ID, "shop", revocation.ReasonLogout)
		},
		"user": func(w *world, _ session.Grant) (revocation.Revision, error) {
			return w.EndUser(w.t.Context(), w.realm, "u-1", revocation.ReasonLogout)
		},
		"client": func(w *world, _ session.Grant) (revocation.Revision, error) {
			return w.EndClient(w.t.Context(), w.realm, "shop", revocation.ReasonLogout)
		},
		"realm": func(w *world, _ session.Grant) (revocation.Revision, error) {
			return w.EndRealm(w.t.Context(), w.realm, revocation.ReasonLogout)
		},
	}
	for name, end := range ends {
		for when, pass := range map[string]time.Duration{"at once": 0, "when the tokens are gone": 20 * time.Minute, "a clock set back": -time.Hour} {
			t.Run(name+", "+when, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				g := w.login()
				p := w.present(g)
				p.AccessLife = 10 * time.Minute // longer than the first
				_, err := w.Refresh(t.Context(), p)
				w.must(err)
				w.pass(pass)
				w.rev(end(w, g))
				want := noon.Add(11 * time.Minute)
				if pass > 0 {
					want = w.now.Add(time.Minute)
				}
				for _, r := range w.records() {
					if r.ExpiresAt != want {
						t.Errorf("record %d expires at %v, want %v", r.Revision, r.ExpiresAt, want)
					}
				}
			})
		}
	}
}

// TestEveryEndIsLogged: one line each, with what an operator looks for.
func TestEveryEndIsLogged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	u, cookie := w.open()
	code := w.code(u.ID, "shop")
	g, err := w.redeem(code)
	w.must(err)
	w.rev(w.End(t.Context(), w.realm, u.ID, revocation.ReasonLogout))
	w.rev(w.EndUser(t.Context(), w.realm, "u-1", revocation.ReasonAdmin))
	w.rev(w.RevokeToken(t.Context(), w.realm, "J", w.now, revocation.ReasonRevoked))
	lines := strings.Split(strings.TrimSpace(w.log.String()), "\n")
	if len(lines) != 3 {
		t.Fatalf("%d lines, want 3:\n%s", len(lines), w.log.String())
	}
	for i, want := range []string{
		"sid=" + u.ID + " realm=demo reason=logout revision=1",
		"kind=4 target=u-1 realm=demo reason=admin revision=2",
		"jti=J realm=demo reason=revoked revision=3",
	} {
		if !strings.Contains(lines[i], "level=INFO msg=revoked") || !strings.HasSuffix(lines[i], want) {
			t.Errorf("got %s, want %s", lines[i], want)
		}
	}
	for _, secret := range []string{cookie, code, g.Family.ID} {
		if strings.Contains(w.log.String(), secret) {
			t.Errorf("a secret is logged:\n%s", w.log.String())
		}
	}
}

// TestAUsersEndSaysNoMoreThanItMust: a session whose access tokens have all
// expired needs no record.
func TestAUsersEndSaysNoMoreThanItMust(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.login()
	w.pass(life + 3*time.Minute)
	w.rev(w.EndUser(t.Context(), w.realm, "u-1", revocation.ReasonDisabled))
	var targets []revocation.Target
	for _, r := range w.records() {
		targets = append(targets, r.Target)
	}
	diff(t, "the log", []revocation.Target{{Kind: revocation.KindSubject, ID: "u-1"}}, targets)
}
