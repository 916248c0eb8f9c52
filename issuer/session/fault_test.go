package session_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/revocation"
	"github.com/tegata/tegata/revocation/ssf"
)

var errFault = errors.New("the disk is gone")

// faulty is a store whose nth call within transactions fails.
type faulty struct {
	session.Store
	left int // calls until then
}

func (f *faulty) next() error {
	f.left--
	if f.left == 0 {
		return errFault
	}
	return nil
}

func (f *faulty) Read(ctx context.Context, do func(session.View) error) error {
	return f.Store.Read(ctx, func(v session.View) error { return do(faultyView{v, f}) })
}

func (f *faulty) Write(ctx context.Context, do func(session.Tx) error) (revocation.Revision, error) {
	return f.Store.Write(ctx, func(tx session.Tx) error { return do(faultyTx{faultyView{tx, f}, tx}) })
}

type faultyView struct {
	v session.View
	f *faulty
}

// or is get's value, or the fault.
func or[T any](f *faulty, get func() (T, error)) (v T, err error) {
	if err := f.next(); err != nil {
		return v, err
	}
	return get()
}

func (v faultyView) Revision() (revocation.Revision, error) { return or(v.f, v.v.Revision) }

func (v faultyView) RealmStanding(realmID string) (session.Standing, error) {
	return or(v.f, func() (session.Standing, error) { return v.v.RealmStanding(realmID) })
}

func (v faultyView) ClientStanding(realmID, clientID string) (session.Standing, error) {
	return or(v.f, func() (session.Standing, error) { return v.v.ClientStanding(realmID, clientID) })
}

func (v faultyView) UserStanding(realmID, userID string) (session.Standing, error) {
	return or(v.f, func() (session.Standing, error) { return v.v.UserStanding(realmID, userID) })
}

func (v faultyView) ServiceAccount(realmID, clientID string) (string, error) {
	return or(v.f, func() (string, error) { return v.v.ServiceAccount(realmID, clientID) })
}

func (v faultyView) UserSession(realmID, sid string) (session.UserSession, error) {
	return or(v.f, func() (session.UserSession, error) { return v.v.UserSession(realmID, sid) })
}

func (v faultyView) UserSessionByCookie(realmID string, hash []byte) (session.UserSession, error) {
	return or(v.f, func() (session.UserSession, error) { return v.v.UserSessionByCookie(realmID, hash) })
}

func (v faultyView) ClientSession(sid, clientID string) (session.ClientSession, error) {
	return or(v.f, func() (session.ClientSession, error) { return v.v.ClientSession(sid, clientID) })
}

func (v faultyView) UserSessionsOf(realmID, userID string) ([]session.UserSession, error) {
	return or(v.f, func() ([]session.UserSession, error) { return v.v.UserSessionsOf(realmID, userID) })
}

func (v faultyView) ClientSessions(sid string) ([]session.ClientSession, error) {
	return or(v.f, func() ([]session.ClientSession, error) { return v.v.ClientSessions(sid) })
}

func (v faultyView) Family(id string) (session.Family, error) {
	return or(v.f, func() (session.Family, error) { return v.v.Family(id) })
}

func (v faultyView) SingleUse(hash []byte) (session.SingleUse, error) {
	return or(v.f, func() (session.SingleUse, error) { return v.v.SingleUse(hash) })
}

func (v faultyView) Recorded(issuer string, t revocation.Target) (revocation.Revision, error) {
	return or(v.f, func() (revocation.Revision, error) { return v.v.Recorded(issuer, t) })
}

func (v faultyView) EndedSessions(now time.Time, limit int) ([]session.UserSession, error) {
	return or(v.f, func() ([]session.UserSession, error) { return v.v.EndedSessions(now, limit) })
}

func (v faultyView) Notified(realmID, sid string) ([]string, error) {
	return or(v.f, func() ([]string, error) { return v.v.Notified(realmID, sid) })
}

func (v faultyView) DueNotices(now time.Time, limit int) ([]session.Notice, error) {
	return or(v.f, func() ([]session.Notice, error) { return v.v.DueNotices(now, limit) })
}

func (v faultyView) Consent(realmID, userID, clientID string) (session.Consent, error) {
	return or(v.f, func() (session.Consent, error) { return v.v.Consent(realmID, userID, clientID) })
}

func (v faultyView) ConsentsOf(realmID, userID string) ([]session.Consent, error) {
	return or(v.f, func() ([]session.Consent, error) { return v.v.ConsentsOf(realmID, userID) })
}

type faultyTx struct {
	faultyView
	tx session.Tx
}

// do does f, or the fault: after it, as a statement that was done but not
// committed shows more than one that was not.
func (t faultyTx) do(f error) error { return errors.Join(f, t.f.next()) }

func (t faultyTx) PutUserSession(u session.UserSession) error { return t.do(t.tx.PutUserSession(u)) }

func (t faultyTx) PutClientSession(c session.ClientSession) error {
	return t.do(t.tx.PutClientSession(c))
}

func (t faultyTx) PutFamily(f session.Family) error { return t.do(t.tx.PutFamily(f)) }

func (t faultyTx) RotateFamily(id string, presented uint64, now time.Time) (bool, error) {
	ok, err := t.tx.RotateFamily(id, presented, now)
	return ok, t.do(err)
}

func (t faultyTx) DeleteUserSession(sid string) error { return t.do(t.tx.DeleteUserSession(sid)) }

func (t faultyTx) DeleteUserSessionsOf(realmID, userID string) error {
	return t.do(t.tx.DeleteUserSessionsOf(realmID, userID))
}

func (t faultyTx) DeleteClientSession(sid, clientID string) error {
	return t.do(t.tx.DeleteClientSession(sid, clientID))
}

func (t faultyTx) PutSingleUse(u session.SingleUse) error { return t.do(t.tx.PutSingleUse(u)) }

func (t faultyTx) PutConsent(c session.Consent) error { return t.do(t.tx.PutConsent(c)) }

func (t faultyTx) DeleteConsent(realmID, userID, clientID string) error {
	return t.do(t.tx.DeleteConsent(realmID, userID, clientID))
}

func (t faultyTx) PutNotice(n session.Notice) error { return t.do(t.tx.PutNotice(n)) }

func (t faultyTx) Announce(realmID string, e ssf.Event) error {
	return t.do(t.tx.Announce(realmID, e))
}

func (t faultyTx) DeleteNotice(sid, clientID string) error {
	return t.do(t.tx.DeleteNotice(sid, clientID))
}

func (t faultyTx) TakeNotice(n session.Notice, until time.Time) (bool, error) {
	ok, err := t.tx.TakeNotice(n, until)
	return ok, t.do(err)
}

func (t faultyTx) MarkMinted(realmID, clientID string, at time.Time) error {
	return t.do(t.tx.MarkMinted(realmID, clientID, at))
}

func (t faultyTx) Disable(realmID string, target revocation.Target) error {
	return t.do(t.tx.Disable(realmID, target))
}

func (t faultyTx) Revoke(realmID string, r revocation.Record) error {
	return t.do(t.tx.Revoke(realmID, r))
}

func (t faultyTx) Sweep(now time.Time, limit int) (int, error) {
	n, err := t.tx.Sweep(now, limit)
	return n, t.do(err)
}

// TestAFaultAnywhereLeavesNothing: whatever statement fails, the caller learns
// of a failure, never of a verdict, and nothing happened: no half kill, no
// code used up, no token minted.
func TestAFaultAnywhereLeavesNothing(t *testing.T) {
	t.Parallel()
	anything := func(session.Code) error { return nil }
	for name, tt := range map[string]struct {
		// prepare returns what is to be done on the faulty store.
		prepare func(*world) func(*session.Sessions) error
		want    error // at last, without a fault
	}{
		"Open": {prepare: func(w *world) func(*session.Sessions) error {
			return func(s *session.Sessions) error {
				_, _, err := s.Open(t.Context(), session.Login{Realm: w.realm, UserID: "u-1"})
				return err
			}
		}},
		"ByCookie": {prepare: func(w *world) func(*session.Sessions) error {
			_, cookie := w.open()
			return func(s *session.Sessions) error { _, err := s.ByCookie(t.Context(), w.realm, cookie); return err }
		}},
		"IssueCode": {prepare: func(w *world) func(*session.Sessions) error {
			u, _ := w.open()
			w.pass(time.Minute) // so that the session is touched
			return func(s *session.Sessions) error {
				_, err := s.IssueCode(t.Context(), w.realm, session.Code{SessionID: u.ID, ClientID: "shop"})
				return err
			}
		}},
		"RedeemCode": {prepare: func(w *world) func(*session.Sessions) error {
			g := w.login()
			w.rev(w.EndClient(t.Context(), w.realm, "shop", revocation.ReasonAdmin)) // so that the old one is replaced
			code := w.code(g.User.ID, "shop")
			return func(s *session.Sessions) error {
				_, _, err := s.RedeemCode(t.Context(), session.Redeeming{Realm: w.realm, Code: code, AccessLife: life, Check: anything})
				return err
			}
		}},
		"RedeemCode again": {want: session.ErrCodeReused, prepare: func(w *world) func(*session.Sessions) error {
			u, _ := w.open()
			code := w.code(u.ID, "shop")
			_, err := w.redeem(code)
			w.must(err)
			return func(s *session.Sessions) error {
				_, _, err := s.RedeemCode(t.Context(), session.Redeeming{Realm: w.realm, Code: code, AccessLife: life, Check: anything})
				return err
			}
		}},
		"Refresh": {prepare: func(w *world) func(*session.Sessions) error {
			g := w.login()
			w.pass(10 * time.Minute)
			return func(s *session.Sessions) error { _, err := s.Refresh(t.Context(), w.present(g)); return err }
		}},
		"Refresh kept": {prepare: func(w *world) func(*session.Sessions) error {
			p := w.present(w.login())
			p.Keep = true
			w.pass(10 * time.Minute)
			return func(s *session.Sessions) error { _, err := s.Refresh(t.Context(), p); return err }
		}},
		"Refresh forgiven": {prepare: func(w *world) func(*session.Sessions) error {
			g := w.login()
			_, err := w.Refresh(t.Context(), w.present(g))
			w.must(err)
			return func(s *session.Sessions) error { _, err := s.Refresh(t.Context(), w.present(g)); return err }
		}},
		"Refresh reused": {want: session.ErrReused, prepare: func(w *world) func(*session.Sessions) error {
			g := w.login()
			_, err := w.Refresh(t.Context(), w.present(g))
			w.must(err)
			w.pass(time.Minute)
			return func(s *session.Sessions) error { _, err := s.Refresh(t.Context(), w.present(g)); return err }
		}},
		"Alive": {prepare: func(w *world) func(*session.Sessions) error {
			g := w.login()
			return func(s *session.Sessions) error {
				return s.Alive(t.Context(), session.Subject{Realm: w.realm, Token: w.token(g)})
			}
		}},
		"Alive, of a refresh token": {prepare: func(w *world) func(*session.Sessions) error {
			g := w.login()
			return func(s *session.Sessions) error {
				return s.Alive(t.Context(), session.Subject{Realm: w.realm, Token: w.token(g), FamilyID: g.Family.ID, Generation: 1})
			}
		}},
		"MintPoint": {prepare: func(w *world) func(*session.Sessions) error {
			return func(s *session.Sessions) error { _, err := s.MintPoint(t.Context(), w.realm, "shop", life); return err }
		}},
		"Once": {prepare: func(w *world) func(*session.Sessions) error {
			return func(s *session.Sessions) error { return s.Once(t.Context(), w.realm, "jti", "v", noon) }
		}},
		"RevokeToken": {prepare: func(w *world) func(*session.Sessions) error {
			return func(s *session.Sessions) error {
				_, err := s.RevokeToken(t.Context(), w.realm, "J", noon, revocation.ReasonRevoked)
				return err
			}
		}},
		"End": {prepare: func(w *world) func(*session.Sessions) error {
			g := w.login()
			return func(s *session.Sessions) error {
				_, err := s.End(t.Context(), w.realm, g.User.ID, revocation.ReasonLogout)
				return err
			}
		}},
		"Consent": {prepare: func(w *world) func(*session.Sessions) error {
			return func(s *session.Sessions) error {
				return s.Consent(t.Context(), w.realm, "u-1", "shop", "email")
			}
		}},
		"EndConsent": {prepare: func(w *world) func(*session.Sessions) error {
			w.login()
			w.must(w.Consent(t.Context(), w.realm, "u-1", "shop", "email"))
			return func(s *session.Sessions) error {
				_, err := s.EndConsent(t.Context(), w.realm, "u-1", "shop")
				return err
			}
		}},
		"TakeNotices": {prepare: func(w *world) func(*session.Sessions) error {
			w.rev(w.End(t.Context(), w.realm, w.login().User.ID, revocation.ReasonLogout))
			return func(s *session.Sessions) error { _, err := s.TakeNotices(t.Context(), 10, time.Minute); return err }
		}},
		"Failed": {prepare: func(w *world) func(*session.Sessions) error {
			g := w.login()
			return func(s *session.Sessions) error {
				_, err := s.Failed(t.Context(), session.Notice{RealmID: "r-1", SessionID: g.User.ID, ClientID: "shop", Expires: noon.Add(time.Hour)})
				return err
			}
		}},
		"EndClientSession": {prepare: func(w *world) func(*session.Sessions) error {
			g := w.login()
			return func(s *session.Sessions) error {
				_, err := s.EndClientSession(t.Context(), w.realm, g.User.ID, "shop", revocation.ReasonLogout)
				return err
			}
		}},
		"EndFamily": {prepare: func(w *world) func(*session.Sessions) error {
			g := w.login()
			return func(s *session.Sessions) error {
				_, err := s.EndFamily(t.Context(), w.realm, g.User.ID, "shop", g.Family.ID, revocation.ReasonRevoked)
				return err
			}
		}},
		"EndUser, disabled": {prepare: func(w *world) func(*session.Sessions) error {
			w.login()
			return func(s *session.Sessions) error {
				_, err := s.EndUser(t.Context(), w.realm, "u-1", revocation.ReasonDisabled)
				return err
			}
		}},
		"EndUser": {prepare: func(w *world) func(*session.Sessions) error {
			w.login()
			return func(s *session.Sessions) error {
				_, err := s.EndUser(t.Context(), w.realm, "u-1", revocation.ReasonLogout)
				return err
			}
		}},
		"EndClient": {prepare: func(w *world) func(*session.Sessions) error {
			w.login()
			return func(s *session.Sessions) error {
				_, err := s.EndClient(t.Context(), w.realm, "shop", revocation.ReasonLogout)
				return err
			}
		}},
		"EndRealm": {prepare: func(w *world) func(*session.Sessions) error {
			w.login()
			return func(s *session.Sessions) error {
				_, err := s.EndRealm(t.Context(), w.realm, revocation.ReasonLogout)
				return err
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			do := tt.prepare(w)
			before := w.dump()
			for n := 1; ; n++ {
				f := &faulty{w.db.Sessions(), n}
				err := do(w.on(f))
				if f.left > 0 { // fewer calls than n: no fault
					if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
						t.Errorf("without a fault: %v, want %v", err, tt.want)
					}
					if n == 1 {
						t.Error("no call at all: the test shows nothing")
					}
					return
				}
				checkFault(t, n, err)
				diff(t, "the store", before, w.dump())
			}
		})
	}
}

// checkFault: the nth call failed, and that is all that is said.
func checkFault(t *testing.T, n int, err error) {
	t.Helper()
	var dead *session.Dead
	if !errors.Is(err, errFault) || errors.As(err, &dead) {
		t.Errorf("call %d failed: %v, want the failure", n, err)
	}
	for _, verdict := range []error{session.ErrNotFound, session.ErrCodeGone, session.ErrCodeReused, session.ErrReused, session.ErrReplayed} {
		if errors.Is(err, verdict) {
			t.Errorf("call %d failed: %v is a verdict", n, err)
		}
	}
}

// dump is what the store holds of sessions, as far as it can be listed.
func (w *world) dump() []any {
	w.t.Helper()
	all := []any{w.records()}
	w.view(func(v session.View) error {
		sessions, err := v.EndedSessions(noon.Add(100*time.Hour), 100)
		all = append(all, sessions)
		for _, u := range sessions {
			clients, e := v.ClientSessions(u.ID)
			all, err = append(all, clients), errors.Join(err, e)
		}
		for _, id := range []string{"shop", "app"} {
			st, e := v.ClientStanding("r-1", id)
			all, err = append(all, st), errors.Join(err, e)
		}
		st, e := v.RealmStanding("r-1")
		notices, e2 := v.DueNotices(noon.Add(100*time.Hour), 100)
		all = append(all, st, notices)
		return errors.Join(err, e, e2)
	})
	return all
}

// TestAFaultInASweepLeavesNoHalfEnd: a session that is gone is told of, one
// that is not is there, and the next sweep finishes.
func TestAFaultInASweepLeavesNoHalfEnd(t *testing.T) {
	t.Parallel()
	for n := 1; ; n++ {
		w := newWorld(t)
		u, _ := w.open()
		_, _, err := w.RedeemCode(t.Context(), session.Redeeming{Realm: w.realm, Code: w.code(u.ID, "shop"), AccessLife: 9 * time.Hour, Check: func(session.Code) error { return nil }})
		w.must(err)
		w.pass(time.Hour)
		f := &faulty{w.db.Sessions(), n}
		err = w.on(f).Sweep(t.Context())
		if f.left > 0 {
			w.must(err)
			return
		}
		checkFault(t, n, err)
		w.view(func(v session.View) error {
			_, err := v.UserSession("r-1", u.ID)
			if gone := errors.Is(err, session.ErrNotFound); gone != (len(w.records()) == 1) {
				t.Errorf("call %d failed: the session is gone: %v, records %+v", n, gone, w.records())
			}
			return nil
		})
		w.must(w.Sweep(t.Context()))
		if len(w.records()) != 1 {
			t.Errorf("call %d failed: after the next sweep: %+v", n, w.records())
		}
	}
}
