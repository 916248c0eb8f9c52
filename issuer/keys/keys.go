// Package keys is a realm's signing keys: make, seal, rotate, retire. Private
// keys are sealed (AES-256-GCM) under a key file before they reach the store.
// It must not know tokens, HTTP or where the key file is configured.
//
// The idea: a realm has one active signing key, whose public half everybody
// may have, and one HS512 key for tokens that only the issuer reads back. A
// signing key's life goes one way, and the store is the one truth about it:
//
//	(made) ─► active ──Rotate──► passive ──Retire──► retired
//	          signs, verifies    verifies            neither
//
// What was opened is published as a whole and never changed; readers take one
// pointer.
package keys

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

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
	Private   []byte // AES-GCM nonce and ciphertext of PKCS #8 (or raw HS512 bytes), bound to realm, ID and algorithm
}

// Store keeps keys. sqlstore implements it.
type Store interface {
	Read(ctx context.Context, f func(View) error) error
	Write(ctx context.Context, f func(Tx) error) error
}

// View reads within one transaction.
type View interface {
	Keys(realmID string) ([]Sealed, error) // newest first
}

// Tx is a View that also writes. The closure may run twice.
type Tx interface {
	View
	PutKey(Sealed) error // of a key that is there, changes the status alone
}

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

	mu      sync.Mutex // guards shelves
	shelves map[string]*shelf
}

// New checks the configuration.
func New(c Config) (*Keys, error) {
	if c.Store == nil || c.Now == nil || c.Rand == nil {
		return nil, errors.New("keys: Store, Now and Rand are required")
	}
	s, err := newSealer(c.Seal, c.Rand)
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	return &Keys{store: c.Store, seal: s, now: c.Now, rand: c.Rand, shelves: make(map[string]*shelf)}, nil
}

// Signer returns the active signing key.
func (k *Keys) Signer(ctx context.Context, r realm.Realm) (jose.Signer, error) {
	g, err := k.open(ctx, r)
	if err != nil {
		return jose.Signer{}, err
	}
	return g.signer, nil
}

// Own returns the HS512 key for tokens that only this issuer reads: the kid
// and the key, which the caller must not change.
func (k *Keys) Own(ctx context.Context, r realm.Realm) (kid string, key []byte, err error) {
	g, err := k.open(ctx, r)
	if err != nil {
		return "", nil, err
	}
	return g.ownID, g.own, nil
}

// Public returns the active and passive public keys.
func (k *Keys) Public(ctx context.Context, r realm.Realm) (*jose.KeySet, error) {
	g, err := k.open(ctx, r)
	if err != nil {
		return nil, err
	}
	return g.public, nil
}
