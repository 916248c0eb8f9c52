package session_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/revocation"
)

func TestOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := w.realm
	other.ID, other.Name = "r-2", "two"
	expires := noon.Add(time.Minute)
	for _, step := range []struct {
		what  string
		pass  time.Duration
		once  func() error
		again bool
	}{
		{"a first time", 0, func() error { return w.Once(t.Context(), w.realm, "jti", "v", expires) }, false},
		{"at once", 0, func() error { return w.Once(t.Context(), w.realm, "jti", "v", expires) }, true},
		{"another value", 0, func() error { return w.Once(t.Context(), w.realm, "jti", "V", expires) }, false},
		{"another kind", 0, func() error { return w.Once(t.Context(), w.realm, "dpop", "v", expires) }, false},
		{"another realm", 0, func() error { return w.Once(t.Context(), other, "jti", "v", expires) }, false},
		{"a kind that runs into the value", 0, func() error { return w.Once(t.Context(), w.realm, "jtiv", "", expires) }, false},
		{"when it expires", time.Minute, func() error { return w.Once(t.Context(), w.realm, "jti", "v", expires) }, true},
		{"within the leeway of clocks", time.Minute - time.Microsecond, func() error { return w.Once(t.Context(), w.realm, "jti", "v", expires) }, true},
		{"after it", time.Microsecond, func() error { return w.Once(t.Context(), w.realm, "jti", "v", expires) }, false},
		{"one that has expired before", 0, func() error { return w.Once(t.Context(), w.realm, "jti", "old", noon) }, false},
		{"the same once more", 0, func() error { return w.Once(t.Context(), w.realm, "jti", "old", noon) }, true},
	} {
		w.pass(step.pass)
		if err := step.once(); errors.Is(err, session.ErrReplayed) != step.again || (err != nil) != step.again {
			t.Errorf("%s: %v, want replayed: %v", step.what, err, step.again)
		}
	}
}

// TestOnceSurvivesASweep: sweeping forgets nothing that could be replayed.
func TestOnceSurvivesASweep(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	expires := noon.Add(time.Minute)
	w.must(w.Once(t.Context(), w.realm, "jti", "v", expires))
	for range 4 {
		w.must(w.Sweep(t.Context()))
		if err := w.Once(t.Context(), w.realm, "jti", "v", expires); w.now.Before(noon.Add(2*time.Minute)) && !errors.Is(err, session.ErrReplayed) {
			t.Errorf("%v after it was seen: %v", w.now.Sub(noon), err)
		}
		w.pass(39 * time.Second)
	}
}

// TestSweepTellsOfSessionsThatEnded: idleness is exact in the mesh, as an end
// is recorded if an access token could still live, and only then.
func TestSweepTellsOfSessionsThatEnded(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		life     time.Duration // of the access token minted at noon
		pass     time.Duration
		recorded bool
		gone     bool
	}{
		"alive":                              {life, 31 * time.Minute, false, false}, // until then, not before
		"ended, tokens gone long ago":        {life, 32 * time.Minute, false, true},
		"ended, a token lives":               {time.Hour, 32 * time.Minute, true, true},
		"ended, a token lived a moment ago":  {31 * time.Minute, 32*time.Minute - time.Microsecond, true, true},
		"ended, the last token a minute ago": {31 * time.Minute, 32 * time.Minute, false, true},
		"past max, a token lives by its exp": {20 * time.Hour, 10*time.Hour + time.Second, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			u, _ := w.open()
			_, g, err := w.RedeemCode(t.Context(), session.Redeeming{Realm: w.realm, Code: w.code(u.ID, "shop"), AccessLife: tt.life, Check: func(session.Code) error { return nil }})
			w.must(err)
			w.pass(tt.pass)
			w.must(w.Sweep(t.Context()))
			var want []revocation.Record
			if tt.recorded {
				want = []revocation.Record{{
					Revision: 1, Issuer: w.realm.Issuer, Target: revocation.Target{Kind: revocation.KindSession, ID: u.ID}, IssuedBefore: w.now,
					ExpiresAt: latest(g.User.MaxAccessExp, w.now).Add(time.Minute), Reason: revocation.ReasonSessionExpiry,
				}}
			}
			diff(t, "the log", want, w.records())
			w.view(func(v session.View) error {
				for what, get := range map[string]func() error{
					"session":        func() error { _, err := v.UserSession("r-1", u.ID); return err },
					"client session": func() error { _, err := v.ClientSession(u.ID, "shop"); return err },
					"family":         func() error { _, err := v.Family(g.Family.ID); return err },
				} {
					if gone := errors.Is(get(), session.ErrNotFound); gone != tt.gone {
						t.Errorf("the %s is gone: %v, want %v", what, gone, tt.gone)
					}
				}
				return nil
			})
			before := len(w.records())
			w.must(w.Sweep(t.Context()))
			if n := len(w.records()) - before; n != 0 {
				t.Errorf("a second sweep recorded %d more", n)
			}
		})
	}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// TestSweepForgetsWhatCannotMatter: a record that has expired, a minute later;
// a code with its session.
func TestSweepForgetsWhatCannotMatter(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.rev(w.RevokeToken(t.Context(), w.realm, "J", noon.Add(life), revocation.ReasonRevoked))
	w.pass(life + 2*time.Minute) // exp, its leeway, and the sweeper's lag
	w.must(w.Sweep(t.Context()))
	if n := len(w.records()); n != 1 {
		t.Errorf("%d records: swept too early", n)
	}
	w.pass(time.Microsecond)
	w.must(w.Sweep(t.Context()))
	if n := len(w.records()); n != 0 {
		t.Errorf("%d records are left", n)
	}
}

// TestSweepGoesOnUntilNothingIsLeft: in transactions that stay small.
func TestSweepGoesOnUntilNothingIsLeft(t *testing.T) {
	t.Parallel()
	const sessions = 1001
	w := newWorld(t)
	w.write(func(tx session.Tx) error {
		for i := range sessions {
			u := session.UserSession{
				ID: fmt.Sprint(i), RealmID: "r-1", Issuer: w.realm.Issuer, UserID: "u-1", Idle: noon, Expires: noon, MaxAccessExp: noon.Add(time.Hour),
			}
			if err := tx.PutUserSession(u); err != nil {
				return err
			}
		}
		return nil
	})
	w.pass(time.Minute)
	counted := &counter{Store: w.db.Sessions()}
	s := w.on(counted)
	w.must(s.Sweep(t.Context()))
	if n := len(w.records()); n != sessions {
		t.Errorf("%d records, want one of each session", n)
	}
	if counted.writes != 5 { // 500, 500, 1, none; no rows
		t.Errorf("%d transactions, want 5", counted.writes)
	}
}

func TestSweepStopsWhenItIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.login()
	w.pass(time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	s := w.on(&canceler{w.db.Sessions(), cancel})
	if err := s.Sweep(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's end", err)
	}
}

// canceler ends the caller's context after a write.
type canceler struct {
	session.Store
	cancel context.CancelFunc
}

func (c *canceler) Write(ctx context.Context, f func(session.Tx) error) (revocation.Revision, error) {
	defer c.cancel()
	return c.Store.Write(ctx, f)
}
