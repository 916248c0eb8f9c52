package session_test

import (
	"testing"

	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/revocation"
)

// TestALoginAfterAKillLives: a record kills what is older, and while it is in
// the log whoever logs in again is believed: its access token, and its ID
// token, which has no rev to say that it is younger.
func TestALoginAfterAKillLives(t *testing.T) {
	t.Parallel()
	for name, kill := range map[string]func(*world, session.Grant) (revocation.Revision, error){
		"of the session": func(w *world, g session.Grant) (revocation.Revision, error) {
			return w.End(w.t.Context(), w.realm, g.User.ID, revocation.ReasonLogout)
		},
		"of the user": func(w *world, _ session.Grant) (revocation.Revision, error) {
			return w.EndUser(w.t.Context(), w.realm, "u-1", revocation.ReasonAdmin)
		},
		"of the client": func(w *world, _ session.Grant) (revocation.Revision, error) {
			return w.EndClient(w.t.Context(), w.realm, "shop", revocation.ReasonAdmin)
		},
		"of the realm": func(w *world, _ session.Grant) (revocation.Revision, error) {
			return w.EndRealm(w.t.Context(), w.realm, revocation.ReasonAdmin)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			old := w.login()
			rev := w.rev(kill(w, old))
			if got := w.alive(w.token(old)); got == "" {
				t.Error("the kill killed nothing: the test shows nothing")
			}
			u, cookie := w.open()
			if u.Rev != rev {
				t.Errorf("opened at revision %d, want the kill's %d", u.Rev, rev)
			}
			if _, err := w.ByCookie(t.Context(), w.realm, cookie); err != nil {
				t.Errorf("by cookie: %v", err)
			}
			access := w.token(w.enter(u.ID, "shop"))
			id := access
			id.HasRev, id.Rev = false, 0
			for what, tok := range map[string]revocation.Token{"access": access, "ID": id} {
				if got := w.alive(tok); got != "" {
					t.Errorf("the new %s token is dead: %s", what, got)
				}
			}
		})
	}
}

// TestAClientThatComesBack into the session that it left is believed, and
// nothing that it had before.
func TestAClientThatComesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old := w.login()
	w.enter(old.User.ID, "app") // so that the session goes on
	w.rev(w.EndClientSession(t.Context(), w.realm, old.User.ID, "shop", revocation.ReasonRevoked))
	next := w.enter(old.User.ID, "shop")
	if got := w.alive(w.token(next)); got != "" {
		t.Errorf("the new token is dead: %s", got)
	}
	if got := w.alive(w.token(old)); got != session.Revoked {
		t.Errorf("the old token: %q, want %q", got, session.Revoked)
	}
	_, err := w.Refresh(t.Context(), w.present(old))
	if got := w.why(err); got != session.NoClientSession {
		t.Errorf("the old chain: %q, want %q", got, session.NoClientSession)
	}
	if _, err := w.Refresh(t.Context(), w.present(next)); err != nil {
		t.Errorf("the new chain: %v", err)
	}
}
