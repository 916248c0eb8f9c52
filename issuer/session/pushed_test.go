package session_test

import (
	"errors"
	"testing"
	"time"

	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/issuer/session"
)

// TestAPushedRequestIsItsClientsAndGoodForOneCode: RFC 9126 §4.
func TestAPushedRequestIsItsClientsAndGoodForOneCode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	u, _ := w.open()
	push := func() string {
		value, err := w.Push(t.Context(), w.realm, "shop", []byte(`{"scope":"openid"}`), time.Minute)
		w.must(err)
		return value
	}
	value := push()
	find := func(r realm.Realm, clientID, value string) error {
		_, err := w.Pushed(t.Context(), r, clientID, value)
		return err
	}
	for range 2 { // looking does not use it up
		body, err := w.Pushed(t.Context(), w.realm, "shop", value)
		if err != nil || string(body) != `{"scope":"openid"}` {
			t.Errorf("%s, %v", body, err)
		}
	}
	other := w.realm
	other.ID = "r-2"
	for name, err := range map[string]error{
		"another client": find(w.realm, "app", value), "another realm": find(other, "shop", value),
		"unknown": find(w.realm, "shop", "x"), "empty": find(w.realm, "shop", ""),
	} {
		if !errors.Is(err, session.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	issue := func(value string) error {
		_, err := w.IssueCode(t.Context(), w.realm, session.Code{SessionID: u.ID, ClientID: "shop", Pushed: value})
		return err
	}
	slow := push()
	w.must(issue(value))
	if err := issue(value); !errors.Is(err, session.ErrReplayed) {
		t.Errorf("a second code: %v", err)
	}
	if err := find(w.realm, "shop", value); !errors.Is(err, session.ErrNotFound) {
		t.Errorf("used: %v", err)
	}
	w.pass(time.Minute)
	if err := find(w.realm, "shop", slow); !errors.Is(err, session.ErrNotFound) {
		t.Errorf("expired: %v", err)
	}
	w.pass(2 * time.Minute)
	w.must(w.Sweep(t.Context()))
	w.must(issue(slow)) // who began in time may take it
	if err := issue(slow); !errors.Is(err, session.ErrReplayed) {
		t.Errorf("a second code after the request is gone: %v", err)
	}
}
