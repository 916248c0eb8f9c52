package issuer_test

import (
	"errors"
	"net/url"
	"testing"

	"github.com/tegata/tegata/issuer"
	"github.com/tegata/tegata/revocation"
)

// TestTheTrailSaysWhoRevoked, whatever it was done by: a client, a person, a
// token that came back, or time.
func TestTheTrailSaysWhoRevoked(t *testing.T) {
	t.Parallel()
	s := start(t)
	b := newBrowser(t, s)
	code := b.login("app", "alice", "openid")
	first := s.redeem(code)
	var last revocation.Revision
	// next returns what was committed since.
	next := func(what string) issuer.Trace {
		t.Helper()
		_, head, err := s.db.Head(t.Context())
		if err != nil || head == last {
			t.Fatalf("%s committed nothing: %v", what, err)
		}
		last = head
		trace, err := s.iss.Revocation(t.Context(), head)
		if err != nil || trace.Revision != head || trace.CommittedAt.IsZero() || len(trace.Outcome.Pending) > 0 {
			t.Fatalf("%s: %+v, %v", what, trace, err)
		}
		return trace
	}

	s.post("revoke", "app", "app-secret", url.Values{"token": {first["access_token"].(string)}})
	if got := next("revoking"); got.Actor != "client:app" || got.Reason != revocation.ReasonRevoked || got.Kind != "token" {
		t.Errorf("revoked by a client: %+v", got)
	}
	s.post("token", "app", "app-secret", url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {callback}, "code_verifier": {verifier},
	})
	if got := next("a code that came back"); got.Actor != "client:app" || got.Reason != revocation.ReasonCodeReuse {
		t.Errorf("reused: %+v", got)
	}
	b = newBrowser(t, s)
	second := s.redeem(b.login("app", "alice", "openid"))
	b.logout(url.Values{"id_token_hint": {second["id_token"].(string)}})
	if got := next("logging out"); len(got.Actor) < 10 || got.Actor[:5] != "user:" || got.Reason != revocation.ReasonLogout || got.Kind != "session" {
		t.Errorf("logged out: %+v", got)
	}
	third := s.redeem(newBrowser(t, s).login("app", "alice", "openid"))
	newBrowser(t, s).logout(url.Values{"id_token_hint": {third["id_token"].(string)}})
	if got := next("logging out from elsewhere"); got.Actor != revocation.ActorBrowser {
		t.Errorf("logged out without a session: %+v", got)
	}

	if _, err := s.iss.Revocation(t.Context(), last+1); !errors.Is(err, issuer.ErrNoRevocation) {
		t.Errorf("what was never committed: %v", err)
	}
	if _, err := s.iss.Revocation(t.Context(), 0); !errors.Is(err, issuer.ErrNoRevocation) {
		t.Errorf("revision 0: %v", err)
	}
}
