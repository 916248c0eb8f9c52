package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/revocation"
)

// Subject is what a token claims about itself, for Alive.
type Subject struct {
	Realm realm.Realm
	Token revocation.Token
	// Named reports whether sub is what the token's client knows a user by; nil:
	// it is the user's id.
	Named func(userID string) bool
	// Refresh tokens also name their family.
	FamilyID   string
	Generation uint64
}

// Alive is the one function that decides whether a token of ours is alive:
// realm, client, user enabled; session and client session there and neither
// idle nor past max; no revocation record matches. It returns nil or *Dead
// (or a store error). Signature and exp are token's business, checked before.
//
// A refresh token is alive if Refresh would take it; one that was rotated
// lives on through its grace.
func (s *Sessions) Alive(ctx context.Context, sub Subject) error {
	_, err := s.Whose(ctx, sub)
	return err
}

// Whose is Alive, and says whose the token is: a user's id, or nothing if it
// is a client's own.
func (s *Sessions) Whose(ctx context.Context, sub Subject) (userID string, err error) {
	now := s.now()
	named := sub.Named
	if named == nil {
		named = func(userID string) bool { return userID == sub.Token.Subject }
	}
	err = s.store.Read(ctx, func(v View) error {
		t := sub.Token
		st, err := standing(v, sub.Realm, t.Client)
		if err != nil {
			return err
		}
		if t.Session == "" {
			return records(v, t)
		}
		l, err := st.live(v, t.Session, t.Client, now)
		if err != nil {
			return err
		}
		if !named(l.user.UserID) {
			return &Dead{NoSession}
		}
		userID = l.user.UserID
		if sub.FamilyID == "" {
			return records(v, t)
		}
		f, err := l.family(v, sub.FamilyID)
		if err == nil && f.judge(sub.Generation, sub.Realm.Settings.WithDefaults(), now) == reused {
			err = &Dead{Revoked}
		}
		return err
	})
	if err != nil {
		return "", outcome(err, "checking a token")
	}
	return userID, nil
}

// outcome leaves a verdict alone and says of a failure where it happened.
func outcome(err error, doing string) error {
	var dead *Dead
	if err == nil || errors.As(err, &dead) || errors.Is(err, ErrNotFound) {
		return err
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// standings are the realm and client that a token or session hangs on, both
// enabled.
type standings struct {
	realm          realm.Realm
	realmStanding  Standing
	clientStanding Standing
}

// notBefore is when realm or client were last killed as a whole; zero: never.
func (st standings) notBefore() time.Time {
	return later(st.realmStanding.NotBeforeTime, st.clientStanding.NotBeforeTime)
}

// standing is *Dead unless realm and client are enabled.
func standing(v View, r realm.Realm, clientID string) (standings, error) {
	st := standings{realm: r}
	var err error
	if st.realmStanding, err = v.RealmStanding(r.ID); err != nil {
		return st, err
	}
	if !st.realmStanding.Enabled {
		return st, &Dead{RealmDisabled}
	}
	if st.clientStanding, err = v.ClientStanding(r.ID, clientID); err != nil {
		return st, err
	}
	if !st.clientStanding.Enabled {
		return st, &Dead{ClientDisabled}
	}
	return st, nil
}

// living is a client session that is alive, with all that it hangs on.
type living struct {
	standings
	user         UserSession
	userStanding Standing
	client       ClientSession
	limits       Limits // of client sessions, in this realm; set where one is touched
}

// live is *Dead unless a client session is alive.
func (st standings) live(v View, sid, clientID string, now time.Time) (living, error) {
	l := living{standings: st}
	var err error
	if l.user, l.userStanding, err = liveUser(v, st.realm, st.realmStanding, sid, now); err != nil {
		return l, err
	}
	l.client, err = v.ClientSession(sid, clientID)
	switch {
	case errors.Is(err, ErrNotFound):
		return l, &Dead{NoClientSession}
	case err != nil:
		return l, err
	case l.client.Rev < st.clientStanding.NotBefore:
		return l, &Dead{Revoked}
	case l.client.over(now):
		return l, &Dead{Expired}
	}
	return l, nil
}

// liveUser reads a user session and the standing of its user, *Dead if it is
// over.
func liveUser(v View, r realm.Realm, st Standing, sid string, now time.Time) (UserSession, Standing, error) {
	u, err := v.UserSession(r.ID, sid)
	if errors.Is(err, ErrNotFound) {
		return u, Standing{}, &Dead{NoSession}
	}
	if err != nil {
		return u, Standing{}, err
	}
	person, err := judgeUser(v, u, st, now)
	return u, person, err
}

// judgeUser reads the standing of a session's user, *Dead if the session is
// over.
func judgeUser(v View, u UserSession, st Standing, now time.Time) (Standing, error) {
	person, err := v.UserStanding(u.RealmID, u.UserID)
	switch {
	case err != nil:
		return person, err
	case !person.Enabled:
		return person, &Dead{UserDisabled}
	case u.Rev < max(st.NotBefore, person.NotBefore):
		return person, &Dead{Revoked}
	case !now.Before(u.End()):
		return person, &Dead{Expired}
	}
	return person, nil
}

// family reads a family of the client session.
func (l living) family(v View, id string) (Family, error) {
	f, err := v.Family(id)
	if errors.Is(err, ErrNotFound) || err == nil && (f.SessionID != l.user.ID || f.ClientID != l.client.ClientID) {
		return Family{}, &Dead{NoClientSession}
	}
	return f, err
}

// records is *Dead if a record of the log kills t: the rules of
// revocation.Set, on the rows. Of what is older, a token without rev that has
// a session was judged by its session's revision already.
func records(v View, t revocation.Token) error {
	for _, target := range targets(t) {
		rev, err := v.Recorded(t.Issuer, target)
		if err != nil {
			return err
		}
		if rev > 0 && kills(target.Kind, rev, t) {
			return &Dead{Revoked}
		}
	}
	return nil
}

// kills reports whether a record at rev whose target fits t kills it. A client
// that was ended in a session and let in again by the same session has a new
// client session, whose tokens must live: the one rule where the rows know
// more than revocation.Set, which refuses them until the record expires.
func kills(k revocation.Kind, rev revocation.Revision, t revocation.Token) bool {
	switch k {
	case revocation.KindSubject, revocation.KindClient, revocation.KindIssuer:
		if !t.HasRev {
			return t.Session == ""
		}
		return t.Rev < rev
	case revocation.KindClientSession:
		return t.Rev < rev
	default:
		return true
	}
}

// targets are those that fit t.
func targets(t revocation.Token) []revocation.Target {
	all := []revocation.Target{
		{Kind: revocation.KindToken, ID: t.ID},
		{Kind: revocation.KindSubject, ID: t.Subject},
		{Kind: revocation.KindClient, ID: t.Client},
		{Kind: revocation.KindIssuer},
		{Kind: revocation.KindKey, ID: t.Key},
	}
	if t.Session != "" {
		all = append(all,
			revocation.Target{Kind: revocation.KindSession, ID: t.Session},
			revocation.Target{Kind: revocation.KindClientSession, ID: t.Session, Client: t.Client})
	}
	return all
}
