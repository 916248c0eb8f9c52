package session

import (
	"context"
	"errors"
	"time"

	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/revocation"
)

// opening is one opening of a client session.
type opening struct {
	realm       realm.Realm
	sid, family string // fresh ids, if they are needed
	life        time.Duration
	limits      Limits
	binding     Binding
	noRefresh   bool
	now         time.Time
	rev         revocation.Revision // read before everything else
}

func (s *Sessions) opening(r realm.Realm, accessLife time.Duration) (o opening, err error) {
	o = opening{realm: r, life: accessLife, now: s.now()}
	if o.sid, err = s.newID(); err != nil {
		return o, err
	}
	o.family, err = s.newID()
	return o, err
}

// wanted is what a client session is opened for.
type wanted struct {
	clientID, scope string
	asked           Asked
}

// redeem opens what a code stands for; *Dead if it is too late for that.
func (o opening) redeem(tx Tx, c storedCode) (Grant, error) {
	l, err := o.find(tx, c.ClientID, c.SessionID)
	if err != nil {
		return Grant{}, err
	}
	if c.Rev < l.clientStanding.NotBefore {
		return Grant{}, &Dead{Revoked}
	}
	if c.Consented {
		if err := checkConsent(tx, o.realm, l.user.UserID, c.ClientID, c.Scope+" "+c.Also); err != nil {
			return Grant{}, err
		}
	}
	return o.open(tx, l, wanted{c.ClientID, c.Scope, c.Asked})
}

// find reads a live user session, with the standing of the client.
func (o opening) find(tx Tx, clientID, sid string) (living, error) {
	st, err := standing(tx, o.realm, clientID)
	if err != nil {
		return living{}, err
	}
	l := living{standings: st}
	l.user, l.userStanding, err = liveUser(tx, o.realm, st.realmStanding, sid, o.now)
	return l, err
}

// open opens the client session and a family. A client that is in the session
// already stays; a new chain begins beside its others.
func (o opening) open(tx Tx, l living, w wanted) (Grant, error) {
	if offline(w.scope) && !l.user.Offline {
		l.user = o.offline(l.user)
	}
	var err error
	l.limits = o.limits
	if l.client, err = o.clientSession(tx, l, w); err != nil {
		return Grant{}, err
	}
	if err := l.touch(tx, o.now, o.life, true); err != nil {
		return Grant{}, err
	}
	f := Family{
		SessionID: l.user.ID, ClientID: w.clientID, Scope: w.scope, Asked: w.asked, Binding: o.binding,
		Generation: 1, Rotated: o.now, Expires: l.expires(),
	}
	if o.noRefresh {
		return l.grant(f, o.rev), nil
	}
	f.ID = o.family
	return l.grant(f, o.rev), tx.PutFamily(f)
}

// offline is a session that goes on without the one it grows from, so that the
// end of that one, which a browser may have shown to others, is not its end.
func (o opening) offline(from UserSession) UserSession {
	u := UserSession{
		ID: o.sid, RealmID: from.RealmID, Issuer: from.Issuer, UserID: from.UserID, Offline: true, Origin: from.ID,
		Started: o.now, AuthTime: from.AuthTime, ACR: from.ACR, AMR: from.AMR, IP: from.IP, Agent: from.Agent, Rev: o.rev,
	}
	u.begin(o.now, o.realm.Settings.WithDefaults())
	return u
}

// clientSession is the client's, as it is after this opening.
func (o opening) clientSession(tx Tx, l living, w wanted) (ClientSession, error) {
	fresh := ClientSession{
		SessionID: l.user.ID, ClientID: w.clientID, Started: o.now, Expires: l.user.Expires, Scope: w.scope, Rev: o.rev,
	}
	if _, most := o.limits.of(l.user); most > 0 {
		fresh.Expires = first(fresh.Expires, o.now.Add(most))
	}
	old, err := tx.ClientSession(l.user.ID, w.clientID)
	if errors.Is(err, ErrNotFound) {
		return fresh, nil
	}
	if err != nil {
		return ClientSession{}, err
	}
	if old.Rev < l.clientStanding.NotBefore || old.over(o.now) { // dead, and its chains with it
		return fresh, tx.DeleteClientSession(l.user.ID, w.clientID)
	}
	old.Scope = w.scope
	return old, nil
}

// Direct opens a client session without an authorization code: a password, an
// assertion, an approved device.
type Direct struct {
	// Login is who has authenticated. With a SessionID, of an approval in a
	// browser, that live session is used, and must be of Login's user; the
	// consent must stand, and the client not have been killed since Approved, the
	// newest revision at that moment.
	Login     Login
	SessionID string
	Approved  revocation.Revision

	ClientID   string
	Scope      string // granted
	Asked      Asked
	Binding    Binding
	AccessLife time.Duration
	Limits     Limits // of the client
	NoRefresh  bool   // open no family: the Grant's has no ID
}

// OpenDirect opens a user session that no browser holds (or an offline one,
// with offline_access), a client session and a refresh family, in one
// transaction. *Dead if realm, client, user or session is not alive.
func (s *Sessions) OpenDirect(ctx context.Context, d Direct) (Grant, error) {
	o, err := s.opening(d.Login.Realm, d.AccessLife)
	if err != nil {
		return Grant{}, err
	}
	sid, err := s.newID()
	if err != nil {
		return Grant{}, err
	}
	o.limits, o.binding, o.noRefresh = d.Limits.In(d.Login.Realm.Settings), d.Binding, d.NoRefresh
	var g Grant
	_, err = s.store.Write(ctx, func(tx Tx) error {
		if o.rev, err = tx.Revision(); err != nil {
			return err
		}
		l, err := o.begin(tx, d, sid)
		if err != nil {
			return err
		}
		g, err = o.open(tx, l, wanted{d.ClientID, d.Scope, d.Asked})
		return err
	})
	if err != nil {
		return Grant{}, outcome(err, "opening a session")
	}
	return g, nil
}

// begin is the user session of d: the one it names, or a new one.
func (o opening) begin(tx Tx, d Direct, sid string) (living, error) {
	if d.SessionID != "" {
		l, err := o.find(tx, d.ClientID, d.SessionID)
		switch {
		case err != nil:
			return l, err
		case l.user.UserID != d.Login.UserID:
			return l, &Dead{NoSession}
		case d.Approved < l.clientStanding.NotBefore:
			return l, &Dead{Revoked}
		}
		return l, checkConsent(tx, o.realm, l.user.UserID, d.ClientID, d.Scope)
	}
	st, err := standing(tx, o.realm, d.ClientID)
	if err != nil {
		return living{}, err
	}
	u := UserSession{
		ID: sid, RealmID: o.realm.ID, Issuer: o.realm.Issuer, UserID: d.Login.UserID,
		Started: o.now, AuthTime: o.now,
		ACR: d.Login.ACR, AMR: d.Login.AMR, IP: d.Login.IP, Agent: d.Login.Agent, Rev: o.rev,
	}
	u.begin(o.now, o.realm.Settings.WithDefaults())
	person, err := judgeUser(tx, u, st.realmStanding, o.now)
	return living{standings: st, user: u, userStanding: person}, err
}

// Exchanging asks for a token in a session that is there (RFC 8693).
type Exchanging struct {
	Realm      realm.Realm
	SessionID  string // of the subject token
	UserID     string // of the subject token
	ClientID   string // who asks
	Scope      string // granted
	Asked      Asked
	AccessLife time.Duration
	Limits     Limits // of the client
}

// Exchange lets a client into a live user session, without a refresh family:
// what is minted for the Grant dies with that session. *Dead if it is over.
func (s *Sessions) Exchange(ctx context.Context, e Exchanging) (Grant, error) {
	o := opening{realm: e.Realm, life: e.AccessLife, limits: e.Limits.In(e.Realm.Settings), now: s.now(), noRefresh: true}
	var g Grant
	_, err := s.store.Write(ctx, func(tx Tx) (err error) {
		if o.rev, err = tx.Revision(); err != nil {
			return err
		}
		l, err := o.find(tx, e.ClientID, e.SessionID)
		if err != nil {
			return err
		}
		if l.user.UserID != e.UserID {
			return &Dead{NoSession}
		}
		g, err = o.open(tx, l, wanted{e.ClientID, WithoutOffline(e.Scope), e.Asked})
		return err
	})
	if err != nil {
		return Grant{}, outcome(err, "exchanging a token")
	}
	return g, nil
}
