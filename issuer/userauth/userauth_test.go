package userauth

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/issuer/user"
)

type people map[string]user.User

func (p people) ByUsername(_ context.Context, _ realm.Realm, name string) (user.User, error) {
	u, ok := p[name]
	if !ok {
		return user.User{}, user.ErrNotFound
	}
	return u, nil
}

func newAuthenticator(t *testing.T, now func() time.Time) *Authenticator {
	t.Helper()
	hash, err := Hash(rand.Reader, "pw")
	if err != nil {
		t.Fatal(err)
	}
	a, err := New(Config{
		Users: people{
			"alice":  {ID: "1", Username: "alice", Enabled: true, PasswordHash: hash},
			"bob":    {ID: "2", Username: "bob", Enabled: false, PasswordHash: hash},
			"nopass": {ID: "3", Username: "nopass", Enabled: true},
			"broken": {ID: "4", Username: "broken", Enabled: true, PasswordHash: "plain"},
		},
		Now: now, Rand: rand.Reader,
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestPasswordAdmitsOnlyTheRightOneOfAnEnabledUser(t *testing.T) {
	t.Parallel()
	a := newAuthenticator(t, time.Now)
	tests := []struct {
		user, password string
		want           error
	}{
		{"alice", "pw", nil},
		{"alice", "PW", ErrInvalid},
		{"alice", "", ErrInvalid},
		{"bob", "pw", ErrDisabled},
		{"bob", "wrong", ErrInvalid}, // that bob is disabled is told only to bob
		{"nobody", "pw", ErrInvalid},
		{"nobody", strings.Repeat("\x00", MaxPassword), ErrInvalid},
		{"nobody", strings.Repeat("\x00", MaxPassword+1), ErrInvalid}, // what the stand-in hash is of
		{"nopass", "", ErrInvalid},
		{"nopass", "pw", ErrInvalid},
		{"broken", "plain", errHash},
		{strings.Repeat("a", MaxUsername+1), "pw", ErrInvalid},
	}
	for _, tt := range tests {
		u, err := a.Password(t.Context(), realm.Realm{ID: "r"}, tt.user, tt.password, "192.0.2.1")
		if !errors.Is(err, tt.want) || (tt.want == nil && u.ID != "1") {
			t.Errorf("Password(%.20q, %.20q) = %v, %v; want %v", tt.user, tt.password, u.ID, err, tt.want)
		}
	}
}

func TestGuessingIsSlowedDownPerUserAndAddress(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	a := newAuthenticator(t, func() time.Time { return now })
	login := func(user, password, address string) error {
		_, err := a.Password(t.Context(), realm.Realm{ID: "r"}, user, password, address)
		return err
	}
	for range freeFailures {
		if err := login("alice", "wrong", "192.0.2.1"); !errors.Is(err, ErrInvalid) {
			t.Fatalf("failure: got %v, want %v", err, ErrInvalid)
		}
	}
	if err := login("ALICE", "pw", "192.0.2.1"); !errors.Is(err, ErrLimited) {
		t.Errorf("right password while limited, name in capitals: got %v, want %v", err, ErrLimited)
	}
	if err := login("alice", "pw", "192.0.2.2"); err != nil {
		t.Errorf("another address: got %v, want admission", err)
	}
	now = now.Add(firstWait)
	if err := login("alice", "pw", "192.0.2.1"); err != nil {
		t.Errorf("after the wait: got %v, want admission", err)
	}
	if err := login("alice", "wrong", "192.0.2.1"); !errors.Is(err, ErrInvalid) {
		t.Errorf("after a success the count starts anew: got %v, want %v", err, ErrInvalid)
	}
}

func TestWaitsDoubleUpToALimit(t *testing.T) {
	t.Parallel()
	for count, want := range map[int]time.Duration{
		1: 0, freeFailures - 1: 0, freeFailures: time.Second, freeFailures + 1: 2 * time.Second,
		freeFailures + 5: 32 * time.Second, freeFailures + 30: longestWait, 1 << 30: longestWait,
	} {
		if got := wait(count); got != want {
			t.Errorf("wait(%d) = %v, want %v", count, got, want)
		}
	}
}

func TestLimiterStaysBounded(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	l := newLimiter(func() time.Time { return now })
	for i := range maxAttempts + 100 {
		l.failed(attempt{realm: "r", user: string(rune(i)), address: "192.0.2.1"})
	}
	if len(l.keys) > maxAttempts {
		t.Errorf("%d keys remembered, want at most %d", len(l.keys), maxAttempts)
	}
}

func TestPasswordStopsWaitingWithItsContext(t *testing.T) {
	t.Parallel()
	a := newAuthenticator(t, time.Now)
	for range cap(a.turns) {
		a.turns <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.Password(ctx, realm.Realm{}, "alice", "pw", ""); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

func TestVerifyReadsHashesOfOthers(t *testing.T) {
	t.Parallel()
	// From the reference implementation: echo -n password | argon2 somesalt -id -t 2 -m 16 -p 1 -l 32
	const reference = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	if ok, err := Verify(reference, "password"); err != nil || !ok {
		t.Errorf("Verify = %v, %v; want true", ok, err)
	}
	if ok, err := Verify(reference, "passwore"); err != nil || ok {
		t.Errorf("Verify of a wrong password = %v, %v; want false", ok, err)
	}
}

func TestHashesAreSalted(t *testing.T) {
	t.Parallel()
	a, _ := Hash(rand.Reader, "pw")
	b, _ := Hash(rand.Reader, "pw")
	if a == b || !strings.HasPrefix(a, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("got %s and %s", a, b)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
		"$argon2i$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
		"$argon2id$v=19$m=4294967295,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
		"$argon2id$v=19$m=8,t=0,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
		"$argon2id$v=19$m=65536,t=2,p=1 $c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
		"", "$", "$$$$$", "secret",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := parse(s)
		if err != nil {
			return
		}
		if p.String() != s {
			t.Errorf("parse(%q) prints back %q", s, p)
		}
		if p.cost.memory > dearest.memory || p.cost.passes > dearest.passes || p.cost.lanes > dearest.lanes {
			t.Errorf("parse(%q) accepts a cost above the limit", s)
		}
	})
}
