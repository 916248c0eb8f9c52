// Package keys is a realm's signing keys: make, seal, rotate, retire. Private
// keys are sealed (AES-256-GCM) under a key file before they reach the store.
package keys

import (
	"context"
	"io"
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

// Config configures Keys.
type Config struct {
	Store Store
	Seal  []byte // 32 bytes, from the key file
	Now   func() time.Time
	Rand  io.Reader
}

// Keys makes and serves signing keys. Opened keys are cached and reread at
// most every second, so that a rotation by another process is seen.
type Keys struct{}

// New checks the configuration.
func New(c Config) (*Keys, error) { panic("unbuilt") }

// ReadKeyFile reads the 32-byte (hex or base64) sealing key, or creates the
// file with mode 0600 if it does not exist.
func ReadKeyFile(path string, rand io.Reader) ([]byte, error) { panic("unbuilt") }

// Ensure makes the realm's keys if they are missing: one active signing key
// of the realm's algorithm, one HS512 key.
func (k *Keys) Ensure(ctx context.Context, r realm.Realm) error { panic("unbuilt") }

// Signer returns the active signing key.
func (k *Keys) Signer(ctx context.Context, r realm.Realm) (jose.Signer, error) { panic("unbuilt") }

// Own returns the HS512 key for tokens that only this issuer reads: the kid and the key.
func (k *Keys) Own(ctx context.Context, r realm.Realm) (kid string, key []byte, err error) {
	panic("unbuilt")
}

// Public returns the active and passive public keys.
func (k *Keys) Public(ctx context.Context, r realm.Realm) (*jose.KeySet, error) { panic("unbuilt") }

// Rotate makes a new active signing key and turns the old one passive.
func (k *Keys) Rotate(ctx context.Context, r realm.Realm, alg jose.Algorithm) (kid string, err error) {
	panic("unbuilt")
}
