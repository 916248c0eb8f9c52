package session

import (
	"context"
	"errors"
	"time"

	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/revocation"
)

// Grant is the state that a minted set of tokens vouches for. Rev was read in
// the same transaction as, and before, everything else in it: a token can
// then be older than it says, and be refused, but never younger.
type Grant struct {
	User    UserSession
	Client  ClientSession
	Family  Family
	Rev     revocation.Revision
	Expires time.Time // no token of this grant may outlive this (session max)

	// Idle is how long a refresh token of this grant lasts unused; 0: as long
	// as may be (an offline one).
	Idle time.Duration
	// NotBefore is when everything older of realm, client or user was last
	// killed as a whole; zero: never.
	NotBefore time.Time
}

func (l living) grant(f Family, rev revocation.Revision) Grant {
	g := Grant{
		User: l.user, Client: l.client, Family: f, Rev: rev, Expires: l.expires(),
		NotBefore: later(l.notBefore(), l.userStanding.NotBeforeTime),
	}
	g.Client.Scope = f.Scope
	if !l.user.Offline {
		g.Idle, _ = l.user.lasting(l.realm.Settings.WithDefaults())
		if own, _ := l.limits.of(l.user); own > 0 {
			g.Idle = min(g.Idle, own)
		}
	}
	return g
}

// expires is when the client session has lasted long enough; zero: never.
func (l living) expires() time.Time { return first(l.user.Expires, l.client.Expires) }

// Refreshing is a presented, verified refresh token.
type Refreshing struct {
	Realm      realm.Realm
	SessionID  string
	ClientID   string
	UserID     string // empty: whoever the session is of
	FamilyID   string
	Generation uint64
	AccessLife time.Duration
	Limits     Limits  // of the client
	Binding    Binding // that the request proved
	Keep       bool    // the token stays good: the client's are not rotated
}

// Refresh rotates: one compare-and-swap on the family, the same successor
// within the grace window, ErrReused (and the client session's end) otherwise;
// with Keep the newest generation stays the newest.
// A session that is not alive is *Dead. A token that is bound to what the
// request did not prove is ErrBinding, and stays as good as it was.
func (s *Sessions) Refresh(ctx context.Context, p Refreshing) (Grant, error) {
	now := s.now()
	var g Grant
	rev, err := s.write(ctx, "refreshing", func(tx Tx) (verdict, err error) {
		g, verdict, err = p.rotate(tx, now)
		return verdict, err
	})
	if errors.Is(err, ErrReused) {
		s.log(ctx, p.Realm, rev, revocation.ReasonRefreshReuse, "sid", p.SessionID, "client", p.ClientID, "family", p.FamilyID)
	}
	if err != nil {
		return Grant{}, err
	}
	return g, nil
}

func (p Refreshing) rotate(tx Tx, now time.Time) (g Grant, verdict, err error) {
	rev, err := tx.Revision()
	if err != nil {
		return g, nil, err
	}
	l, f, err := p.read(tx, now)
	if err != nil {
		verdict, err = split(err)
		return g, verdict, err
	}
	if !f.Binding.provenBy(p.Binding) {
		return g, ErrBinding, nil
	}
	rotated := false
	if !p.Keep || p.Generation != f.Generation {
		rotated, err = tx.RotateFamily(f.ID, p.Generation, now)
	}
	if err != nil {
		return g, nil, err
	}
	switch {
	case !rotated && p.Generation == f.Generation: // kept, and used now
		f.Rotated = now
		if err := tx.PutFamily(f); err != nil {
			return g, nil, err
		}
	case rotated:
		f.Generation, f.Rotated, f.Reuses = p.Generation+1, now, 0
	case f.judge(p.Generation, p.Realm.Settings.WithDefaults(), now) == again:
		f.Reuses++
		if err := tx.PutFamily(f); err != nil {
			return g, nil, err
		}
	default:
		return g, ErrReused, endClientSession(tx, p.Realm, p.SessionID, p.ClientID, revocation.ReasonRefreshReuse, now)
	}
	if err := l.touch(tx, now, p.AccessLife, false); err != nil {
		return g, nil, err
	}
	return l.grant(f, rev), nil, nil
}

// read finds what the token hangs on, *Dead if any of it is over.
func (p Refreshing) read(v View, now time.Time) (living, Family, error) {
	st, err := standing(v, p.Realm, p.ClientID)
	if err != nil {
		return living{}, Family{}, err
	}
	l, err := st.live(v, p.SessionID, p.ClientID, now)
	if err == nil && p.UserID != "" && p.UserID != l.user.UserID {
		err = &Dead{NoSession}
	}
	if err != nil {
		return living{}, Family{}, err
	}
	l.limits = p.Limits.In(p.Realm.Settings)
	f, err := l.family(v, p.FamilyID)
	return l, f, err
}

// judgement says what a presented generation is to its family.
type judgement int

const (
	newest judgement = iota // good: raises the generation
	again                   // the one before, within its grace: the same successor once more
	reused                  // anything else: somebody has a copy
)

// judge judges a presented generation. One before the newest is forgiven for a
// while: an answer was lost, or two tabs asked at once. A generation that was
// never handed out means that the store went back in time.
func (f Family) judge(presented uint64, settings realm.Settings, now time.Time) judgement {
	switch {
	case presented == f.Generation:
		return newest
	case presented > 0 && presented+1 == f.Generation && now.Sub(f.Rotated) <= settings.RefreshGrace && f.Reuses < settings.RefreshMaxReuse:
		return again
	default:
		return reused
	}
}

// markOf is the high-water mark for tokens that expire at t: whole minutes, so
// that most mintings find it high enough and write nothing.
func markOf(t time.Time) time.Time {
	return t.Add(time.Minute - 1).Truncate(time.Minute)
}

func (st standings) marksBelow(end time.Time) bool {
	return st.realmStanding.MaxAccessExp.Before(end) || st.clientStanding.MaxAccessExp.Before(end)
}

func (st standings) mark(tx Tx, clientID string, end time.Time) error {
	if !st.marksBelow(end) {
		return nil
	}
	return tx.MarkMinted(st.realm.ID, clientID, end)
}

// touch notes that a token of accessLife is being minted in a session. It
// writes the rows if that says something new, or if fresh is true.
func (l *living) touch(tx Tx, now time.Time, accessLife time.Duration, fresh bool) error {
	seen := l.user.seen(now, l.realm.Settings.WithDefaults())
	idle, _ := l.limits.of(l.user)
	used := l.client.seen(now, idle)
	end := markOf(first(now.Add(accessLife), l.expires()))
	if seen || l.user.MaxAccessExp.Before(end) {
		l.user.MaxAccessExp = later(l.user.MaxAccessExp, end)
		if err := tx.PutUserSession(l.user); err != nil {
			return err
		}
	}
	if fresh || used || l.client.MaxAccessExp.Before(end) {
		l.client.MaxAccessExp = later(l.client.MaxAccessExp, end)
		if err := tx.PutClientSession(l.client); err != nil {
			return err
		}
	}
	return l.mark(tx, l.client.ClientID, end)
}
