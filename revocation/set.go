package revocation

import (
	"context"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Set holds the records in force, for lock-free reading. See watch for who
// fills it.
//
// Readers follow one atomic pointer to an immutable state. Writers build the
// next state beside it and swap; they exclude each other by a mutex that no
// reader takes. Two counters per shard say how many decisions still run on an
// older state, so that Settle can wait them out.
//
// A record is kept as 16 bytes of identity and what matching needs: Records
// that come back from View.Revoked have no CommittedAt, and their times are
// whole seconds.
type Set struct {
	state atomic.Pointer[state]

	phase  atomic.Uint32 // which of the two counters a beginning decision uses
	shards []shard
	settle chan struct{} // held (one slot) by the Settle that waits

	mu   sync.Mutex // guards writing: state, high
	high time.Time  // the latest time Expire was told; never steps back
}

// shard counts the decisions that run, by the phase they began in. Its size
// keeps two shards off one cache line.
type shard struct {
	running [2]atomic.Int64
	_       [112]byte
}

// NewSet returns an empty Set at revision 0.
func NewSet() *Set {
	n := 1
	for n < 4*runtime.GOMAXPROCS(0) && n < 256 {
		n *= 2
	}
	s := &Set{shards: make([]shard, n), settle: make(chan struct{}, 1)}
	s.state.Store(&state{})
	return s
}

// Begin starts one decision: it pins the state that the decision is made on
// until View.End, so that Settle can wait for it. About 20 ns.
func (s *Set) Begin() View {
	// Count first, then look: a Settle that missed the count flipped the phase
	// and published its state before, so this decision sees that state.
	c := &s.shards[rand.Uint32()&uint32(len(s.shards)-1)].running[s.phase.Load()&1]
	c.Add(1)
	return View{state: s.state.Load(), running: c}
}

// Revision is the highest revision applied.
func (s *Set) Revision() Revision { return s.state.Load().revision }

// Generation changes whenever records came in, and never comes back to an
// earlier value, whatever epochs do. A token found alive in a View of
// generation G is alive as long as Generation is G: what caches may remember.
// Revision does not serve for that, as a new epoch may reuse a number.
func (s *Set) Generation() uint64 { return s.state.Load().generation }

// Len is the number of records in force. Records with the same target count
// once, and expired ones may be counted until their memory is freed.
func (s *Set) Len() int { return s.state.Load().len() }

// Bytes is the memory that the records take. There are no pointers in it: the
// garbage collector has nothing to do for it.
func (s *Set) Bytes() int { return s.state.Load().bytes() }

// Apply adds records (any order; those of one delta) and moves the Set to revision head.
// It publishes with one pointer swap and never blocks readers. Applying the
// same records twice changes nothing; a head below Revision does not move back.
func (s *Set) Apply(records []Record, head Revision) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := *s.state.Load()
	next.revision = max(next.revision, head)
	if len(records) > 0 {
		next.add(records)
		next.generation++
	}
	s.state.Store(&next)
}

// Replace swaps in a whole snapshot. The old records are in force until then.
func (s *Set) Replace(records []Record, head Revision) {
	l := s.Load()
	l.Add(records)
	l.Commit(head)
}

// Loader gathers a snapshot that comes in pieces, in the Set's compact form.
type Loader struct {
	set   *Set
	names names
	piles [][]entry // of pileSize, so that growing copies nothing and leaves nothing behind
}

// pileSize is how many entries a Loader makes room for at once: 512 KiB.
const pileSize = 1 << 14

// Load begins a snapshot. The Set is not changed before Commit; a Loader that
// is let go leaves nothing behind.
func (s *Set) Load() *Loader { return &Loader{set: s} }

// Add adds records to the snapshot, in any order.
func (l *Loader) Add(records []Record) {
	most := 2 * len(records) // see encode
	last := len(l.piles) - 1
	switch {
	case last < 0: // often it is all there is
		l.piles, last = append(l.piles, make([]entry, 0, most)), 0
	case cap(l.piles[last])-len(l.piles[last]) < most:
		l.piles, last = append(l.piles, make([]entry, 0, max(pileSize, most))), last+1
	}
	l.names, l.piles[last] = encode(l.names, l.piles[last], records)
}

// Commit makes the snapshot the Set's whole content, at revision head: also
// when that is lower, as it may be in a new epoch. Use it once.
func (l *Loader) Commit(head Revision) { l.commit(head, false) }

// CommitOver is Commit for a new epoch: the records of the one before stay in
// force beside the snapshot until they expire. The store may have been
// restored from a backup that lacks them, and what is dead stays dead. The
// price is that a token of the new epoch may be taken for older than a subject,
// client or issuer record of the old one, until that record expires.
func (l *Loader) CommitOver(head Revision) { l.commit(head, true) }

func (l *Loader) commit(head Revision, keep bool) {
	l.set.mu.Lock()
	defer l.set.mu.Unlock()
	old := l.set.state.Load()
	if keep {
		var kept []entry
		l.names, kept = old.carryOver(l.names, nil, seconds(l.set.high, false))
		l.piles = append(l.piles, kept)
	}
	next := &state{revision: head, generation: old.generation + 1, names: l.names}
	next.levels[levels-1] = build(0, l.piles...)
	l.set.state.Store(next)
}

// Settle returns when every decision that began before the call has ended,
// or with the context's error.
func (s *Set) Settle(ctx context.Context) error {
	select {
	case s.settle <- struct{}{}:
		defer func() { <-s.settle }()
	case <-ctx.Done():
		return ctx.Err()
	}
	// A decision reads the phase and counts itself in two steps, so one may be
	// late by a phase: first wait out the late ones, then those of this phase.
	now := s.phase.Load() & 1
	if err := s.drain(ctx, now^1); err != nil {
		return err
	}
	s.phase.Store(now ^ 1)
	return s.drain(ctx, now)
}

// drain waits until each shard was seen without decisions of a phase. One that
// slips in behind reads the state after that moment and need not be waited for.
func (s *Set) drain(ctx context.Context, phase uint32) error {
	for i := range s.shards {
		c := &s.shards[i].running[phase]
		pause := 20 * time.Microsecond
		for spin := 0; c.Load() != 0; spin++ {
			if err := ctx.Err(); err != nil {
				return err
			}
			if spin < 16 {
				runtime.Gosched()
				continue
			}
			if err := wait(ctx, pause); err != nil {
				return err
			}
			pause = min(2*pause, time.Millisecond)
		}
	}
	return nil
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Expire drops records whose ExpiresAt is before now; now never steps back:
// an earlier one than before counts as the latest seen. What is expired
// matches no token that is alive, so memory is freed in bulk, when an eighth
// of the records has expired (at once in a small Set).
func (s *Set) Expire(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.After(s.high) {
		s.high = now
	}
	old := s.state.Load()
	sec := seconds(s.high, false)
	dead := old.expired(sec)
	if dead == 0 || (old.entries() > smallSet && dead < old.entries()/8) {
		return
	}
	next := *old
	next.compact(sec)
	s.state.Store(&next)
}

// smallSet is the number of records up to which Expire frees at once.
const smallSet = 4096

// View is one decision's pinned, consistent sight of a Set.
type View struct {
	state   *state
	running *atomic.Int64
}

// Revoked reports whether a record kills the token, and that record.
func (v View) Revoked(t Token) (Record, bool) { return v.state.revoked(&t) }

// Revision is the revision the view stands at.
func (v View) Revision() Revision { return v.state.revision }

// Generation is the generation the view stands at, see Set.Generation.
func (v View) Generation() uint64 { return v.state.generation }

// End releases the view. Call it exactly once.
func (v View) End() { v.running.Add(-1) }
