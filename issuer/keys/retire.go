package keys

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tegata/tegata/internal/jose"
	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/revocation"
)

// Maintained is what Maintain did, in numbers of keys.
type Maintained struct{ Made, Passive, Retired, Resealed int }

// Maintain does what time asks for. It makes the next key of each algorithm in
// use whose key has signed for the realm's KeyRotation, less PublishAhead; makes
// passive what a newer key has succeeded; and retires what has been passive for
// longer than keep, which must be longer than tokens live and key sets are
// kept. Keys that another key file has sealed are sealed again.
func (k *Keys) Maintain(ctx context.Context, r realm.Realm, keep time.Duration) (m Maintained, err error) {
	if m.Resealed, err = k.Reseal(ctx, r); err != nil {
		return m, err
	}
	have, err := k.sealed(ctx, r)
	if err != nil {
		return m, fmt.Errorf("maintaining the keys of realm %s: %w", r.Name, err)
	}
	now := k.stamp()
	for _, alg := range due(have, r.Settings.KeyRotation, now) {
		if _, _, err := k.Rotate(ctx, r, alg); err != nil {
			return m, err
		}
		m.Made++
	}
	if len(aged(have, keep, now)) == 0 {
		return m, nil // as nearly always
	}
	_, err = k.store.Write(ctx, func(tx Tx) error {
		m.Passive, m.Retired = 0, 0
		have, err := tx.Keys(r.ID)
		if err != nil {
			return err
		}
		for _, key := range aged(have, keep, now) {
			if key.Status == Retired {
				m.Retired++
			} else {
				m.Passive++
			}
			if err := tx.PutKey(key); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return m, fmt.Errorf("maintaining the keys of realm %s: %w", r.Name, err)
	}
	k.forget(r.ID)
	return m, nil
}

// due are the algorithms whose next key must be published now.
func due(have []Sealed, every time.Duration, now time.Time) []jose.Algorithm {
	if every <= 0 {
		return nil
	}
	last := map[jose.Algorithm]time.Time{} // when the last of its keys begins to sign
	for _, key := range have {
		if key.Status == Active && !isOwn(key) && key.SignsFrom.After(last[key.Algorithm]) {
			last[key.Algorithm] = key.SignsFrom
		}
	}
	var algs []jose.Algorithm
	for alg, from := range last {
		if !now.Before(from.Add(every - PublishAhead)) {
			algs = append(algs, alg)
		}
	}
	return algs
}

// aged are the keys that time has moved on, as they are now.
func aged(have []Sealed, keep time.Duration, now time.Time) (changed []Sealed) {
	for _, key := range have {
		switch from, ok := succeeded(have, key, now); {
		case key.Status == Active && ok:
			key.Status, key.Ended = Passive, from
			changed = append(changed, key)
		case key.Status == Passive && key.Ended.Add(keep).Before(now):
			key.Status = Retired
			changed = append(changed, key)
		}
	}
	return changed
}

// succeeded says since when a newer key signs in key's place.
func succeeded(have []Sealed, key Sealed, now time.Time) (from time.Time, ok bool) {
	for _, o := range have {
		if o.Status != Active || o.Algorithm != key.Algorithm || isOwn(o) || !o.SignsFrom.After(key.SignsFrom) || now.Before(o.SignsFrom) {
			continue
		}
		if !ok || o.SignsFrom.Before(from) {
			from, ok = o.SignsFrom, true
		}
	}
	return from, ok
}

// List is the realm's keys that are not retired, newest first. What is private
// in them is sealed.
func (k *Keys) List(ctx context.Context, r realm.Realm) ([]Sealed, error) {
	all, err := k.sealed(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("listing the keys of realm %s: %w", r.Name, err)
	}
	return slices.DeleteFunc(all, func(key Sealed) bool { return key.Status == Retired }), nil
}

// Retire stops publishing a passive key: what it signed no longer verifies. An
// active key must be rotated first.
func (k *Keys) Retire(ctx context.Context, r realm.Realm, kid string) error {
	_, err := k.store.Write(ctx, func(tx Tx) error {
		key, _, err := find(tx, r, kid)
		if err != nil {
			return err
		}
		if key.Status == Active {
			return errors.New("the key is active: rotate first")
		}
		key.Status = Retired
		return tx.PutKey(key)
	})
	if err != nil {
		return fmt.Errorf("retiring key %s of realm %s: %w", kid, r.Name, err)
	}
	k.forget(r.ID)
	return nil
}

// ErrUnknown means that the realm has no key of that kid.
var ErrUnknown = errors.New("no such key")

func find(v View, r realm.Realm, kid string) (Sealed, []Sealed, error) {
	have, err := v.Keys(r.ID)
	if err != nil {
		return Sealed{}, nil, err
	}
	i := slices.IndexFunc(have, func(s Sealed) bool { return s.ID == kid })
	if i < 0 {
		return Sealed{}, nil, ErrUnknown
	}
	return have[i], have, nil
}

// recordLeeway is how long the record of a withdrawal outlives the last token
// that it could match: clocks differ.
const recordLeeway = time.Minute

// Withdraw ends a key that must not be believed any more, whatever its status:
// it is neither published nor signs, and all that it ever signed is revoked, in
// one transaction. If it signed, another takes its place at once. Withdrawing
// the HS512 key ends every refresh and offline token of the realm; nobody else
// has ever seen it, so there is no record of that.
func (k *Keys) Withdraw(ctx context.Context, r realm.Realm, kid string) (revocation.Revision, error) {
	have, err := k.sealed(ctx, r)
	if err != nil {
		return 0, fmt.Errorf("withdrawing key %s of realm %s: %w", kid, r.Name, err)
	}
	var successor Sealed
	if i := slices.IndexFunc(have, func(s Sealed) bool { return s.ID == kid && s.Status == Active }); i >= 0 {
		if successor, err = k.generate(r, have[i].Algorithm); err != nil {
			return 0, err
		}
	}
	rev, err := k.store.Write(ctx, func(tx Tx) error { return k.withdraw(tx, r, kid, successor) })
	if err != nil {
		return 0, fmt.Errorf("withdrawing key %s of realm %s: %w", kid, r.Name, err)
	}
	k.forget(r.ID)
	return rev, nil
}

func (k *Keys) withdraw(tx Tx, r realm.Realm, kid string, successor Sealed) error {
	key, have, err := find(tx, r, kid)
	if err != nil {
		return err
	}
	now := k.stamp()
	if key.Status == Active {
		key.Ended = now
	}
	key.Status = Retired
	if err := tx.PutKey(key); err != nil {
		return err
	}
	have = slices.DeleteFunc(have, func(s Sealed) bool { return s.ID == kid || s.SignsFrom.After(now) })
	if successor.ID != "" && !hasActive(have, key.Algorithm) {
		if err := tx.PutKey(successor); err != nil {
			return err
		}
	}
	if isOwn(key) {
		return nil
	}
	mark, err := tx.MaxAccessExp(r.ID)
	if err != nil {
		return err
	}
	if mark.Before(now) {
		mark = now
	}
	return tx.Revoke(r.ID, revocation.Record{
		Issuer: r.Issuer, Target: revocation.Target{Kind: revocation.KindKey, ID: kid},
		IssuedBefore: now, ExpiresAt: mark.Add(recordLeeway), Reason: revocation.ReasonKeyWithdrawn,
	})
}

// Reseal seals every key of the realm that another key file has sealed with
// the first one, and returns how many. Keys that are retired and do not open
// stay as they are.
func (k *Keys) Reseal(ctx context.Context, r realm.Realm) (n int, err error) {
	have, err := k.sealed(ctx, r)
	if err != nil {
		return 0, fmt.Errorf("resealing the keys of realm %s: %w", r.Name, err)
	}
	var again []Sealed
	for _, key := range have {
		private, by, err := k.seal.openWith(key)
		switch {
		case err != nil && key.Status == Retired, err == nil && by == 0:
			continue
		case err != nil:
			return 0, fmt.Errorf("resealing the keys of realm %s: %w", r.Name, err)
		}
		if key, err = k.seal.seal(key, private); err != nil {
			return 0, err
		}
		again = append(again, key)
	}
	if len(again) == 0 {
		return 0, nil
	}
	_, err = k.store.Write(ctx, func(tx Tx) error {
		for _, key := range again {
			if err := tx.ResealKey(key); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("resealing the keys of realm %s: %w", r.Name, err)
	}
	k.forget(r.ID)
	return len(again), nil
}
