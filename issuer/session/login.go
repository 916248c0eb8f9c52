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
	RememberMe bool // counts only if the realm allows it
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
		Started:    now, AuthTime: now,
		RememberMe: l.RememberMe && settings.RememberMe, ACR: l.ACR, AMR: l.AMR, IP: l.IP, Agent: l.Agent,
	}
	u.begin(now, settings)
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
		if _, err := judgeUser(tx, u, st, now); err != nil {
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
		_, err = judgeUser(v, u, st, now)
		return err
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
	Asked         Asked
	Consented     bool   // it needs the user's consent, which may be withdrawn meanwhile
	Also          string // scopes that it takes consent to besides: claims of theirs were asked for
	Pushed        string `json:"-"` // the pushed request that it uses up, see Push; empty if none
	DPoPKey       string // dpop_jkt, RFC 9449 §10: the key whose proof has to come with the code
}

// storedCode is a code as the store keeps it, under the hash of its value.
type storedCode struct {
	Code
	Rev    revocation.Revision // newest revision when it was issued
	Minted string              // the session that it opened a client session in; empty until redeemed
}

// IssueCode stores a code and returns its value. The session counts as seen.
// If it is over, or the client disabled, the error is *Dead; if a pushed
// request was used before, ErrReplayed.
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
		u, _, err := liveUser(tx, r, st.realmStanding, c.SessionID, now)
		if err != nil {
			return err
		}
		if err := usePushed(tx, r, c.Pushed, now); err != nil {
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

// Redeeming is an authorization code on its way to tokens.
type Redeeming struct {
	Realm      realm.Realm
	Code       string
	AccessLife time.Duration    // of the access token that will be minted
	Limits     Limits           // of the client
	Binding    Binding          // of the refresh tokens, if they are to be bound
	Check      func(Code) error // compares client, redirect URI, verifier …; may be called twice
}

// RedeemCode consumes a code, whatever Check says, and unless Check returns an
// error, opens the client session and a refresh family: in the browser's
// session, or with offline_access in an offline session of its own. Errors:
// ErrCodeGone, ErrCodeReused, Check's own, *Dead.
//
// A code that comes back ends what its first use opened (RFC 6749 §4.1.2, and
// as Keycloak 26 the client session as a whole); the code is remembered for
// that as long as the session may last.
func (s *Sessions) RedeemCode(ctx context.Context, p Redeeming) (Code, Grant, error) {
	o, err := s.opening(p.Realm, p.AccessLife)
	if err != nil {
		return Code{}, Grant{}, err
	}
	o.binding, o.limits = p.Binding, p.Limits.In(p.Realm.Settings)
	var c storedCode
	var g Grant
	rev, err := s.write(ctx, "redeeming a code", func(tx Tx) (verdict, err error) {
		c, g = storedCode{}, Grant{}
		if o.rev, err = tx.Revision(); err != nil {
			return nil, err
		}
		use, err := tx.SingleUse(hash(p.Realm, kindCode, p.Code))
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
			return s.reused(tx, p.Realm, c, o.now)
		}
		use.Used = true
		if verdict = p.Check(c.Code); verdict == nil {
			g, err = o.redeem(tx, c)
			verdict, err = split(err)
		}
		if err != nil {
			return nil, err
		}
		if verdict == nil {
			c.Minted, use.Expires = g.User.ID, g.User.remembered()
		}
		return verdict, putCode(tx, c, use)
	})
	if errors.Is(err, ErrCodeReused) {
		s.log(ctx, p.Realm, rev, revocation.ReasonCodeReuse, "sid", c.Minted, "client", c.ClientID)
	}
	if err != nil {
		return Code{}, Grant{}, err
	}
	return c.Code, g, nil
}

// remembered is until when a code is kept that was redeemed in the session: to
// its end, or, if it may go on for ever, as long as it may at first.
func (u UserSession) remembered() time.Time {
	if u.Expires.IsZero() {
		return u.Idle
	}
	return u.Expires
}

// reused ends what the first use of a code opened. If it opened nothing, there
// is nothing to end, and the code is as good as gone.
func (s *Sessions) reused(tx Tx, r realm.Realm, c storedCode, now time.Time) (verdict, err error) {
	if c.Minted == "" {
		return ErrCodeGone, nil
	}
	err = endClientSession(tx, r, c.Minted, c.ClientID, revocation.ReasonCodeReuse, now)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	return ErrCodeReused, nil
}

// split tells a verdict from a failure.
func split(err error) (verdict, failure error) {
	var dead *Dead
	if errors.As(err, &dead) {
		return err, nil
	}
	return nil, err
}
