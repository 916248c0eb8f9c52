package session_test

import (
	"errors"
	"testing"
	"time"

	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/revocation"
)

// deaths are the ways of a grant of shop to die, and what is said of it.
var deaths = []struct {
	name   string
	change func(*world, session.Grant)
	want   string
}{
	{"nothing happened", func(*world, session.Grant) {}, ""},
	{"the realm is disabled", func(w *world, _ session.Grant) { r := w.realm; r.Enabled = false; w.putRealm(r) }, session.RealmDisabled},
	{"the client is disabled", func(w *world, _ session.Grant) { w.putClient("shop", false) }, session.ClientDisabled},
	{"another client is disabled", func(w *world, _ session.Grant) { w.putClient("app", false) }, ""},
	{"the user is disabled", func(w *world, _ session.Grant) { w.putUser(false) }, session.UserDisabled},
	{"a moment before idle", func(w *world, _ session.Grant) { w.pass(31*time.Minute - time.Microsecond) }, ""},
	{"idle", func(w *world, _ session.Grant) { w.pass(31 * time.Minute) }, session.Expired},
	{"past max", func(w *world, g session.Grant) {
		w.write(func(tx session.Tx) error {
			g.User.Idle = noon.Add(20 * time.Hour)
			return tx.PutUserSession(g.User)
		})
		w.pass(10 * time.Hour)
	}, session.Expired},
	{"the client session is past max", func(w *world, g session.Grant) {
		w.write(func(tx session.Tx) error {
			g.Client.Expires = noon.Add(time.Minute)
			return tx.PutClientSession(g.Client)
		})
		w.pass(time.Minute)
	}, session.Expired},
	{"logged out", func(w *world, g session.Grant) {
		w.rev(w.End(w.t.Context(), w.realm, g.User.ID, revocation.ReasonLogout))
	}, session.NoSession},
	{"another session is logged out", func(w *world, _ session.Grant) {
		other := w.login()
		w.rev(w.End(w.t.Context(), w.realm, other.User.ID, revocation.ReasonLogout))
	}, ""},
	{"the client left, and was the last", func(w *world, g session.Grant) {
		w.rev(w.EndClientSession(w.t.Context(), w.realm, g.User.ID, "shop", revocation.ReasonRevoked))
	}, session.NoSession},
	{"the client left, another stays", func(w *world, g session.Grant) {
		w.enter(g.User.ID, "app")
		w.rev(w.EndClientSession(w.t.Context(), w.realm, g.User.ID, "shop", revocation.ReasonRevoked))
	}, session.NoClientSession},
	{"another client left", func(w *world, g session.Grant) {
		w.enter(g.User.ID, "app")
		w.rev(w.EndClientSession(w.t.Context(), w.realm, g.User.ID, "app", revocation.ReasonRevoked))
	}, ""},
	{"the user is killed", func(w *world, _ session.Grant) {
		w.rev(w.EndUser(w.t.Context(), w.realm, "u-1", revocation.ReasonAdmin))
	}, session.NoSession},
	{"the user is killed, the session's row came late", func(w *world, g session.Grant) {
		w.rev(w.EndUser(w.t.Context(), w.realm, "u-1", revocation.ReasonAdmin))
		w.write(func(tx session.Tx) error {
			return errors.Join(tx.PutUserSession(g.User), tx.PutClientSession(g.Client), tx.PutFamily(g.Family))
		})
	}, session.Revoked},
	{"another user is killed", func(w *world, _ session.Grant) {
		w.rev(w.EndUser(w.t.Context(), w.realm, "u-2", revocation.ReasonAdmin))
	}, ""},
	{"the client is killed", func(w *world, _ session.Grant) {
		w.rev(w.EndClient(w.t.Context(), w.realm, "shop", revocation.ReasonAdmin))
	}, session.Revoked},
	{"another client is killed", func(w *world, _ session.Grant) {
		w.rev(w.EndClient(w.t.Context(), w.realm, "app", revocation.ReasonAdmin))
	}, ""},
	{"the realm is killed", func(w *world, _ session.Grant) {
		w.rev(w.EndRealm(w.t.Context(), w.realm, revocation.ReasonAdmin))
	}, session.Revoked},
	{"the realm is killed, and the record forgotten", func(w *world, g session.Grant) {
		w.rev(w.EndRealm(w.t.Context(), w.realm, revocation.ReasonAdmin))
		w.pass(20 * time.Minute)
		w.must(w.Sweep(w.t.Context()))
		if len(w.records()) != 0 {
			w.t.Errorf("records are left: the case shows nothing")
		}
	}, session.Revoked},
	{"swept while it lives", func(w *world, _ session.Grant) {
		w.pass(10 * time.Minute)
		w.must(w.Sweep(w.t.Context()))
	}, ""},
}

// write runs f in a transaction.
func (w *world) write(f func(session.Tx) error) {
	w.t.Helper()
	w.rev(w.db.Sessions().Write(w.t.Context(), f))
}

// rev is the revision of what must succeed.
func (w *world) rev(rev revocation.Revision, err error) revocation.Revision {
	w.t.Helper()
	w.must(err)
	return rev
}

// TestAlive: an access or ID token, one without rev and a refresh token of one
// grant die of the same, and for the same reason.
func TestAlive(t *testing.T) {
	t.Parallel()
	for _, tt := range deaths {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			g := w.login()
			access := session.Subject{Realm: w.realm, Token: w.token(g)}
			bare, refresh := access, access
			bare.Token.HasRev, bare.Token.Rev = false, 0
			refresh.Token.HasRev, refresh.Token.Rev = false, 0
			refresh.FamilyID, refresh.Generation = g.Family.ID, g.Family.Generation
			tt.change(w, g)
			for what, sub := range map[string]session.Subject{"access": access, "bare": bare, "refresh": refresh} {
				if got := w.why(w.Alive(t.Context(), sub)); got != tt.want {
					t.Errorf("%s token: %q, want %q", what, got, tt.want)
				}
			}
		})
	}
}

// TestAliveByRecord: what the log alone kills, by its target and by what is
// older.
func TestAliveByRecord(t *testing.T) {
	t.Parallel()
	const iss = "https://id.example/realms/demo"
	for name, tt := range map[string]struct {
		issuer string
		target revocation.Target
		change func(*revocation.Token) // of a token of revision 1, that of the record
		older  string                  // of a token of the revision before
		same   string
	}{
		"the token":             {iss, revocation.Target{Kind: revocation.KindToken, ID: "J"}, nil, session.Revoked, session.Revoked},
		"another token":         {iss, revocation.Target{Kind: revocation.KindToken, ID: "j"}, nil, "", ""},
		"another issuer's":      {iss + "2", revocation.Target{Kind: revocation.KindToken, ID: "J"}, nil, "", ""},
		"its key":               {iss, revocation.Target{Kind: revocation.KindKey, ID: "K"}, nil, session.Revoked, session.Revoked},
		"another key":           {iss, revocation.Target{Kind: revocation.KindKey, ID: "L"}, nil, "", ""},
		"its session":           {iss, revocation.Target{Kind: revocation.KindSession, ID: "S"}, nil, session.Revoked, session.Revoked},
		"its client session":    {iss, revocation.Target{Kind: revocation.KindClientSession, ID: "S", Client: "shop"}, nil, session.Revoked, ""},
		"another's":             {iss, revocation.Target{Kind: revocation.KindClientSession, ID: "S", Client: "app"}, nil, "", ""},
		"what another kind has": {iss, revocation.Target{Kind: revocation.KindToken, ID: "S"}, nil, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			g := w.login()
			tok := w.token(g)
			tok.ID, tok.Key = "J", "K"
			if tt.target.ID == "S" {
				tt.target.ID = g.User.ID
			}
			w.write(func(tx session.Tx) error {
				return tx.Revoke("r-1", revocation.Record{
					Issuer: tt.issuer, Target: tt.target, IssuedBefore: w.now, ExpiresAt: w.now.Add(time.Hour), Reason: revocation.ReasonRevoked,
				})
			})
			if got := w.alive(tok); got != tt.older {
				t.Errorf("older: %q, want %q", got, tt.older)
			}
			tok.Rev = 1
			if got := w.alive(tok); got != tt.same {
				t.Errorf("not older: %q, want %q", got, tt.same)
			}
		})
	}
}

// TestAliveWithoutSession: a machine's token hangs on its realm, its client
// and the log.
func TestAliveWithoutSession(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change        func(*world)
		withRev, bare string // why a token of then is dead: with a rev claim, without
		next          string // and one that is minted after it
	}{
		"nothing happened":       {change: func(*world) {}},
		"the client is disabled": {func(w *world) { w.putClient("shop", false) }, session.ClientDisabled, session.ClientDisabled, session.ClientDisabled},
		"the client is killed": {func(w *world) {
			w.rev(w.EndClient(w.t.Context(), w.realm, "shop", revocation.ReasonAdmin))
		}, session.Revoked, session.Revoked, ""},
		"the realm is killed": {func(w *world) {
			w.rev(w.EndRealm(w.t.Context(), w.realm, revocation.ReasonAdmin))
		}, session.Revoked, session.Revoked, ""},
		"its service account is killed": {func(w *world) {
			w.rev(w.EndUser(w.t.Context(), w.realm, "u-1", revocation.ReasonAdmin))
		}, session.Revoked, session.Revoked, ""},
		"the token is revoked": {func(w *world) {
			w.rev(w.RevokeToken(w.t.Context(), w.realm, "J", w.now.Add(life), revocation.ReasonRevoked))
		}, session.Revoked, session.Revoked, session.Revoked},
		"all sessions idled": {func(w *world) { w.pass(time.Hour) }, "", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			rev := w.rev(w.MintPoint(t.Context(), w.realm, "shop", life))
			tok := revocation.Token{Issuer: w.realm.Issuer, ID: "J", Subject: "u-1", Client: "shop", Key: "K", Rev: rev, HasRev: true, IssuedAt: w.now}
			tt.change(w)
			if got := w.alive(tok); got != tt.withRev {
				t.Errorf("with rev: %q, want %q", got, tt.withRev)
			}
			bare := tok
			bare.Rev, bare.HasRev = 0, false
			if got := w.alive(bare); got != tt.bare {
				t.Errorf("without: %q, want %q", got, tt.bare)
			}
			tok.Rev = rev + 1
			if got := w.alive(tok); got != tt.next {
				t.Errorf("minted after it: %q, want %q", got, tt.next)
			}
		})
	}
}

// TestAliveBelongsTogether: the claims of a token must be of one session.
func TestAliveBelongsTogether(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := w.login()
	for name, tt := range map[string]struct {
		change func(*revocation.Token)
		want   string
	}{
		"another user":      {func(tok *revocation.Token) { tok.Subject = "u-2" }, session.NoSession},
		"another client":    {func(tok *revocation.Token) { tok.Client = "app" }, session.NoClientSession},
		"an unknown client": {func(tok *revocation.Token) { tok.Client = "none" }, session.ClientDisabled},
		"another session":   {func(tok *revocation.Token) { tok.Session = "none" }, session.NoSession},
	} {
		tok := w.token(g)
		tt.change(&tok)
		if got := w.alive(tok); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

// TestAliveSaysOfARefreshTokenWhatRefreshDoes, when its client left the session
// and came back to it: what is in the log was of the client session before.
func TestAliveSaysOfARefreshTokenWhatRefreshDoes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old := w.login()
	w.enter(old.User.ID, "app") // so that the session goes on
	w.rev(w.EndClientSession(t.Context(), w.realm, old.User.ID, "shop", revocation.ReasonRevoked))
	next := w.enter(old.User.ID, "shop")
	for what, tt := range map[string]struct {
		grant session.Grant
		want  string
	}{"old": {old, session.NoClientSession}, "new": {next, ""}} {
		tok := w.token(tt.grant)
		tok.Rev, tok.HasRev = 0, false
		alive := w.Alive(t.Context(), session.Subject{Realm: w.realm, Token: tok, FamilyID: tt.grant.Family.ID, Generation: 1})
		if got := w.why(alive); got != tt.want {
			t.Errorf("Alive of the %s refresh token: %q, want %q", what, got, tt.want)
		}
		_, err := w.Refresh(t.Context(), w.present(tt.grant))
		if got := w.why(err); got != tt.want {
			t.Errorf("Refresh with the %s refresh token: %q, want %q", what, got, tt.want)
		}
	}
}
