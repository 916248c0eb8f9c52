package session_test

import (
	"testing"
	"time"

	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/revocation"
)

// loginWith is login for a client with limits of its own.
func (w *world) loginWith(limits session.Limits, scope string) (session.Grant, error) {
	w.t.Helper()
	u, _ := w.open()
	code, err := w.IssueCode(w.t.Context(), w.realm, session.Code{SessionID: u.ID, ClientID: "shop", Scope: scope})
	w.must(err)
	_, g, err := w.RedeemCode(w.t.Context(), session.Redeeming{
		Realm: w.realm, Code: code, AccessLife: time.Minute, Limits: limits, Check: func(session.Code) error { return nil },
	})
	return g, err
}

// refreshWith is a refresh of a client with limits of its own.
func (w *world) refreshWith(g session.Grant, limits session.Limits) (session.Grant, error) {
	p := w.present(g)
	p.Limits = limits
	return w.Refresh(w.t.Context(), p)
}

// TestAClientsPartEndsByItsOwnLimits, those of the client before those of the
// realm, while the user session and other clients go on.
func TestAClientsPartEndsByItsOwnLimits(t *testing.T) {
	t.Parallel()
	const never = 0
	tests := []struct {
		name     string
		realm    realm.Settings
		client   session.Limits
		scope    string
		used     bool // refreshed each minute
		alive    time.Duration
		dead     time.Duration
		idle     time.Duration // what the grant says of the refresh token
		lifetime time.Duration // what the grant says of everything
	}{
		{
			name: "idle of the realm", realm: realm.Settings{ClientSessionIdleTimeout: 10 * time.Minute}, scope: "openid",
			alive: 10 * time.Minute, dead: 11 * time.Minute, idle: 10 * time.Minute, lifetime: 10 * time.Hour,
		},
		{
			name: "idle of the client", realm: realm.Settings{ClientSessionIdleTimeout: 20 * time.Minute}, scope: "openid",
			client: session.Limits{Idle: 10 * time.Minute, OfflineIdle: time.Second}, alive: 10 * time.Minute, dead: 11 * time.Minute,
			idle: 10 * time.Minute, lifetime: 10 * time.Hour,
		},
		{
			name: "an idle time longer than the session's does not lengthen it", client: session.Limits{Idle: 2 * time.Hour}, scope: "openid",
			alive: 30 * time.Minute, dead: 31 * time.Minute, idle: 30 * time.Minute, lifetime: 10 * time.Hour,
		},
		{
			name: "idle, but in use", client: session.Limits{Idle: 10 * time.Minute}, scope: "openid", used: true,
			alive: 9 * time.Hour, dead: never, idle: 10 * time.Minute, lifetime: 10 * time.Hour,
		},
		{
			name: "most of the realm", realm: realm.Settings{ClientSessionMaxLifespan: time.Hour}, scope: "openid", used: true,
			alive: time.Hour - time.Minute, dead: time.Hour, idle: 30 * time.Minute, lifetime: time.Hour,
		},
		{
			name: "most of the client", client: session.Limits{Max: 2 * time.Hour, OfflineMax: time.Second}, scope: "openid", used: true,
			alive: 2*time.Hour - time.Minute, dead: 2 * time.Hour, idle: 30 * time.Minute, lifetime: 2 * time.Hour,
		},
		{
			name: "offline, idle of the client", client: session.Limits{Idle: time.Second, OfflineIdle: time.Hour}, scope: "openid offline_access",
			alive: time.Hour, dead: time.Hour + time.Minute, idle: never, lifetime: never,
		},
		{
			name: "offline, most of the realm", realm: realm.Settings{ClientOfflineSessionMaxLifespan: time.Hour}, scope: "openid offline_access",
			used: true, alive: time.Hour - time.Minute, dead: time.Hour, idle: never, lifetime: time.Hour,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.realm.Settings = tt.realm
			g, err := w.loginWith(tt.client, tt.scope)
			w.must(err)
			if want := noon.Add(tt.lifetime); g.Idle != tt.idle || !g.Expires.Equal(want) && (tt.lifetime != never || !g.Expires.IsZero()) {
				t.Errorf("granted: idle %v, until %v; want %v, %v", g.Idle, g.Expires, tt.idle, want)
			}
			start := w.now
			for tt.used && w.now.Sub(start) < tt.alive-time.Minute {
				w.pass(time.Minute)
				g, err = w.refreshWith(g, tt.client)
				w.must(err)
			}
			w.now = start.Add(tt.alive)
			if err := w.Alive(t.Context(), session.Subject{Realm: w.realm, Token: w.token(g)}); err != nil {
				t.Errorf("after %v: %v", tt.alive, err)
			}
			if tt.dead == never {
				return
			}
			w.now = start.Add(tt.dead)
			if got := w.why(w.Alive(t.Context(), session.Subject{Realm: w.realm, Token: w.token(g)})); got != session.Expired {
				t.Errorf("after %v: %q, want %q", tt.dead, got, session.Expired)
			}
			if _, err := w.refreshWith(g, tt.client); w.why(err) != session.Expired {
				t.Errorf("refreshed after %v: %v", tt.dead, err)
			}
		})
	}
}

// TestAClientComesBackAfterItsEnd in a session that goes on: with a code, and
// without what it had before.
func TestAClientComesBackAfterItsEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	limits := session.Limits{Max: time.Minute}
	old, err := w.loginWith(limits, "openid")
	w.must(err)
	w.pass(time.Minute)
	code, err := w.IssueCode(t.Context(), w.realm, session.Code{SessionID: old.User.ID, ClientID: "shop", Scope: "openid"})
	w.must(err)
	_, g, err := w.RedeemCode(t.Context(), session.Redeeming{
		Realm: w.realm, Code: code, AccessLife: life, Limits: limits, Check: func(session.Code) error { return nil },
	})
	w.must(err)
	if want := w.now.Add(time.Minute); g.User.ID != old.User.ID || !g.Expires.Equal(want) {
		t.Errorf("came back to session %s until %v, want %s until %v", g.User.ID, g.Expires, old.User.ID, want)
	}
	if _, err := w.refreshWith(old, limits); w.why(err) != session.NoClientSession {
		t.Errorf("the chain of before: %v", err)
	}
}

// TestRememberMe: sessions of those who asked for it last longer, if the realm
// lets them ask.
func TestRememberMe(t *testing.T) {
	t.Parallel()
	for _, allowed := range []bool{true, false} {
		w := newWorld(t)
		w.realm.Settings = realm.Settings{
			RememberMe: allowed, SSOSessionIdleTimeoutRememberMe: 24 * time.Hour, SSOSessionMaxLifespanRememberMe: 48 * time.Hour,
		}
		u, cookie, err := w.Open(t.Context(), session.Login{Realm: w.realm, UserID: "u-1", RememberMe: true})
		w.must(err)
		if u.RememberMe != allowed {
			t.Errorf("allowed %t, remembered %t", allowed, u.RememberMe)
		}
		w.pass(24 * time.Hour)
		if _, err := w.ByCookie(t.Context(), w.realm, cookie); (err == nil) != allowed {
			t.Errorf("allowed %t, after a day: %v", allowed, err)
		}
		w.pass(24 * time.Hour)
		if _, err := w.ByCookie(t.Context(), w.realm, cookie); err == nil {
			t.Error("alive beyond its longest life")
		}
	}
}

// TestNotBeforeIsTold with what is granted afterwards: the latest of realm,
// client and user.
func TestNotBeforeIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if g := w.login(); !g.NotBefore.IsZero() {
		t.Errorf("never killed, but not before %v", g.NotBefore)
	}
	kills := []func() (revocation.Revision, error){
		func() (revocation.Revision, error) { return w.EndRealm(t.Context(), w.realm, revocation.ReasonAdmin) },
		func() (revocation.Revision, error) {
			return w.EndClient(t.Context(), w.realm, "shop", revocation.ReasonAdmin)
		},
		func() (revocation.Revision, error) {
			return w.EndUser(t.Context(), w.realm, "u-1", revocation.ReasonAdmin)
		},
	}
	for i, kill := range kills {
		w.pass(time.Hour)
		w.rev(kill())
		at := w.now
		w.pass(time.Minute)
		if g := w.login(); !g.NotBefore.Equal(at) {
			t.Errorf("kill %d: not before %v, want %v", i, g.NotBefore, at)
		}
	}
	at, err := w.NotBefore(t.Context(), w.realm)
	if err != nil || !at.Equal(noon.Add(time.Hour)) {
		t.Errorf("the realm: %v, %v", at, err)
	}
}
