// Package keys is a realm's signing keys: make, seal, publish, rotate, retire,
// withdraw. Private keys are sealed (AES-256-GCM) under a key file before they
// reach the store. It must not know tokens, HTTP or where the key file is
// configured.
//
// The idea: of each algorithm in use a realm has keys whose public halves
// everybody may have, and it has one HS512 key for tokens that only the issuer
// reads back. A signing key's life goes one way:
//
//	(made) ─► active, not yet signing ──SignsFrom──► active ──► passive ──► retired
//	          published                               signs      verifies    neither
//
// Of the active keys of an algorithm the one whose SignsFrom came last signs.
// So a rotation is one row, written ahead of time: when the time comes, every
// process changes over by its clock, and every verifier that keeps the key set
// for no longer than CacheFor has seen the key before it sees a token of it
// (PublishAhead is longer). Which key is passive is written down afterwards, by
// Maintain. A key that must not be believed any more is withdrawn instead, and
// a revocation record is committed with that.
//
// What was opened is published as a whole and never changed; readers take one
// pointer.
package keys

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/tegata/tegata/internal/jose"
	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/revocation"
)

// How key sets are kept by those who verify. PublishAhead is longer than
// CacheFor, with room for clocks that differ and for our own reading (maxAge).
const (
	CacheFor     = time.Minute      // how long a verifier may keep a key set
	PublishAhead = 10 * time.Minute // how long a key is published before it signs
)

// Status of a key.
type Status string

// Active signs, from its SignsFrom on and until a newer one does; Passive
// verifies only; Retired does neither and is not published.
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
	SignsFrom time.Time // before it, an active key is published and signs nothing
	Ended     time.Time // when it stopped to sign; zero while it is active
	Private   []byte    // AES-GCM nonce and ciphertext of PKCS #8 (or raw HS512 bytes), bound to realm, ID and algorithm
}

// Store keeps keys. sqlstore implements it.
type Store interface {
	Read(ctx context.Context, f func(View) error) error
	Write(ctx context.Context, f func(Tx) error) (revocation.Revision, error)
}

// View reads within one transaction.
type View interface {
	Keys(realmID string) ([]Sealed, error) // newest first
}

// Tx is a View that also writes. The closure may run twice.
type Tx interface {
	View
	PutKey(Sealed) error    // of a key that is there, changes Status and Ended alone
	ResealKey(Sealed) error // changes Private alone

	// MaxAccessExp is when the last access token of the realm expires.
	MaxAccessExp(realmID string) (time.Time, error)
	// Revoke writes a record, as in session.Tx.
	Revoke(realmID string, r revocation.Record) error
}

// Config configures Keys.
type Config struct {
	Store      Store
	Seal       []byte   // 32 bytes, from the key file
	OtherSeals [][]byte // of other key files, which may have sealed keys too
	Now        func() time.Time
	Rand       io.Reader
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
	s, err := newSealer(c.Seal, c.OtherSeals, c.Rand)
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	return &Keys{store: c.Store, seal: s, now: c.Now, rand: c.Rand, shelves: make(map[string]*shelf)}, nil
}

// algorithm is the one that the realm signs with unless a client asks for another.
func algorithm(r realm.Realm) jose.Algorithm { return cmp.Or(r.Settings.SigningAlgorithm, jose.ES256) }

// Signer returns the key that signs now with an algorithm; empty stands for
// the realm's. A key of an algorithm that the realm has none of is made.
func (k *Keys) Signer(ctx context.Context, r realm.Realm, alg jose.Algorithm) (jose.Signer, error) {
	g, err := k.open(ctx, r)
	if err != nil {
		return jose.Signer{}, err
	}
	alg = cmp.Or(alg, algorithm(r))
	if s, ok := g.signer(alg, k.now()); ok {
		return s, nil
	}
	if err := k.Add(ctx, r, alg); err != nil {
		return jose.Signer{}, err
	}
	if g, err = k.open(ctx, r); err != nil {
		return jose.Signer{}, err
	}
	s, ok := g.signer(alg, k.now())
	if !ok {
		return jose.Signer{}, fmt.Errorf("signing with %s in realm %s: %w", alg, r.Name, ErrNoKey)
	}
	return s, nil
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

// OwnAgain is Own, read again if it was not just now: another process may have
// made a key since.
func (k *Keys) OwnAgain(ctx context.Context, r realm.Realm) (kid string, key []byte, err error) {
	g, err := k.openWithin(ctx, r, minAge)
	if err != nil {
		return "", nil, err
	}
	return g.ownID, g.own, nil
}

// PublicAgain is to Public what OwnAgain is to Own.
func (k *Keys) PublicAgain(ctx context.Context, r realm.Realm) (*jose.KeySet, error) {
	g, err := k.openWithin(ctx, r, minAge)
	if err != nil {
		return nil, err
	}
	return g.public, nil
}

// Public returns the public keys that verify, and those that will sign.
func (k *Keys) Public(ctx context.Context, r realm.Realm) (*jose.KeySet, error) {
	g, err := k.open(ctx, r)
	if err != nil {
		return nil, err
	}
	return g.public, nil
}

// JWKS is Public as a document (RFC 7517 §5), and an entity tag for it. The
// caller must not change it.
func (k *Keys) JWKS(ctx context.Context, r realm.Realm) (document []byte, etag string, err error) {
	g, err := k.open(ctx, r)
	if err != nil {
		return nil, "", err
	}
	return g.document, g.etag, nil
}
