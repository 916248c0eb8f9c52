// Package recent keeps what was read from a store until something changes
// there. It must not know what it keeps.
//
// A commit of this process is seen at once, by a counter that the store
// raises; one of another process within MaxAge. Who decides by what is kept
// must be safe with it being that old.
package recent

import (
	"sync"
	"time"
)

// MaxAge is how old what is kept may be.
const MaxAge = 250 * time.Millisecond

// most bounds how much is kept; beyond it, all is read anew.
const most = 10_000

// Cache keeps values by key. The zero Cache keeps nothing.
type Cache[K comparable, V any] struct {
	changes func() uint64
	now     func() time.Time

	mu     sync.RWMutex
	values map[K]value[V]
}

// Stamp is the moment before something was read.
type Stamp struct {
	changes uint64
	at      time.Time
}

type value[V any] struct {
	stamp Stamp
	v     V
}

// New makes a Cache. The store raises changes, after the commit and before its
// writer goes on, with each commit that could change what is kept; nil: keep
// nothing.
func New[K comparable, V any](changes func() uint64, now func() time.Time) *Cache[K, V] {
	return &Cache[K, V]{changes: changes, now: now, values: make(map[K]value[V])}
}

// Read returns what is kept, or what read returns, which it keeps unless it is
// an error.
func (c *Cache[K, V]) Read(k K, read func() (V, error)) (V, error) {
	s := c.Stamp()
	if kept, ok := c.get(k); ok && kept.stamp.serves(s) {
		return kept.v, nil
	}
	v, err := read()
	if err == nil {
		c.Keep(s, k, v)
	}
	return v, err
}

// Stamp is now, for Keep of what is read from now on.
func (c *Cache[K, V]) Stamp() Stamp {
	if c.changes == nil {
		return Stamp{}
	}
	return Stamp{c.changes(), c.now()}
}

// Keep keeps what was read after s.
func (c *Cache[K, V]) Keep(s Stamp, k K, v V) {
	if c.changes == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.values) >= most {
		clear(c.values)
	}
	c.values[k] = value[V]{s, v}
}

func (c *Cache[K, V]) get(k K) (value[V], bool) {
	if c.changes == nil {
		return value[V]{}, false
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	v, ok := c.values[k]
	return v, ok
}

// serves counts a clock that was set back as time that has passed.
func (s Stamp) serves(now Stamp) bool {
	age := now.at.Sub(s.at)
	return s.changes == now.changes && age >= 0 && age < MaxAge
}
