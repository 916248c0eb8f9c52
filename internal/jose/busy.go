package jose

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/fips140"
	"sync/atomic"

	"github.com/tegata/tegata/internal/p256"
)

// What making keys ready for quick checks may cost: it is begun for a key whose
// signatures have held so often, and for so many keys of a set, 780 kB each.
const (
	busyAfter = 100
	maxReady  = 8
)

// ForMany is the set for who verifies very many tokens with it: keys that prove
// to be busy are made ready, which takes memory, up to 6 MB in all. It is for
// the few sets of issuers that are trusted, not for sets that anybody brings.
func (s *KeySet) ForMany() *KeySet {
	many := &KeySet{keys: s.keys, byID: s.byID, busy: map[*ecdsa.PublicKey]*busyKey{}}
	room := new(atomic.Int32)
	room.Store(maxReady)
	for _, k := range s.keys {
		if key, ok := k.Key.(*ecdsa.PublicKey); ok && key.Curve == elliptic.P256() {
			many.busy[key] = &busyKey{room: room}
		}
	}
	return many
}

// busyKey makes a P-256 key ready when it proves to be in use. An issuer signs
// with one key for weeks, and its set may hold many that sign nothing.
type busyKey struct {
	good  atomic.Int32
	ready atomic.Pointer[p256.Key]
	room  *atomic.Int32 // how many keys of the set may still be made ready
}

func (b *busyKey) verify(key *ecdsa.PublicKey, c compact) bool {
	r, s, ok := numbers(c.signature, fieldSize(key))
	if !ok {
		return false
	}
	digest := c.header.Algorithm.digest([]byte(c.signing))
	if ready := b.ready.Load(); ready != nil {
		return ready.Verify(digest, r, s)
	}
	if !ecdsa.Verify(key, digest, r, s) {
		return false
	}
	// In FIPS mode only the standard library's check is an approved one.
	if b.good.Add(1) == busyAfter && b.room.Add(-1) >= 0 && !fips140.Enabled() {
		if ready, err := p256.New(key); err == nil {
			b.ready.Store(ready)
		}
	}
	return true
}
