package session_test

import (
	"errors"
	"testing"
	"time"

	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/revocation"
)

// TestWhatAnotherIssuerSaysIsLogged for as long as its tokens live, and once
// if it may be said only once.
func TestWhatAnotherIssuerSaysIsLogged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const other = "https://sso.example/realms/main"
	ended := revocation.Record{
		Target: revocation.Target{Kind: revocation.KindSession, ID: "S"}, IssuedBefore: noon.Add(-time.Second), Reason: revocation.ReasonLogout,
	}
	user := ended
	user.Target = revocation.Target{Kind: revocation.KindSubject, ID: "u-1"} // the sub of one of ours, too
	said := session.Foreign{
		Issuer: other, Ends: []revocation.Record{ended, user}, Lifetime: life, Once: "J", OnceUntil: noon.Add(time.Minute),
	}
	u, _ := w.open()
	grant := w.enter(u.ID, "app")
	rev := w.rev(w.RevokeForeign(t.Context(), said))
	if rev != 2 {
		t.Errorf("revision %d, want the last of 2", rev)
	}
	for i, r := range []*revocation.Record{&ended, &user} {
		r.Issuer, r.Revision, r.ExpiresAt = other, revocation.Revision(i+1), noon.Add(life+2*time.Minute)
	}
	diff(t, "the log", []revocation.Record{ended, user}, w.records())
	diff(t, "ours of the same name live", "1/app", living(w, []session.Grant{grant}))

	w.pass(2 * time.Minute)
	if _, err := w.RevokeForeign(t.Context(), said); !errors.Is(err, session.ErrReplayed) {
		t.Errorf("said again: %v, want ErrReplayed", err)
	}
	elsewhere := said
	elsewhere.Issuer = "https://idp.example"
	w.rev(w.RevokeForeign(t.Context(), elsewhere)) // what another has said is not its own
	if n := len(w.records()); n != 4 {
		t.Errorf("%d records, want 4: a replay writes none", n)
	}
	w.pass(time.Hour)
	w.rev(w.RevokeForeign(t.Context(), said)) // by then its expiry speaks
	for name, bad := range map[string]session.Foreign{"no issuer": {Lifetime: life}, "no lifetime": {Issuer: other}} {
		if _, err := w.RevokeForeign(t.Context(), bad); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
