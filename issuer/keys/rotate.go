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

// Ensure makes what is missing of the realm's keys: an active signing key of
// the realm's algorithm and of each of the others that its clients ask for, and
// one HS512 key. Active keys of other algorithms turn passive. Keys that the
// key file does not open are ErrSeal, before anything is written.
func (k *Keys) Ensure(ctx context.Context, r realm.Realm, others ...jose.Algorithm) error {
	wanted := append([]jose.Algorithm{algorithm(r), jose.HS512}, others...)
	if err := errors.Join(k.make(ctx, r, wanted), k.lay(ctx, r, wanted)); err != nil {
		return fmt.Errorf("ensuring the keys of realm %s: %w", r.Name, err)
	}
	k.forget(r.ID)
	_, err := k.open(ctx, r) // what cannot be used is found now, not by the first client
	return err
}

// Add makes a signing key of an algorithm, if the realm has none that is active.
func (k *Keys) Add(ctx context.Context, r realm.Realm, alg jose.Algorithm) error {
	if alg == jose.HS512 {
		return errOwn
	}
	if err := k.make(ctx, r, []jose.Algorithm{alg}); err != nil {
		return fmt.Errorf("making a key of realm %s: %w", r.Name, err)
	}
	k.forget(r.ID)
	return nil
}

// maxKept is how many keys a realm may have that are not retired, those
// included that only verify: who verifies reads key sets of a bounded size, and one that is
// too large for it is worse than an old key.
const maxKept = 64

// ErrTooMany means that a realm was rotated so often that no further key fits
// beside those whose tokens have not expired.
var ErrTooMany = errors.New("too many keys are still published")

var errOwn = errors.New("HS512 is not for tokens that others verify")

// make makes the active keys that are missing.
func (k *Keys) make(ctx context.Context, r realm.Realm, wanted []jose.Algorithm) error {
	have, err := k.sealed(ctx, r)
	if err != nil {
		return err
	}
	// Made before the transaction: an RSA key takes longer than others should
	// wait to write.
	var fresh []Sealed
	for _, alg := range wanted {
		if hasActive(have, alg) || hasActive(fresh, alg) {
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
	_, err = k.store.Write(ctx, func(tx Tx) error {
		have, err := k.checked(tx, r)
		if err != nil {
			return err
		}
		for _, key := range fresh {
			if hasActive(have, key.Algorithm) {
				continue // another process was faster
			}
			if err := tx.PutKey(key); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}

// lay makes the active keys of algorithms that nobody wants passive.
func (k *Keys) lay(ctx context.Context, r realm.Realm, wanted []jose.Algorithm) error {
	unwanted := func(key Sealed) bool { return key.Status == Active && !slices.Contains(wanted, key.Algorithm) }
	have, err := k.sealed(ctx, r)
	if err != nil || !slices.ContainsFunc(have, unwanted) {
		return err
	}
	now := k.stamp()
	_, err = k.store.Write(ctx, func(tx Tx) error {
		have, err := k.checked(tx, r)
		if err != nil {
			return err
		}
		return pass(tx, have, unwanted, now)
	})
	return err
}

// pass makes the keys of a sort passive.
func pass(tx Tx, have []Sealed, sort func(Sealed) bool, ended time.Time) error {
	for _, key := range have {
		if !sort(key) {
			continue
		}
		key.Status, key.Ended = Passive, ended
		if err := tx.PutKey(key); err != nil {
			return err
		}
	}
	return nil
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

// Rotate makes the key that will sign next with an algorithm (empty: the
// realm's): it is published now and signs after PublishAhead, so that no
// verifier meets a token before its key. A key that waits for its turn already
// is the answer.
func (k *Keys) Rotate(ctx context.Context, r realm.Realm, alg jose.Algorithm) (kid string, from time.Time, err error) {
	return k.rotate(ctx, r, alg, func(tx Tx, have []Sealed, fresh Sealed) (Sealed, error) {
		waits := func(key Sealed) bool {
			return key.Status == Active && key.Algorithm == fresh.Algorithm && key.SignsFrom.After(fresh.Created)
		}
		if i := slices.IndexFunc(have, waits); i >= 0 {
			return have[i], nil
		}
		if hasActive(have, fresh.Algorithm) {
			fresh.SignsFrom = fresh.SignsFrom.Add(PublishAhead)
		}
		return fresh, tx.PutKey(fresh)
	})
}

// RotateNow is Rotate without the wait. Tokens of the new key meet verifiers
// that have not seen it; who does not fetch keys for an unknown kid refuses
// them for as long as CacheFor.
func (k *Keys) RotateNow(ctx context.Context, r realm.Realm, alg jose.Algorithm) (kid string, err error) {
	kid, _, err = k.rotate(ctx, r, alg, func(tx Tx, have []Sealed, fresh Sealed) (Sealed, error) {
		before := func(key Sealed) bool { return key.Status == Active && key.Algorithm == fresh.Algorithm }
		if err := pass(tx, have, before, fresh.Created); err != nil {
			return fresh, err
		}
		return fresh, tx.PutKey(fresh)
	})
	return kid, err
}

// rotate makes a key and lets put decide what becomes of it.
func (k *Keys) rotate(ctx context.Context, r realm.Realm, alg jose.Algorithm, put func(Tx, []Sealed, Sealed) (Sealed, error)) (kid string, from time.Time, err error) {
	if alg == jose.HS512 {
		return "", from, errOwn
	}
	fresh, err := k.generate(r, cmp.Or(alg, algorithm(r)))
	if err != nil {
		return "", from, fmt.Errorf("rotating the keys of realm %s: %w", r.Name, err)
	}
	var next Sealed
	_, err = k.store.Write(ctx, func(tx Tx) error {
		have, err := k.checked(tx, r)
		if err != nil {
			return err
		}
		if next, err = put(tx, have, fresh); err == nil && next.ID == fresh.ID && kept(have) >= maxKept {
			return ErrTooMany
		}
		return err
	})
	if err != nil {
		return "", from, fmt.Errorf("rotating the keys of realm %s: %w", r.Name, err)
	}
	k.forget(r.ID)
	return next.ID, next.SignsFrom, nil
}

// kept counts the keys that are not retired.
func kept(keys []Sealed) int {
	n := 0
	for _, key := range keys {
		if key.Status != Retired {
			n++
		}
	}
	return n
}

// generate makes an active key that signs from now on, sealed.
func (k *Keys) generate(r realm.Realm, alg jose.Algorithm) (Sealed, error) {
	id, err := uuid.NewRandomFromReader(k.rand)
	if err != nil {
		return Sealed{}, fmt.Errorf("making key: %w", err)
	}
	private, err := generate(alg, k.rand)
	if err != nil {
		return Sealed{}, fmt.Errorf("making key: %w", err)
	}
	now := k.stamp()
	return k.seal.seal(Sealed{ID: id.String(), RealmID: r.ID, Algorithm: alg, Status: Active, Created: now, SignsFrom: now}, private)
}

// stamp is the time as stores keep it.
func (k *Keys) stamp() time.Time { return k.now().UTC().Truncate(time.Microsecond) }
