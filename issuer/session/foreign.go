package session

import (
	"context"
	"errors"
	"time"

	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/revocation"
)

// Foreign is what another issuer says is over: its sessions and tokens are not
// ours, so that only records are written.
type Foreign struct {
	Issuer string // the iss of its tokens
	// Ends are what to revoke: of each only Target, IssuedBefore and Reason count.
	Ends []revocation.Record
	// Lifetime is the longest that an access token of this issuer lives. The
	// records are kept as long: forgotten earlier, a dead token would live again.
	Lifetime time.Duration

	Once      string    // what may be said only once, a jti; empty: as often as anybody likes
	OnceUntil time.Time // when it expires by itself
}

// skew is how far another issuer's clock may be from ours, beside the leeway
// of records.
const skew = time.Minute

// kindForeign is that of the single-use values of other issuers.
const kindForeign = "foreign"

// RevokeForeign writes what another issuer says; it and the use of Once commit
// together, so that nothing said is lost with a process, or counted as said
// before it was written. ErrReplayed if it was said before. The revision is 0
// if nothing ends.
func (s *Sessions) RevokeForeign(ctx context.Context, f Foreign) (revocation.Revision, error) {
	if f.Issuer == "" || f.Lifetime <= 0 {
		return 0, errors.New("revoking of another issuer: its name and its tokens' lifetime are required")
	}
	now := s.now()
	rev, err := s.store.Write(ctx, func(tx Tx) error {
		if f.Once != "" {
			if err := useForeign(tx, f, now); err != nil {
				return err
			}
		}
		for _, e := range f.Ends {
			e.Issuer, e.ExpiresAt = f.Issuer, now.Add(f.Lifetime+skew+leeway)
			if err := tx.Revoke("", e); err != nil { // of no realm
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, outcome(err, "revoking of another issuer")
	}
	for _, e := range f.Ends {
		s.logger.InfoContext(ctx, "revoked", "issuer", f.Issuer, "reason", e.Reason, "revision", uint64(rev),
			"kind", int(e.Target.Kind), "target", e.Target.ID)
	}
	return rev, nil
}

// useForeign uses f.Once up.
func useForeign(tx Tx, f Foreign, now time.Time) error {
	key := hash(realm.Realm{ID: f.Issuer}, kindForeign, f.Once)
	seen, err := tx.SingleUse(key)
	if err == nil && now.Before(seen.Expires) {
		return ErrReplayed
	}
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	return tx.PutSingleUse(SingleUse{Hash: key, Kind: kindForeign, Used: true, Expires: later(f.OnceUntil, now).Add(skew + leeway)})
}
