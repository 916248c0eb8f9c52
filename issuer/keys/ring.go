package keys

import (
	"bytes"
	"context"
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

// ErrNoKey means that the realm lacks an active key: Ensure was not called.
var ErrNoKey = errors.New("the realm has no active key")

// ring is a realm's keys, opened. It is never changed.
type ring struct {
	read   time.Time // when reading it began
	sealed []Sealed  // what it was opened from
	signer jose.Signer
	ownID  string
	own    []byte
	public *jose.KeySet
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
	s := k.shelf(r.ID)
	if g := s.ring.Load(); k.fresh(g) {
		return g, nil
	}
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for the keys of realm %s: %w", r.Name, ctx.Err())
	}
	old := s.ring.Load()
	if k.fresh(old) {
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
func (k *Keys) fresh(g *ring) bool {
	if g == nil {
		return false
	}
	age := k.now().Sub(g.read)
	return age >= 0 && age < maxAge
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
	signing, own := newest(sealed, signs), newest(sealed, isOwn)
	if signing == nil || own == nil {
		return nil, ErrNoKey
	}
	g := &ring{sealed: sealed, ownID: own.ID}
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
		if key.ID == signing.ID {
			g.signer = signer
		}
	}
	g.public, err = jose.NewKeySet(public...)
	return g, err
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
