package keys

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/tegata/tegata/internal/jose"
	"github.com/tegata/tegata/issuer/realm"
)

// Ensure makes what is missing of the realm's keys: one active signing key of
// the realm's algorithm and one HS512 key. If the active key has another
// algorithm than the realm's settings say, it turns passive. Keys that the key
// file does not open are ErrSeal, before anything is written.
func (k *Keys) Ensure(ctx context.Context, r realm.Realm) error {
	if err := k.ensure(ctx, r); err != nil {
		return fmt.Errorf("ensuring the keys of realm %s: %w", r.Name, err)
	}
	k.forget(r.ID)
	_, err := k.open(ctx, r) // what cannot be used is found now, not by the first client
	return err
}

func (k *Keys) ensure(ctx context.Context, r realm.Realm) error {
	have, err := k.sealed(ctx, r)
	if err != nil {
		return err
	}
	// Made before the transaction: an RSA key takes longer than others should
	// wait to write.
	var fresh []Sealed
	for _, alg := range []jose.Algorithm{cmp.Or(r.Settings.SigningAlgorithm, jose.ES256), jose.HS512} {
		if hasActive(have, alg) {
			continue
		}
		key, err := k.generate(r, alg)
		if err != nil {
			return err
		}
		fresh = append(fresh, key)
	}
	if len(fresh) == 0 {
		return nil
	}
	return k.store.Write(ctx, func(tx Tx) error {
		have, err := k.checked(tx, r)
		if err != nil {
			return err
		}
		for _, key := range fresh {
			if hasActive(have, key.Algorithm) {
				continue // another process was faster
			}
			if err := replace(tx, have, key); err != nil {
				return err
			}
		}
		return nil
	})
}

func hasActive(keys []Sealed, alg jose.Algorithm) bool {
	return slices.ContainsFunc(keys, func(k Sealed) bool { return k.Status == Active && k.Algorithm == alg })
}

// checked reads the realm's keys and opens each once.
func (k *Keys) checked(v View, r realm.Realm) ([]Sealed, error) {
	have, err := v.Keys(r.ID)
	if err != nil {
		return nil, err
	}
	return have, k.seal.check(have)
}

// replace makes key the only active one of its sort.
func replace(tx Tx, have []Sealed, key Sealed) error {
	for _, old := range have {
		if old.Status != Active || isOwn(old) != isOwn(key) {
			continue
		}
		old.Status = Passive
		if err := tx.PutKey(old); err != nil {
			return err
		}
	}
	return tx.PutKey(key)
}

// Rotate makes a new active signing key and turns the old one passive; tokens
// that it signed stay valid. alg may be empty for the realm's algorithm; the
// next Ensure goes back to the realm's if it is another.
func (k *Keys) Rotate(ctx context.Context, r realm.Realm, alg jose.Algorithm) (kid string, err error) {
	if alg == jose.HS512 {
		return "", errors.New("HS512 is not for tokens that others verify")
	}
	key, err := k.generate(r, cmp.Or(alg, r.Settings.SigningAlgorithm, jose.ES256))
	if err != nil {
		return "", fmt.Errorf("rotating the keys of realm %s: %w", r.Name, err)
	}
	err = k.store.Write(ctx, func(tx Tx) error {
		have, err := k.checked(tx, r)
		if err != nil {
			return err
		}
		return replace(tx, have, key)
	})
	if err != nil {
		return "", fmt.Errorf("rotating the keys of realm %s: %w", r.Name, err)
	}
	k.forget(r.ID)
	return key.ID, nil
}

// Retire withdraws a passive key: it is no longer published, and what it
// signed no longer verifies. An active key must be rotated first.
func (k *Keys) Retire(ctx context.Context, r realm.Realm, kid string) error {
	err := k.store.Write(ctx, func(tx Tx) error {
		have, err := tx.Keys(r.ID)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(have, func(s Sealed) bool { return s.ID == kid })
		switch {
		case i < 0:
			return errors.New("no such key")
		case have[i].Status == Active:
			return errors.New("the key is active: rotate first")
		}
		have[i].Status = Retired
		return tx.PutKey(have[i])
	})
	if err != nil {
		return fmt.Errorf("retiring key %s of realm %s: %w", kid, r.Name, err)
	}
	k.forget(r.ID)
	return nil
}

// generate makes an active key, sealed.
func (k *Keys) generate(r realm.Realm, alg jose.Algorithm) (Sealed, error) {
	id, err := uuid.NewRandomFromReader(k.rand)
	if err != nil {
		return Sealed{}, fmt.Errorf("making key: %w", err)
	}
	private, err := generate(alg, k.rand)
	if err != nil {
		return Sealed{}, fmt.Errorf("making key: %w", err)
	}
	return k.seal.seal(Sealed{ID: id.String(), RealmID: r.ID, Algorithm: alg, Status: Active, Created: k.now().UTC()}, private)
}

// RetireOld withdraws the passive keys that were succeeded longer than age
// ago: with an age above every token's lifetime, nothing that they signed is
// believed anyway. It returns how many.
func (k *Keys) RetireOld(ctx context.Context, r realm.Realm, age time.Duration) (n int, err error) {
	before := k.now().Add(-age)
	have, err := k.sealed(ctx, r)
	if err != nil {
		return 0, fmt.Errorf("retiring old keys of realm %s: %w", r.Name, err)
	}
	if !slices.ContainsFunc(have, func(key Sealed) bool { return key.Status == Passive && succeeded(have, key, before) }) {
		return 0, nil // as nearly always
	}
	err = k.store.Write(ctx, func(tx Tx) error {
		n = 0
		have, err := tx.Keys(r.ID)
		if err != nil {
			return err
		}
		for _, key := range have {
			if key.Status != Passive || !succeeded(have, key, before) {
				continue
			}
			key.Status = Retired
			if err := tx.PutKey(key); err != nil {
				return err
			}
			n++
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("retiring old keys of realm %s: %w", r.Name, err)
	}
	if n > 0 {
		k.forget(r.ID)
	}
	return n, nil
}

// succeeded reports whether another key of its sort was made after key and
// before a time.
func succeeded(have []Sealed, key Sealed, before time.Time) bool {
	return slices.ContainsFunc(have, func(o Sealed) bool {
		return isOwn(o) == isOwn(key) && o.Created.After(key.Created) && o.Created.Before(before)
	})
}
