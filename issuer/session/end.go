package session

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/revocation"
)

// leeway is how long a record outlives the last token that it could match:
// clocks differ, and a token is signed a moment after its mark was written.
const leeway = time.Minute

// record is one revocation. mark is when the last access token that it could
// match expires, as far as the store knows.
func record(r realm.Realm, t revocation.Target, mark time.Time, why revocation.Reason, now time.Time) revocation.Record {
	return revocation.Record{
		Issuer: r.Issuer, Target: t, IssuedBefore: now, ExpiresAt: later(mark, now).Add(leeway), Reason: why,
	}
}

// log tells of a committed end.
func (s *Sessions) log(ctx context.Context, r realm.Realm, rev revocation.Revision, why revocation.Reason, what ...any) {
	level := slog.LevelInfo
	if why == revocation.ReasonRefreshReuse || why == revocation.ReasonCodeReuse {
		level = slog.LevelWarn
	}
	s.logger.With(what...).Log(ctx, level, "revoked", "realm", r.Name, "reason", why, "revision", uint64(rev))
}

// RevokeToken kills one access token until exp (RFC 7009). A token that is
// killed already costs nothing more: the revision is the one it died at.
func (s *Sessions) RevokeToken(ctx context.Context, r realm.Realm, jti string, exp time.Time, why revocation.Reason) (revocation.Revision, error) {
	now := s.now()
	target := revocation.Target{Kind: revocation.KindToken, ID: jti}
	var before revocation.Revision
	rev, err := s.store.Write(ctx, func(tx Tx) (err error) {
		if before, err = tx.Recorded(r.Issuer, target); err != nil || before > 0 {
			return err
		}
		return tx.Revoke(r.ID, record(r, target, exp, why, now))
	})
	if err != nil {
		return 0, outcome(err, "revoking a token")
	}
	if before > 0 {
		return before, nil
	}
	s.log(ctx, r, rev, why, "jti", jti)
	return rev, nil
}

// EndClientSession ends one client's part of a user session, and the user
// session too if it was the last one (Keycloak 26). ErrNotFound if there is none.
func (s *Sessions) EndClientSession(ctx context.Context, r realm.Realm, sid, clientID string, why revocation.Reason) (revocation.Revision, error) {
	now := s.now()
	rev, err := s.store.Write(ctx, func(tx Tx) error {
		return endClientSession(tx, r, sid, clientID, why, now)
	})
	if err != nil {
		return 0, outcome(err, "ending a client session")
	}
	s.signal()
	s.log(ctx, r, rev, why, "sid", sid, "client", clientID)
	return rev, nil
}

// EndFamily is EndClientSession of whoever holds a refresh token of a family.
// ErrNotFound if the family is gone, with the client session that it was of:
// the client may have another one in the same user session by now, of which
// that token is no part.
func (s *Sessions) EndFamily(ctx context.Context, r realm.Realm, sid, clientID, familyID string, why revocation.Reason) (revocation.Revision, error) {
	now := s.now()
	rev, err := s.store.Write(ctx, func(tx Tx) error {
		f, err := tx.Family(familyID)
		if err == nil && (f.SessionID != sid || f.ClientID != clientID) {
			err = ErrNotFound
		}
		if err != nil {
			return err
		}
		return endClientSession(tx, r, sid, clientID, why, now)
	})
	if err != nil {
		return 0, outcome(err, "ending a client session")
	}
	s.signal()
	s.log(ctx, r, rev, why, "sid", sid, "client", clientID, "family", familyID)
	return rev, nil
}

func endClientSession(tx Tx, r realm.Realm, sid, clientID string, why revocation.Reason, now time.Time) error {
	u, err := tx.UserSession(r.ID, sid)
	if err != nil {
		return err
	}
	c, err := tx.ClientSession(sid, clientID)
	if err != nil {
		return err
	}
	if err := tx.DeleteClientSession(sid, clientID); err != nil {
		return err
	}
	target := revocation.Target{Kind: revocation.KindClientSession, ID: sid, Client: clientID}
	if err := tx.Revoke(r.ID, record(r, target, c.MaxAccessExp, why, now)); err != nil {
		return err
	}
	others, err := tx.ClientSessions(sid)
	if err != nil || len(others) > 0 {
		return err
	}
	return endUserSession(tx, r, u, why, now)
}

func endUserSession(tx Tx, r realm.Realm, u UserSession, why revocation.Reason, now time.Time) error {
	if err := notify(tx, u, why, now); err != nil {
		return err
	}
	if err := announce(tx, u, why, now); err != nil {
		return err
	}
	if err := tx.DeleteUserSession(u.ID); err != nil {
		return err
	}
	target := revocation.Target{Kind: revocation.KindSession, ID: u.ID}
	return tx.Revoke(r.ID, record(r, target, u.MaxAccessExp, why, now))
}

// End ends a user session with all its client sessions. ErrNotFound if there is none.
func (s *Sessions) End(ctx context.Context, r realm.Realm, sid string, why revocation.Reason) (revocation.Revision, error) {
	now := s.now()
	rev, err := s.store.Write(ctx, func(tx Tx) error {
		u, err := tx.UserSession(r.ID, sid)
		if err != nil {
			return err
		}
		return endUserSession(tx, r, u, why, now)
	})
	if err != nil {
		return 0, outcome(err, "ending a session")
	}
	s.signal()
	s.log(ctx, r, rev, why, "sid", sid)
	return rev, nil
}

// EndUser kills everything older than now of a user: the sessions, and by one
// record all tokens that say who the user is. Those whose sub is known to their
// client alone say only their session: so there is a record for each session
// that has an access token left, too. With revocation.ReasonDisabled, here and
// in EndClient and EndRealm, the same commit disables it: no moment and no crash
// lies between "nothing new" and "nothing old".
func (s *Sessions) EndUser(ctx context.Context, r realm.Realm, userID string, why revocation.Reason) (revocation.Revision, error) {
	defer s.signal()
	now := s.now()
	return s.endAll(ctx, r, revocation.Target{Kind: revocation.KindSubject, ID: userID}, why, func(tx Tx) (Standing, error) {
		all, err := tx.UserSessionsOf(r.ID, userID)
		if err != nil {
			return Standing{}, err
		}
		for _, u := range all {
			if err := notify(tx, u, why, now); err != nil {
				return Standing{}, err
			}
			if now.After(u.MaxAccessExp.Add(leeway)) { // the clock of who checks may be behind
				continue
			}
			target := revocation.Target{Kind: revocation.KindSession, ID: u.ID}
			if err := tx.Revoke(r.ID, record(r, target, u.MaxAccessExp, why, now)); err != nil {
				return Standing{}, err
			}
		}
		if err := tx.DeleteUserSessionsOf(r.ID, userID); err != nil {
			return Standing{}, err
		}
		if err := announceUser(tx, r, userID, why, now); err != nil {
			return Standing{}, err
		}
		return tx.RealmStanding(r.ID) // no mark is kept for each user
	})
}

// EndConsent withdraws a consent: it is forgotten, and what the client has of
// the user ends in every session, offline ones too. The revision is 0 if there
// was no session.
func (s *Sessions) EndConsent(ctx context.Context, r realm.Realm, userID, clientID string) (revocation.Revision, error) {
	now := s.now()
	rev, err := s.store.Write(ctx, func(tx Tx) error {
		if err := tx.DeleteConsent(r.ID, userID, clientID); err != nil {
			return err
		}
		all, err := tx.UserSessionsOf(r.ID, userID)
		if err != nil {
			return err
		}
		for _, u := range all {
			err := endClientSession(tx, r, u.ID, clientID, revocation.ReasonConsent, now)
			if err != nil && !errors.Is(err, ErrNotFound) {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, outcome(err, "ending sessions with a consent")
	}
	if rev > 0 {
		s.log(ctx, r, rev, revocation.ReasonConsent, "user", userID, "client", clientID)
	}
	return rev, nil
}

// EndClient kills everything older than now of a client: one record, whatever
// the number of its sessions. Their rows stay, dead, until they expire. A client
// that acts for itself has a second record, for what others have exchanged its
// tokens for: it is theirs, with this subject.
func (s *Sessions) EndClient(ctx context.Context, r realm.Realm, clientID string, why revocation.Reason) (revocation.Revision, error) {
	return s.endAll(ctx, r, revocation.Target{Kind: revocation.KindClient, ID: clientID}, why, func(tx Tx) (Standing, error) {
		if err := s.endAccount(tx, r, clientID, why); err != nil {
			return Standing{}, err
		}
		return tx.ClientStanding(r.ID, clientID)
	})
}

func (s *Sessions) endAccount(tx Tx, r realm.Realm, clientID string, why revocation.Reason) error {
	account, err := tx.ServiceAccount(r.ID, clientID)
	if err != nil || account == "" {
		return err
	}
	st, err := tx.RealmStanding(r.ID)
	if err != nil {
		return err
	}
	return tx.Revoke(r.ID, record(r, revocation.Target{Kind: revocation.KindSubject, ID: account}, st.MaxAccessExp, why, s.now()))
}

// EndRealm kills everything older than now of a realm: see EndClient.
func (s *Sessions) EndRealm(ctx context.Context, r realm.Realm, why revocation.Reason) (revocation.Revision, error) {
	return s.endAll(ctx, r, revocation.Target{Kind: revocation.KindIssuer}, why, func(tx Tx) (Standing, error) {
		return tx.RealmStanding(r.ID)
	})
}

// NotBefore is when all of a realm was last killed; zero: never.
func (s *Sessions) NotBefore(ctx context.Context, r realm.Realm) (time.Time, error) {
	var st Standing
	err := s.store.Read(ctx, func(v View) (err error) {
		st, err = v.RealmStanding(r.ID)
		return err
	})
	return st.NotBeforeTime, outcome(err, "reading not-before")
}

// endAll writes the one record that kills all. prepare returns the standing
// that knows when the last token of the target expires.
func (s *Sessions) endAll(ctx context.Context, r realm.Realm, t revocation.Target, why revocation.Reason, prepare func(Tx) (Standing, error)) (revocation.Revision, error) {
	now := s.now()
	rev, err := s.store.Write(ctx, func(tx Tx) error {
		st, err := prepare(tx)
		if err != nil {
			return err
		}
		if why == revocation.ReasonDisabled {
			if err := tx.Disable(r.ID, t); err != nil {
				return err
			}
		}
		return tx.Revoke(r.ID, record(r, t, st.MaxAccessExp, why, now))
	})
	if err != nil {
		return 0, outcome(err, "ending all sessions")
	}
	s.log(ctx, r, rev, why, "kind", int(t.Kind), "target", t.ID)
	return rev, nil
}
