package verify

import (
	"container/list"
	"crypto/sha256"
	"sync"
	"time"
)

// entry is one verified token with what its verification stands on.
type entry struct {
	token      *Token
	issuer     *issuer
	generation uint64 // of the issuer's key set, or number of its answer
	size       int    // estimated bytes

	// Of an introspected token: until when the answer counts, and its digest.
	until  time.Time
	answer digest
}

// current reports whether the keys are those that the token was verified with,
// or the answer is still good.
func (e *entry) current(now time.Time) bool {
	if !e.until.IsZero() {
		return now.Before(e.until)
	}
	_, generation := e.issuer.keys.Current()
	return e.generation == generation
}

// What an entry is estimated to take, in bytes; TestEntrySize measures it.
const (
	entryFrame  = 1536 // entry, token, places in list and map, the document but for its claims
	valueSize   = 80   // a term and its value
	objectFrame = 160
	memberFrame = 112 // but for the text of the name and the value
)

// sizeOf estimates a document as terms.
func sizeOf(d document) int {
	return d.shape.Values*valueSize + d.shape.Objects*objectFrame + d.shape.Members*memberFrame + len(d.text)
}

// maxShards bounds how many may look up at once without waiting for each other.
const maxShards = 64

// digest is the SHA-256 of a whole compact token: two tokens that differ
// anywhere never share an entry.
type digest [sha256.Size]byte

// digestOf hashes in pieces: converting the string at once would copy it to
// the heap on every use.
func digestOf(compact string) (d digest) {
	var piece [512]byte
	h := sha256.New()
	for len(compact) > 0 {
		n := copy(piece[:], compact)
		h.Write(piece[:n])
		compact = compact[n:]
	}
	h.Sum(d[:0])
	return d
}

// cache holds entries within a number and a size. What it holds is split
// among shards by digest, and so are both bounds.
type cache struct{ shards []shard }

func newCache(size, bytes int) *cache {
	n := min(maxShards, max(1, size/64)) // few tokens in few shards: the split wastes less
	c := &cache{shards: make([]shard, n)}
	for i := range c.shards {
		s := &c.shards[i]
		s.size, s.bytes = size/n, bytes/n
		s.index = make(map[digest]*list.Element)
	}
	return c
}

func (c *cache) shard(d digest) *shard {
	return &c.shards[(int(d[0])|int(d[1])<<8)%len(c.shards)]
}

func (c *cache) get(d digest) *entry { return c.shard(d).get(d) }

// put keeps e if it fits, and returns the entry to use: of two that verified
// the same token at once with the same keys, the first.
func (c *cache) put(d digest, e *entry) *entry { return c.shard(d).put(d, e) }

// usage is how many entries there are, and their estimated bytes.
func (c *cache) usage() (entries, bytes int) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		entries, bytes = entries+s.order.Len(), bytes+s.used
		s.mu.Unlock()
	}
	return entries, bytes
}

// shard evicts by second chance: the oldest goes, unless it was used since it
// was last looked at; then it counts as new. A flood of tokens that are used
// once passes through without taking those in use along.
type shard struct {
	size, bytes int // bounds

	mu    sync.Mutex // guards what follows
	index map[digest]*list.Element
	order list.List // of *slot, oldest first
	used  int       // bytes
}

type slot struct {
	digest digest
	entry  *entry
	again  bool // used since last looked at
}

func (s *shard) get(d digest) *entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	element := s.index[d]
	if element == nil {
		return nil
	}
	slot := element.Value.(*slot)
	slot.again = true
	return slot.entry
}

func (s *shard) put(d digest, e *entry) *entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := &slot{digest: d, entry: e}
	if element := s.index[d]; element != nil {
		old := element.Value.(*slot)
		if old.entry.generation >= e.generation {
			return old.entry
		}
		next.again = old.again
		s.remove(element) // same token, newer keys, or an answer of another size
	}
	if e.size > s.bytes {
		return e
	}
	for s.order.Len() >= s.size || s.used+e.size > s.bytes {
		s.evict()
	}
	s.index[d] = s.order.PushBack(next)
	s.used += e.size
	return e
}

// remove takes an entry out. The caller holds mu.
func (s *shard) remove(element *list.Element) {
	slot := s.order.Remove(element).(*slot)
	delete(s.index, slot.digest)
	s.used -= slot.entry.size
}

// evict removes one entry. The caller holds mu, and there is one.
func (s *shard) evict() {
	for {
		oldest := s.order.Front()
		slot := oldest.Value.(*slot)
		if slot.again {
			slot.again = false
			s.order.MoveToBack(oldest)
			continue
		}
		s.remove(oldest)
		return
	}
}
