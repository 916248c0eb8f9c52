package keys

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/tegata/tegata/internal/jose"
	"github.com/tegata/tegata/issuer/realm"
)

// maxAge is how old what is served may be: a rotation by another process is
// seen within it.
const maxAge = time.Second

// minAge is how old it is at least before it is read again for a key that it
// lacks, so that who makes up kids does not make us read for each.
const minAge = 50 * time.Millisecond

// ErrNoKey means that the realm lacks an active key: Ensure was not called.
var ErrNoKey = errors.New("the realm has no active key")

// ring is a realm's keys, opened. It is never changed.
type ring struct {
	read   time.Time // when reading it began
	sealed []Sealed  // what it was opened from
	ownID  string
	own    []byte
	public *jose.KeySet

	signers  map[jose.Algorithm][]signing // of each algorithm, the latest to sign first
	document []byte                       // public as JSON
	etag     string
}

// signing is a key that signs from a time on.
type signing struct {
	from time.Time
	key  jose.Signer
}

// signer is the key that signs at now. If none may yet, it is the one that
// will be first: better a token of a young key than none.
func (g *ring) signer(alg jose.Algorithm, now time.Time) (jose.Signer, bool) {
	all := g.signers[alg]
	for _, s := range all {
		if !now.Before(s.from) {
			return s.key, true
		}
	}
	if len(all) == 0 {
		return jose.Signer{}, false
	}
	return all[len(all)-1].key, true
}

// shelf is where one realm's ring is kept.
type shelf struct {
	turn chan struct{} // one slot: who has it rereads, for all who wait for it
	ring atomic.Pointer[ring]
}

func (k *Keys) shelf(realmID string) *shelf {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.shelves[realmID]
	if s == nil {
		s = &shelf{turn: make(chan struct{}, 1)}
		k.shelves[realmID] = s
	}
	return s
}

// open returns the realm's ring, at most maxAge old.
func (k *Keys) open(ctx context.Context, r realm.Realm) (*ring, error) {
	return k.openWithin(ctx, r, maxAge)
}

// openWithin returns the realm's ring, at most so old.
func (k *Keys) openWithin(ctx context.Context, r realm.Realm, age time.Duration) (*ring, error) {
	s := k.shelf(r.ID)
	if g := s.ring.Load(); k.fresh(g, age) {
		return g, nil
	}
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for the keys of realm %s: %w", r.Name, ctx.Err())
	}
	old := s.ring.Load()
	if k.fresh(old, age) {
		return old, nil
	}
	g, err := k.read(ctx, r, old)
	if err != nil {
		return nil, fmt.Errorf("reading the keys of realm %s: %w", r.Name, err)
	}
	s.ring.Store(g)
	return g, nil
}

// fresh counts a clock that was set back as time that has passed.
func (k *Keys) fresh(g *ring, within time.Duration) bool {
	if g == nil {
		return false
	}
	age := k.now().Sub(g.read)
	return age >= 0 && age < within
}

// forget makes the next open read what was just written. It takes a turn, so
// that no older reading is kept after it.
func (k *Keys) forget(realmID string) {
	s := k.shelf(realmID)
	s.turn <- struct{}{}
	s.ring.Store(nil)
	<-s.turn
}

// read reads the realm's keys; those that have not changed since old are not
// opened again.
func (k *Keys) read(ctx context.Context, r realm.Realm, old *ring) (*ring, error) {
	began := k.now()
	sealed, err := k.sealed(ctx, r)
	if err != nil {
		return nil, err
	}
	if old != nil && slices.EqualFunc(old.sealed, sealed, same) {
		again := *old
		again.read = began
		return &again, nil
	}
	g, err := k.seal.ring(sealed)
	if err != nil {
		return nil, err
	}
	g.read = began
	return g, nil
}

func (k *Keys) sealed(ctx context.Context, r realm.Realm) (all []Sealed, err error) {
	err = k.store.Read(ctx, func(v View) (err error) {
		all, err = v.Keys(r.ID)
		return err
	})
	return all, err
}

func same(a, b Sealed) bool {
	return a.ID == b.ID && a.Status == b.Status && bytes.Equal(a.Private, b.Private)
}

// ring opens a realm's keys.
func (s *sealer) ring(sealed []Sealed) (*ring, error) {
	own := newest(sealed, isOwn)
	if own == nil || newest(sealed, signs) == nil {
		return nil, ErrNoKey
	}
	g := &ring{sealed: sealed, ownID: own.ID, signers: map[jose.Algorithm][]signing{}}
	var err error
	if g.own, err = s.open(*own); err != nil {
		return nil, err
	}
	var public []jose.PublicKey
	for _, key := range sealed {
		if isOwn(key) || key.Status == Retired {
			continue
		}
		signer, err := s.openSigner(key)
		if err != nil {
			return nil, err
		}
		public = append(public, jose.PublicKey{ID: key.ID, Algorithm: key.Algorithm, Key: signer.Key.Public()})
		if key.Status == Active {
			g.signers[key.Algorithm] = append(g.signers[key.Algorithm], signing{from: key.SignsFrom, key: signer})
		}
	}
	for _, all := range g.signers {
		slices.SortStableFunc(all, func(a, b signing) int { return b.from.Compare(a.from) })
	}
	return g, g.publish(public)
}

// publish writes the document of the public keys.
func (g *ring) publish(public []jose.PublicKey) (err error) {
	if g.public, err = jose.NewKeySet(public...); err != nil {
		return err
	}
	if g.document, err = json.Marshal(g.public); err != nil {
		return err
	}
	sum := sha256.Sum256(g.document)
	g.etag = `"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`
	return nil
}

// isOwn is the key for tokens that only this issuer reads.
func isOwn(k Sealed) bool { return k.Algorithm == jose.HS512 }

// signs is a key for tokens that others read.
func signs(k Sealed) bool { return !isOwn(k) }

// newest is the newest active key of a sort, or nil.
func newest(sealed []Sealed, sort func(Sealed) bool) *Sealed {
	var found *Sealed
	for i, k := range sealed {
		if k.Status == Active && sort(k) && (found == nil || k.Created.After(found.Created)) {
			found = &sealed[i]
		}
	}
	return found
}
