// Package keys is a realm's signing keys: make, seal, rotate, retire. Private
// keys are sealed (AES-256-GCM) under a key file before they reach the store.
package keys

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/tegata/tegata/internal/jose"
	"github.com/tegata/tegata/issuer/realm"
)

// Status of a key.
type Status string

// Active signs; Passive verifies only; Retired does neither and is not published.
const (
	Active  Status = "active"
	Passive Status = "passive"
	Retired Status = "retired"
)

// Sealed is a key at rest.
type Sealed struct {
	ID        string // kid
	RealmID   string
	Algorithm jose.Algorithm // HS512 for the key of refresh tokens
	Status    Status
	Created   time.Time
	Private   []byte // AES-GCM nonce and ciphertext of PKCS #8 (or raw HS512 bytes), bound to ID and realm
}

// Store keeps keys. sqlstore implements it.
type Store interface {
	Read(ctx context.Context, f func(View) error) error
	Write(ctx context.Context, f func(Tx) error) error
}

// View reads within one transaction.
type View interface {
	Keys(realmID string) ([]Sealed, error)
}

// Tx is a View that also writes. The closure may run twice.
type Tx interface {
	View
	PutKey(Sealed) error
}

// maxAge is how old what a Keys has read may be: a rotation by another
// process is seen within it.
const maxAge = time.Second

// ErrNoKey is returned when a realm has no active key: Ensure was not called.
var ErrNoKey = errors.New("realm has no active key")

// Config configures Keys.
type Config struct {
	Store Store
	Seal  []byte // 32 bytes, from the key file
	Now   func() time.Time
	Rand  io.Reader
}

// Keys makes and serves signing keys. Opened keys are cached and reread at
// most every second, so that a rotation by another process is seen.
type Keys struct {
	store Store
	seal  *sealer
	now   func() time.Time
	rand  io.Reader

	mu    sync.Mutex // guards cache; held while rereading, so that one does it for all
	cache map[string]*opened
}

// opened is a realm's keys, ready for use; immutable.
type opened struct {
	at     time.Time
	sealed []Sealed
	signer jose.Signer
	ownID  string
	own    []byte
	public *jose.KeySet
}

// New checks the configuration.
func New(c Config) (*Keys, error) {
	if c.Store == nil || c.Now == nil || c.Rand == nil {
		return nil, errors.New("keys: Store, Now and Rand are required")
	}
	s, err := newSealer(c.Seal, c.Rand)
	if err != nil {
		return nil, err
	}
	return &Keys{store: c.Store, seal: s, now: c.Now, rand: c.Rand, cache: map[string]*opened{}}, nil
}

// Ensure makes the realm's keys if they are missing: one active signing key
// of the realm's algorithm, one HS512 key.
func (k *Keys) Ensure(ctx context.Context, r realm.Realm) error {
	signing, err := k.make(r, cmp.Or(r.Settings.SigningAlgorithm, jose.ES256))
	if err != nil {
		return err
	}
	own, err := k.make(r, jose.HS512)
	if err != nil {
		return err
	}
	err = k.store.Write(ctx, func(tx Tx) error {
		// Looked up here, so that of two processes only one adds a key.
		have, err := tx.Keys(r.ID)
		if err != nil {
			return err
		}
		for _, fresh := range []Sealed{signing, own} {
			if active(have, fresh.Algorithm == jose.HS512) != nil {
				continue
			}
			if err := tx.PutKey(fresh); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("ensuring the keys of realm %q: %w", r.Name, err)
	}
	k.forget(r.ID)
	_, err = k.open(ctx, r) // a wrong key file is found at the start, not by the first client
	return err
}

// active is the newest active key that signs tokens for others (own false),
// or for this issuer alone.
func active(keys []Sealed, own bool) *Sealed {
	var newest *Sealed
	for i, key := range keys {
		if key.Status == Active && (key.Algorithm == jose.HS512) == own &&
			(newest == nil || key.Created.After(newest.Created)) {
			newest = &keys[i]
		}
	}
	return newest
}

// Signer returns the active signing key.
func (k *Keys) Signer(ctx context.Context, r realm.Realm) (jose.Signer, error) {
	o, err := k.open(ctx, r)
	if err != nil {
		return jose.Signer{}, err
	}
	return o.signer, nil
}

// Own returns the HS512 key for tokens that only this issuer reads: the kid and the key.
func (k *Keys) Own(ctx context.Context, r realm.Realm) (kid string, key []byte, err error) {
	o, err := k.open(ctx, r)
	if err != nil {
		return "", nil, err
	}
	return o.ownID, o.own, nil
}

// Public returns the active and passive public keys.
func (k *Keys) Public(ctx context.Context, r realm.Realm) (*jose.KeySet, error) {
	o, err := k.open(ctx, r)
	if err != nil {
		return nil, err
	}
	return o.public, nil
}

// Rotate makes a new active signing key and turns the old one passive. alg
// may be empty for the realm's algorithm.
func (k *Keys) Rotate(ctx context.Context, r realm.Realm, alg jose.Algorithm) (kid string, err error) {
	if alg == jose.HS512 {
		return "", errors.New("rotating keys: HS512 is not for signing access tokens")
	}
	fresh, err := k.make(r, cmp.Or(alg, r.Settings.SigningAlgorithm, jose.ES256))
	if err != nil {
		return "", err
	}
	err = k.store.Write(ctx, func(tx Tx) error {
		have, err := tx.Keys(r.ID)
		if err != nil {
			return err
		}
		for _, old := range have {
			if old.Status != Active || old.Algorithm == jose.HS512 {
				continue
			}
			old.Status = Passive
			if err := tx.PutKey(old); err != nil {
				return err
			}
		}
		return tx.PutKey(fresh)
	})
	if err != nil {
		return "", fmt.Errorf("rotating the keys of realm %q: %w", r.Name, err)
	}
	k.forget(r.ID)
	return fresh.ID, nil
}

func (k *Keys) forget(realmID string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.cache, realmID)
}

// open returns the realm's keys, at most maxAge old.
func (k *Keys) open(ctx context.Context, r realm.Realm) (*opened, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	old := k.cache[r.ID]
	if old != nil && k.now().Sub(old.at) < maxAge {
		return old, nil
	}
	var sealed []Sealed
	err := k.store.Read(ctx, func(v View) (err error) {
		sealed, err = v.Keys(r.ID)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the keys of realm %q: %w", r.Name, err)
	}
	o := &opened{at: k.now(), sealed: sealed}
	if old != nil && slices.EqualFunc(old.sealed, sealed, sameKey) {
		*o = *old
		o.at = k.now()
	} else if err := k.unseal(o); err != nil {
		return nil, fmt.Errorf("realm %q: %w", r.Name, err)
	}
	k.cache[r.ID] = o
	return o, nil
}

func sameKey(a, b Sealed) bool {
	return a.ID == b.ID && a.Status == b.Status && bytes.Equal(a.Private, b.Private)
}

// unseal opens o.sealed into the rest of o.
func (k *Keys) unseal(o *opened) error {
	signing, own := active(o.sealed, false), active(o.sealed, true)
	if signing == nil || own == nil {
		return ErrNoKey
	}
	var err error
	if o.own, err = k.seal.open(*own); err != nil {
		return err
	}
	o.ownID = own.ID
	var public []jose.PublicKey
	for _, key := range o.sealed {
		if key.Algorithm == jose.HS512 || key.Status == Retired {
			continue
		}
		private, err := k.seal.openSigner(key)
		if err != nil {
			return err
		}
		public = append(public, jose.PublicKey{ID: key.ID, Algorithm: key.Algorithm, Key: private.Public()})
		if key.ID == signing.ID {
			o.signer = jose.Signer{ID: key.ID, Algorithm: key.Algorithm, Key: private}
		}
	}
	o.public, err = jose.NewKeySet(public...)
	return err
}

// make makes a key of the algorithm, sealed and active.
func (k *Keys) make(r realm.Realm, alg jose.Algorithm) (Sealed, error) {
	id, err := uuid.NewRandomFromReader(k.rand)
	if err != nil {
		return Sealed{}, fmt.Errorf("making a key: %w", err)
	}
	private, err := generate(alg, k.rand)
	if err != nil {
		return Sealed{}, fmt.Errorf("making a key: %w", err)
	}
	return k.seal.close(Sealed{ID: id.String(), RealmID: r.ID, Algorithm: alg, Status: Active, Created: k.now()}, private)
}
