package user

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tegata/tegata/issuer/realm"
)

func TestWhatCannotWorkIsNotStored(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(*User)
		want   string // part of the error; empty: none
	}{
		{"a plain one", func(*User) {}, ""},
		{"an e-mail address as name", func(u *User) { u.Username = "ällice@example.com" }, ""},
		{"a space inside", func(u *User) { u.Username = "alice okada" }, ""},
		{"no realm", func(u *User) { u.RealmID = "" }, "no realm"},
		{"no name", func(u *User) { u.Username = "" }, "username"},
		{"a long name", func(u *User) { u.Username = strings.Repeat("a", maxUsername+1) }, "username"},
		{"space around", func(u *User) { u.Username = "alice " }, "username"},
		{"a line break", func(u *User) { u.Username = "ali\nce" }, "username"},
		{"broken UTF-8", func(u *User) { u.Username = "alice\xff" }, "username"},
		{"a long e-mail address", func(u *User) { u.Email = strings.Repeat("a", maxField+1) }, "field"},
		{"a broken first name", func(u *User) { u.FirstName = "\xff" }, "field"},
		{"a long last name", func(u *User) { u.LastName = strings.Repeat("a", maxField+1) }, "field"},
		{"very many attributes", func(u *User) { u.Attributes = map[string][]string{"a": {strings.Repeat("a", maxUser)}} }, "larger"},
		{"a long hash", func(u *User) { u.PasswordHash = strings.Repeat("a", maxField+1) }, "field"},
	}
	for _, tt := range tests {
		u := User{RealmID: "r", Username: "alice"}
		tt.change(&u)
		err := u.check()
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want an error with %q", tt.name, err, tt.want)
		}
	}
}

// unasked is a Store that must not be asked.
type unasked struct{ t *testing.T }

func (s unasked) Read(context.Context, func(View) error) error {
	s.t.Error("the store was read")
	return nil
}

func (s unasked) Write(context.Context, func(Tx) error) error {
	s.t.Error("the store was written")
	return nil
}

func TestWhatCannotBeThereIsNotLookedFor(t *testing.T) {
	t.Parallel()
	users := New(unasked{t}, time.Now)
	for _, name := range []string{"", " alice", "a\x00", "\xff", strings.Repeat("a", maxUsername+1)} {
		if _, err := users.ByUsername(t.Context(), realm.Realm{}, name); !errors.Is(err, ErrNotFound) {
			t.Errorf("username %q: got %v", name, err)
		}
	}
	for _, id := range []string{"", "\xff", strings.Repeat("a", maxID+1)} {
		if _, err := users.ByID(t.Context(), realm.Realm{}, id); !errors.Is(err, ErrNotFound) {
			t.Errorf("id %q: got %v", id, err)
		}
	}
	if _, err := users.Put(t.Context(), User{RealmID: "r"}); err == nil {
		t.Error("a user without a name was put")
	}
}
