package session_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tegata/tegata/issuer/session"
)

// TestConsentIsForWhatWasSaid: for these scopes, this client, this person.
func TestConsentIsForWhatWasSaid(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.must(w.Consent(t.Context(), w.realm, "u-1", "shop", "openid email"))
	w.pass(time.Minute)
	w.must(w.Consent(t.Context(), w.realm, "u-1", "shop", "address email"))
	for _, tt := range []struct {
		user, client, scope string
		want                bool
	}{
		{"u-1", "shop", "email", true},
		{"u-1", "shop", "openid address email", true},
		{"u-1", "shop", "", true},
		{"u-1", "shop", "email phone", false},
		{"u-1", "shop", "Email", false},
		{"u-1", "app", "", false}, // never asked
		{"u-2", "shop", "email", false},
	} {
		got, err := w.Consented(t.Context(), w.realm, tt.user, tt.client, tt.scope)
		if err != nil || got != tt.want {
			t.Errorf("%+v: %t, %v", tt, got, err)
		}
	}
	all, err := w.Consents(t.Context(), w.realm, "u-1")
	w.must(err)
	want := []session.Consent{{RealmID: "r-1", UserID: "u-1", ClientID: "shop", Scope: "address email", Created: noon, Updated: noon.Add(time.Minute)}}
	if d := cmp.Diff(want, all); d != "" {
		t.Errorf("consents (-want +got):\n%s", d)
	}
}

// TestACodeDiesWithItsConsent: one that was on its way when consent was
// withdrawn is worth nothing any more.
func TestACodeDiesWithItsConsent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	u, _ := w.open()
	w.must(w.Consent(t.Context(), w.realm, "u-1", "shop", "email"))
	issue := func() string {
		code, err := w.IssueCode(t.Context(), w.realm, session.Code{SessionID: u.ID, ClientID: "shop", Scope: "openid email", Consented: true})
		w.must(err)
		return code
	}
	_, err := w.redeem(issue())
	w.must(err)
	_, err = w.redeem(w.code(u.ID, "app")) // keeps the session itself alive
	w.must(err)
	more, err := w.IssueCode(t.Context(), w.realm, session.Code{SessionID: u.ID, ClientID: "shop", Scope: "openid email", Also: "phone", Consented: true})
	w.must(err)
	var dead *session.Dead
	if _, err := w.redeem(more); !errors.As(err, &dead) {
		t.Errorf("redeemed for claims that there is no consent to: %v", err)
	}
	code := issue()
	w.rev(w.EndConsent(t.Context(), w.realm, "u-1", "shop"))
	if yes, err := w.Consented(t.Context(), w.realm, "u-1", "shop", "email"); yes || err != nil {
		t.Errorf("withdrawn and still there: %t, %v", yes, err)
	}
	if _, err := w.redeem(code); !errors.As(err, &dead) {
		t.Errorf("redeemed: %v", err)
	}
}
