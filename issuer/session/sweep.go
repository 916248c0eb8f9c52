package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/revocation"
)

// Once records a single-use value (an assertion's jti) until it expires;
// ErrReplayed if it was seen before.
func (s *Sessions) Once(ctx context.Context, r realm.Realm, kind, value string, expires time.Time) error {
	now, key := s.now(), hash(r, kind, value)
	_, err := s.store.Write(ctx, func(tx Tx) error {
		seen, err := tx.SingleUse(key)
		if err == nil && now.Before(seen.Expires) {
			return ErrReplayed
		}
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		// The leeway with which the value's own expiry is judged elsewhere.
		return tx.PutSingleUse(SingleUse{Hash: key, Kind: kind, Used: true, Expires: later(expires, now).Add(leeway)})
	})
	if err != nil {
		return fmt.Errorf("recording a single use: %w", err)
	}
	return nil
}

// sweepBatch is how many rows one transaction of the sweeper touches, so that
// nobody waits long for it.
const sweepBatch = 500

// Sweep deletes what has expired, in batches; it writes records first for
// sessions that idled out while access tokens of theirs still live. It lags a
// minute behind, for clocks that step.
func (s *Sessions) Sweep(ctx context.Context) error {
	now := s.now()
	ended, err := batches(ctx, func() (n int, err error) {
		_, err = s.store.Write(ctx, func(tx Tx) (err error) {
			n, err = sweepSessions(tx, now)
			return err
		})
		return n, err
	})
	if err != nil {
		return fmt.Errorf("sweeping sessions: %w", err)
	}
	s.signal()
	rows, err := batches(ctx, func() (n int, err error) {
		_, err = s.store.Write(ctx, func(tx Tx) (err error) {
			n, err = tx.Sweep(now.Add(-leeway), sweepBatch)
			return err
		})
		return n, err
	})
	if err != nil {
		return fmt.Errorf("sweeping rows: %w", err)
	}
	if ended+rows > 0 {
		s.logger.DebugContext(ctx, "swept", "sessions", ended, "rows", rows)
	}
	return nil
}

// batches repeats f until it finds nothing more.
func batches(ctx context.Context, f func() (int, error)) (total int, err error) {
	for {
		n, err := f()
		total += n
		if err != nil || n == 0 {
			return total, err
		}
		if err := ctx.Err(); err != nil {
			return total, err
		}
	}
}

func sweepSessions(tx Tx, now time.Time) (int, error) {
	ended, err := tx.EndedSessions(now, sweepBatch)
	if err != nil {
		return 0, err
	}
	for _, u := range ended {
		if err := sweepSession(tx, u, now); err != nil {
			return 0, err
		}
	}
	return len(ended), nil
}

func sweepSession(tx Tx, u UserSession, now time.Time) error {
	killed, err := killedBefore(tx, u)
	if err != nil {
		return err
	}
	const why = revocation.ReasonSessionExpiry
	if !killed { // else everybody who had to know has been told
		if err := notify(tx, u, why, now); err != nil {
			return err
		}
		if err := announce(tx, u, why, now); err != nil {
			return err
		}
	}
	if err := tx.DeleteUserSession(u.ID); err != nil || !u.MaxAccessExp.Add(leeway).After(now) {
		return err
	}
	target := revocation.Target{Kind: revocation.KindSession, ID: u.ID}
	return tx.Revoke(u.RealmID, record(realm.Realm{Issuer: u.Issuer}, target, u.MaxAccessExp, why, now))
}

// killedBefore reports whether a session was over, with all of its realm or
// user, before its time was.
func killedBefore(v View, u UserSession) (bool, error) {
	r, err := v.RealmStanding(u.RealmID)
	if err != nil {
		return false, err
	}
	person, err := v.UserStanding(u.RealmID, u.UserID)
	return u.Rev < max(r.NotBefore, person.NotBefore), err
}
