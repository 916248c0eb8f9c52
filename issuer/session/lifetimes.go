package session

import (
	"cmp"
	"time"

	"github.com/tegata/tegata/issuer/realm"
)

// Limits are how long a client wants its client sessions to last: idle, and at
// most. Zero: as long as the realm says (Keycloak's client.session.* and
// client.offline.session.* attributes).
type Limits struct {
	Idle, Max               time.Duration // in a browser's session
	OfflineIdle, OfflineMax time.Duration // in an offline session
}

// In are the limits in a realm, whose own stand in for those that are zero;
// what is zero still is the user session's.
func (l Limits) In(s realm.Settings) Limits {
	return Limits{
		Idle:        cmp.Or(l.Idle, s.ClientSessionIdleTimeout),
		Max:         cmp.Or(l.Max, s.ClientSessionMaxLifespan),
		OfflineIdle: cmp.Or(l.OfflineIdle, s.ClientOfflineSessionIdleTimeout),
		OfflineMax:  cmp.Or(l.OfflineMax, s.ClientOfflineSessionMaxLifespan),
	}
}

// of are those that hold in a user session; zero: none but its own.
func (l Limits) of(u UserSession) (idle, most time.Duration) {
	if u.Offline {
		return l.OfflineIdle, l.OfflineMax
	}
	return l.Idle, l.Max
}

// lasting is how long a user session lasts: idle, and at most (zero: for ever).
func (u UserSession) lasting(s realm.Settings) (idle, most time.Duration) {
	switch {
	case u.Offline:
		return s.OfflineSessionIdleTimeout, s.OfflineSessionMaxLifespan
	case u.RememberMe:
		return cmp.Or(s.SSOSessionIdleTimeoutRememberMe, s.SSOSessionIdleTimeout),
			cmp.Or(s.SSOSessionMaxLifespanRememberMe, s.SSOSessionMaxLifespan)
	}
	return s.SSOSessionIdleTimeout, s.SSOSessionMaxLifespan
}

// begin starts the clock of a session that was opened at now.
func (u *UserSession) begin(now time.Time, s realm.Settings) {
	if _, most := u.lasting(s); most > 0 {
		u.Expires = now.Add(most)
	}
	u.seen(now, s)
}

// maxTouch bounds how often a session's rows are written for being used.
const maxTouch = time.Minute

// touchEvery is how much later than LastSeen a use must be to be written. The
// idle time is longer by as much, so that nobody is idle too early.
func touchEvery(idle time.Duration) time.Duration {
	if idle == 0 {
		return maxTouch
	}
	return min(maxTouch, idle/10)
}

// seen notes a use at now and reports whether that is worth writing.
func (u *UserSession) seen(now time.Time, s realm.Settings) bool {
	idle, _ := u.lasting(s)
	every := touchEvery(idle)
	if !u.LastSeen.IsZero() && now.Sub(u.LastSeen) < every {
		return false
	}
	u.LastSeen = now
	u.Idle = later(u.Idle, now.Add(idle+every))
	return true
}

// seen notes a use at now and reports whether that is worth writing. The idle
// time is the client's own, 0 for none.
func (c *ClientSession) seen(now time.Time, idle time.Duration) bool {
	every := touchEvery(idle)
	if !c.LastSeen.IsZero() && now.Sub(c.LastSeen) < every && c.Idle.IsZero() == (idle == 0) {
		return false
	}
	c.LastSeen = later(c.LastSeen, now)
	if idle == 0 {
		c.Idle = time.Time{}
	} else {
		c.Idle = later(c.Idle, now.Add(idle+every))
	}
	return true
}

// first is the earlier of two ends, of which zero is none.
func first(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
