package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/revocation"
)

// Kinds of single-use values that this package makes itself.
const (
	kindCookie = "cookie"
	kindCode   = "code"
)

// Login describes a finished authentication.
type Login struct {
	Realm      realm.Realm
	UserID     string
	ACR        string
	AMR        []string
	RememberMe bool
	IP, Agent  string
}

// Open starts a user session and returns the cookie value (256 random bits)
// that stands for it; only its SHA-256 is stored. If realm or user is not
// enabled the error is *Dead.
func (s *Sessions) Open(ctx context.Context, l Login) (UserSession, string, error) {
	sid, err := s.newID()
	if err != nil {
		return UserSession{}, "", err
	}
	cookie, err := s.newSecret()
	if err != nil {
		return UserSession{}, "", err
	}
	now, settings := s.now(), l.Realm.Settings.WithDefaults()
	u := UserSession{
		ID: sid, RealmID: l.Realm.ID, Issuer: l.Realm.Issuer, UserID: l.UserID,
		CookieHash: hash(l.Realm, kindCookie, cookie),
		Started:    now, AuthTime: now, Expires: now.Add(settings.SSOSessionMaxLifespan),
		RememberMe: l.RememberMe, ACR: l.ACR, AMR: l.AMR, IP: l.IP, Agent: l.Agent,
	}
	u.seen(now, settings)
	_, err = s.store.Write(ctx, func(tx Tx) error {
		if u.Rev, err = tx.Revision(); err != nil {
			return err
		}
		st, err := tx.RealmStanding(u.RealmID)
		if err != nil {
			return err
		}
		if !st.Enabled {
			return &Dead{RealmDisabled}
		}
		if err := judgeUser(tx, u, st, now); err != nil {
			return err
		}
		return tx.PutUserSession(u)
	})
	if err != nil {
		return UserSession{}, "", outcome(err, "opening a session")
	}
	return u, cookie, nil
}

// ByCookie returns the live session of a cookie, or ErrNotFound.
func (s *Sessions) ByCookie(ctx context.Context, r realm.Realm, cookie string) (UserSession, error) {
	now := s.now()
	var u UserSession
	err := s.store.Read(ctx, func(v View) error {
		st, err := v.RealmStanding(r.ID)
		if err != nil {
			return err
		}
		if !st.Enabled {
			return ErrNotFound
		}
		if u, err = v.UserSessionByCookie(r.ID, hash(r, kindCookie, cookie)); err != nil {
			return err
		}
		return judgeUser(v, u, st, now)
	})
	var dead *Dead
	if errors.As(err, &dead) {
		err = ErrNotFound
	}
	if err != nil {
		return UserSession{}, outcome(err, "finding a session by its cookie")
	}
	return u, nil
}

// Code is what an authorization code stands for (RFC 6749 §4.1.2).
type Code struct {
	SessionID     string
	ClientID      string
	RedirectURI   string
	Scope         string
	Nonce         string
	CodeChallenge string // S256, empty if none
	ACR           string
	AuthTime      time.Time
}

// storedCode is a code as the store keeps it, under the hash of its value.
type storedCode struct {
	Code
	Rev    revocation.Revision // newest revision when it was issued
	Minted bool                // redeemed with success
}

// IssueCode stores a code and returns its value. The session counts as seen.
// If it is over, or the client disabled, the error is *Dead.
func (s *Sessions) IssueCode(ctx context.Context, r realm.Realm, c Code) (string, error) {
	value, err := s.newSecret()
	if err != nil {
		return "", err
	}
	now, settings := s.now(), r.Settings.WithDefaults()
	_, err = s.store.Write(ctx, func(tx Tx) error {
		rev, err := tx.Revision()
		if err != nil {
			return err
		}
		st, err := standing(tx, r, c.ClientID)
		if err != nil {
			return err
		}
		u, err := liveUser(tx, r, st.realmStanding, c.SessionID, now)
		if err != nil {
			return err
		}
		if u.seen(now, settings) {
			if err := tx.PutUserSession(u); err != nil {
				return err
			}
		}
		return putCode(tx, storedCode{Code: c, Rev: rev}, SingleUse{
			Hash: hash(r, kindCode, value), Kind: kindCode, Expires: now.Add(settings.AccessCodeLifespan),
		})
	})
	if err != nil {
		return "", outcome(err, "issuing a code")
	}
	return value, nil
}

func putCode(tx Tx, c storedCode, u SingleUse) error {
	body, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("encoding code: %w", err)
	}
	u.Body = body
	return tx.PutSingleUse(u)
}

// RedeemCode consumes a code, whatever check says, and unless check (which
// compares client, redirect URI and verifier) returns an error, opens the
// client session and a refresh family. accessLife bounds the access token
// that will be minted. Errors: ErrCodeGone, ErrCodeReused, check's own, *Dead.
//
// A code that comes back ends what its first use opened (RFC 6749 §4.1.2, and
// as Keycloak 26 the client session as a whole); the code is remembered for
// that as long as the session may last. check may be called twice.
func (s *Sessions) RedeemCode(ctx context.Context, r realm.Realm, code string, accessLife time.Duration, check func(Code) error) (Code, Grant, error) {
	id, err := s.newID()
	if err != nil {
		return Code{}, Grant{}, err
	}
	o := opening{realm: r, family: id, life: accessLife, now: s.now()}
	var c storedCode
	var g Grant
	rev, err := s.write(ctx, "redeeming a code", func(tx Tx) (verdict, err error) {
		c, g = storedCode{}, Grant{}
		if o.rev, err = tx.Revision(); err != nil {
			return nil, err
		}
		use, err := tx.SingleUse(hash(r, kindCode, code))
		if errors.Is(err, ErrNotFound) || err == nil && !o.now.Before(use.Expires) {
			return ErrCodeGone, nil
		}
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(use.Body, &c); err != nil {
			return nil, fmt.Errorf("decoding code: %w", err)
		}
		if use.Used {
			return s.reused(tx, r, c, o.now)
		}
		use.Used = true
		if verdict = check(c.Code); verdict == nil {
			g, verdict, err = o.open(tx, c)
		}
		if err != nil {
			return nil, err
		}
		if verdict == nil {
			c.Minted, use.Expires = true, g.User.Expires
		}
		return verdict, putCode(tx, c, use)
	})
	if errors.Is(err, ErrCodeReused) {
		s.log(ctx, r, rev, revocation.ReasonCodeReuse, "sid", c.SessionID, "client", c.ClientID)
	}
	if err != nil {
		return Code{}, Grant{}, err
	}
	return c.Code, g, nil
}

// reused ends what the first use of a code opened. If it opened nothing, there
// is nothing to end, and the code is as good as gone.
func (s *Sessions) reused(tx Tx, r realm.Realm, c storedCode, now time.Time) (verdict, err error) {
	if !c.Minted {
		return ErrCodeGone, nil
	}
	err = endClientSession(tx, r, c.SessionID, c.ClientID, revocation.ReasonCodeReuse, now)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	return ErrCodeReused, nil
}

// opening is one opening of a client session by a code.
type opening struct {
	realm  realm.Realm
	family string
	life   time.Duration
	now    time.Time
	rev    revocation.Revision // read before everything else
}

// open opens the client session and a family, or says why not. A client that
// is in the session already stays; a new chain begins beside its others.
func (o opening) open(tx Tx, c storedCode) (g Grant, verdict, err error) {
	st, err := standing(tx, o.realm, c.ClientID)
	if err != nil {
		verdict, err = split(err)
		return g, verdict, err
	}
	l := living{standings: st}
	if l.user, err = liveUser(tx, o.realm, st.realmStanding, c.SessionID, o.now); err != nil {
		verdict, err = split(err)
		return g, verdict, err
	}
	if c.Rev < st.client.NotBefore {
		return g, &Dead{Revoked}, nil
	}
	if l.client, err = o.clientSession(tx, l, c); err != nil {
		return g, nil, err
	}
	if err := l.touch(tx, o.now, o.life, true); err != nil {
		return g, nil, err
	}
	f := Family{
		ID: o.family, SessionID: c.SessionID, ClientID: c.ClientID, Scope: c.Scope,
		Generation: 1, Rotated: o.now, Expires: l.user.Expires,
	}
	return l.grant(f, o.rev), nil, tx.PutFamily(f)
}

// clientSession is the client's, as it is after this login.
func (o opening) clientSession(tx Tx, l living, c storedCode) (ClientSession, error) {
	fresh := ClientSession{
		SessionID: c.SessionID, ClientID: c.ClientID, Started: o.now, LastSeen: o.now,
		Expires: l.user.Expires, Scope: c.Scope, Rev: o.rev,
	}
	old, err := tx.ClientSession(c.SessionID, c.ClientID)
	if errors.Is(err, ErrNotFound) {
		return fresh, nil
	}
	if err != nil {
		return ClientSession{}, err
	}
	if old.Rev < l.standings.client.NotBefore { // killed with its client; its chains go with it
		return fresh, tx.DeleteClientSession(c.SessionID, c.ClientID)
	}
	old.Scope, old.LastSeen = c.Scope, later(old.LastSeen, o.now)
	return old, nil
}

// split tells a verdict from a failure.
func split(err error) (verdict, failure error) {
	var dead *Dead
	if errors.As(err, &dead) {
		return err, nil
	}
	return nil, err
}
