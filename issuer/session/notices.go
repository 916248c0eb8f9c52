package session

import (
	"context"
	"time"

	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/revocation"
)

// Notice tells a client that a session it took part in is over (OpenID Connect
// Back-Channel Logout 1.0). It is written with the session's end, and kept
// until it was delivered or is too old to matter.
type Notice struct {
	RealmID   string
	SessionID string
	ClientID  string
	UserID    string
	Due       time.Time // when it is to be tried next
	Tries     int       // how often it was tried in vain
	Expires   time.Time // when it is given up
}

// How long notices are kept, and when they are tried again.
const (
	noticeLife = 24 * time.Hour
	firstRetry = 2 * time.Second // doubled with each failure
	lastRetry  = 10 * time.Minute
)

// tells reports whether clients are told of sessions that end for a reason: of
// those that people, operators and time end. What a client itself or a thief
// has brought about ends in silence (Keycloak 26).
func tells(why revocation.Reason) bool {
	switch why {
	case revocation.ReasonLogout, revocation.ReasonAdmin, revocation.ReasonSessionExpiry, revocation.ReasonDisabled:
		return true
	}
	return false
}

// notify writes what a session that ends now has to tell.
func notify(tx Tx, u UserSession, why revocation.Reason, now time.Time) error {
	if !tells(why) {
		return nil
	}
	clients, err := tx.Notified(u.RealmID, u.ID)
	if err != nil {
		return err
	}
	for _, clientID := range clients {
		n := Notice{
			RealmID: u.RealmID, SessionID: u.ID, ClientID: clientID, UserID: u.UserID, Due: now, Expires: now.Add(noticeLife),
		}
		if err := tx.PutNotice(n); err != nil {
			return err
		}
	}
	return nil
}

// Notices is signalled, at some time after they were committed, when there may
// be new notices to deliver. Another process's are found by asking.
func (s *Sessions) Notices() <-chan struct{} { return s.notices }

func (s *Sessions) signal() {
	select {
	case s.notices <- struct{}{}:
	default:
	}
	s.announced()
}

// TakeNotices takes up to limit notices that are due. They are the caller's
// until then, when they fall due for everybody again unless Delivered or
// Failed was called.
func (s *Sessions) TakeNotices(ctx context.Context, limit int, until time.Duration) ([]Notice, error) {
	now := s.now()
	var due []Notice
	err := s.store.Read(ctx, func(v View) (err error) {
		due, err = v.DueNotices(now, limit)
		return err
	})
	if err != nil || len(due) == 0 {
		return nil, outcome(err, "finding notices")
	}
	var taken []Notice
	_, err = s.store.Write(ctx, func(tx Tx) error {
		taken = taken[:0]
		for _, n := range due {
			ours, err := tx.TakeNotice(n, now.Add(until))
			if err != nil {
				return err
			}
			if ours {
				n.Due = now.Add(until)
				taken = append(taken, n)
			}
		}
		return nil
	})
	if err != nil {
		return nil, outcome(err, "taking notices")
	}
	return taken, nil
}

// Delivered forgets a notice.
func (s *Sessions) Delivered(ctx context.Context, n Notice) error {
	_, err := s.store.Write(ctx, func(tx Tx) error { return tx.DeleteNotice(n.SessionID, n.ClientID) })
	return outcome(err, "forgetting a notice")
}

// Failed puts a notice off, each time for longer. It reports whether it will
// be tried again; else it is forgotten.
func (s *Sessions) Failed(ctx context.Context, n Notice) (again bool, err error) {
	wait := lastRetry
	if n.Tries < 10 {
		wait = min(wait, firstRetry<<n.Tries)
	}
	n.Tries++
	n.Due = s.now().Add(wait)
	if !n.Due.Before(n.Expires) {
		return false, s.Delivered(ctx, n)
	}
	_, err = s.store.Write(ctx, func(tx Tx) error { return tx.PutNotice(n) })
	return true, outcome(err, "putting a notice off")
}

// ClientsOf are the client_ids that take part in a session, ErrNotFound if
// there is none.
func (s *Sessions) ClientsOf(ctx context.Context, r realm.Realm, sid string) ([]string, error) {
	var ids []string
	err := s.store.Read(ctx, func(v View) error {
		if _, err := v.UserSession(r.ID, sid); err != nil {
			return err
		}
		all, err := v.ClientSessions(sid)
		ids = nil
		for _, c := range all {
			ids = append(ids, c.ClientID)
		}
		return err
	})
	return ids, outcome(err, "finding the clients of a session")
}
