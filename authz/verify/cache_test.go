package verify

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tegata/tegata/authz/turns"
	"github.com/tegata/tegata/internal/jose"
)

// verified fails the test unless the token is accepted.
func verified(t testing.TB, v *Verifier, token string) *Token {
	t.Helper()
	got, err := v.Verify(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestATokenIsVerifiedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "k1")
	v := w.verifier(t, nil)
	token := w.token(t, nil)
	first := verified(t, v, token)
	if again := verified(t, v, token); again != first {
		t.Error("the second use verified it anew")
	}
	if other := verified(t, v, w.token(t, map[string]any{"jti": "2"})); other == first {
		t.Error("another token was taken for the first")
	}
	if n, _ := v.cache.usage(); n != 2 {
		t.Errorf("got %d entries, want 2", n)
	}
}

// TestTheClockIsReadOnEveryUse: each row is a cached token at another time.
func TestTheClockIsReadOnEveryUse(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		after time.Duration // since the first use; its exp is five minutes after
		want  error
	}{
		{"fresh", 0, nil},
		{"last second", 5*time.Minute - time.Second, nil},
		{"within leeway", 5*time.Minute + defaultLeeway - time.Nanosecond, nil},
		{"past leeway", 5*time.Minute + defaultLeeway, ErrExpired},
		{"long past", 24 * time.Hour, ErrExpired},
		{"clock set back, within leeway", -defaultLeeway, nil},
		{"clock set back", -time.Minute, ErrNotYet},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "k1")
			v := w.verifier(t, nil)
			token := w.token(t, map[string]any{"nbf": start.Unix()})
			verified(t, v, token)
			w.pass(tt.after)
			got, err := v.Verify(t.Context(), token)
			if !errors.Is(err, tt.want) || (got == nil) != (tt.want != nil) {
				t.Errorf("got %v, %v, want %v", got, err, tt.want)
			}
		})
	}
}

// rotate lets time pass until the set may be fetched again, and makes v fetch
// it by showing a token of a new key.
func rotate(t *testing.T, w *world, v *Verifier, kid string) {
	t.Helper()
	w.add(t, kid)
	w.pass(time.Minute)
	last := len(w.keys) - 1
	token := must(w.keys[last].Sign("at+jwt", must(json.Marshal(with(map[string]any{"jti": kid})))(t)))(t)
	verified(t, v, token)
}

func TestAKeyThatLeftTheSetKillsCachedTokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "k1")
	v := w.verifier(t, nil)
	token := w.token(t, nil)
	verified(t, v, token)
	w.set(func() { w.keys = nil })
	rotate(t, w, v, "k2")
	for range 3 {
		if got, err := v.Verify(t.Context(), token); !errors.Is(err, ErrKey) || got != nil {
			t.Errorf("got %v, %v, want %v", got, err, ErrKey)
		}
	}
}

func TestAKeyReplacedUnderItsNameKillsCachedTokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "k1")
	v := w.verifier(t, nil)
	token := w.token(t, nil)
	verified(t, v, token)
	w.set(func() { w.keys = nil })
	w.add(t, "k1")
	rotate(t, w, v, "k2")
	if got, err := v.Verify(t.Context(), token); !errors.Is(err, ErrSignature) || got != nil {
		t.Errorf("got %v, %v, want %v", got, err, ErrSignature)
	}
}

func TestAKeyMoreIsNoHarm(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "k1")
	v := w.verifier(t, nil)
	token := w.token(t, nil)
	verified(t, v, token)
	rotate(t, w, v, "k2")
	first := verified(t, v, token)
	if again := verified(t, v, token); again != first {
		t.Error("not cached under the new set")
	}
	if n, _ := v.cache.usage(); n != 2 {
		t.Errorf("got %d entries, want 2", n)
	}
}

// TestUnknownKeysAreRefusedAlsoWhenNobodyAsks: the rate limit of fetches is
// no reason to answer anything but "unknown".
func TestUnknownKeysAreRefusedAlsoWhenNobodyAsks(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "k1")
	v := w.verifier(t, nil)
	verified(t, v, w.token(t, nil))
	for i := range 100 {
		token := w.raw(t, map[string]any{"alg": "ES256", "kid": fmt.Sprint("unknown-", i), "typ": "at+jwt"}, `{"iss":"`+home+`"}`)
		if _, err := v.Verify(t.Context(), token); !errors.Is(err, ErrKey) {
			t.Fatalf("%d: got %v, want %v", i, err, ErrKey)
		}
	}
	if w.fetches > 20 { // discovery and keys, a few times
		t.Errorf("got %d fetches", w.fetches)
	}
}

func TestWithoutKeysNothingIsDecided(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "k1")
	w.down = true
	v := w.verifier(t, nil)
	if err := v.Ready(); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), home) {
		t.Errorf("ready: got %v", err)
	}
	token := w.token(t, nil)
	for range 3 {
		if _, err := v.Verify(t.Context(), token); !errors.Is(err, ErrUnavailable) {
			t.Errorf("got %v, want %v", err, ErrUnavailable)
		}
	}
	w.set(func() { w.down = false })
	w.pass(time.Minute)
	verified(t, v, token)
	if err := v.Ready(); err != nil {
		t.Errorf("ready: got %v", err)
	}
	w.set(func() { w.down = true })
	w.pass(time.Minute)
	verified(t, v, w.token(t, map[string]any{"jti": "2"})) // the keys outlive their source
}

// TestTheWholeTokenIsTheKey: were any byte left out, a token could borrow the
// verification of another.
func TestTheWholeTokenIsTheKey(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("0123456789abcdef", jose.MaxCompact/16)
	for _, n := range []int{0, 1, 511, 512, 513, 1024, 1025, 4000, jose.MaxCompact} {
		if digestOf(text[:n]) != sha256.Sum256([]byte(text[:n])) {
			t.Errorf("%d bytes: not their SHA-256", n)
		}
	}
}

func TestTheCacheIsBounded(t *testing.T) {
	t.Parallel()
	tests := []struct{ size, bytes int }{
		{1, 1 << 20}, {10, 1 << 20}, {1000, 1 << 30}, {1000, 100 * 1000}, {1 << 20, 100 * 1000}, {10, 10},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt), func(t *testing.T) {
			t.Parallel()
			c := newCache(tt.size, tt.bytes)
			for i := range 5000 {
				c.put(sha256.Sum256(fmt.Append(nil, i)), &entry{token: &Token{}, size: 100 + i%900})
				if n, bytes := c.usage(); n > tt.size || bytes > tt.bytes {
					t.Fatalf("after %d: %d entries of %d bytes", i, n, bytes)
				}
			}
			checkWhole(t, c)
		})
	}
}

// checkWhole fails if list, map and figures of a shard disagree.
func checkWhole(t *testing.T, c *cache) {
	t.Helper()
	for i := range c.shards {
		s, used := &c.shards[i], 0
		for e := s.order.Front(); e != nil; e = e.Next() {
			slot := e.Value.(*slot)
			used += slot.entry.size
			if s.index[slot.digest] != e {
				t.Errorf("shard %d: an entry is not in the index", i)
			}
		}
		if used != s.used || len(s.index) != s.order.Len() {
			t.Errorf("shard %d: %d of %d bytes, %d of %d entries", i, s.used, used, len(s.index), s.order.Len())
		}
	}
}

// TestAFloodLeavesTokensInUse: tokens that are used once do not drive out
// those that are used all the time.
func TestAFloodLeavesTokensInUse(t *testing.T) {
	t.Parallel()
	c := newCache(20, 1<<20)
	used := digest{1}
	c.put(used, &entry{token: &Token{}, size: 1})
	for i := range 1000 {
		if c.get(used) == nil {
			t.Fatalf("gone after %d others", i)
		}
		c.put(sha256.Sum256(fmt.Append(nil, i)), &entry{token: &Token{}, size: 1})
	}
}

func TestOfTwoVerificationsTheNewerKeysWin(t *testing.T) {
	t.Parallel()
	c := newCache(10, 1000)
	d := digest{1}
	first := &entry{generation: 2, size: 10}
	c.put(d, first)
	for _, late := range []uint64{1, 2} {
		if got := c.put(d, &entry{generation: late, size: 10}); got != first {
			t.Errorf("generation %d replaced 2", late)
		}
	}
	newer := &entry{generation: 3, size: 10}
	if got := c.put(d, newer); got != newer || c.get(d) != newer {
		t.Error("generation 3 did not replace 2")
	}
	checkWhole(t, c)
}

func TestAHitAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	w := newWorld(t, "k1")
	v := w.verifier(t, func(c *Config) { c.Now = func() time.Time { return start } })
	token, ctx := w.token(t, map[string]any{"pad": strings.Repeat("x", 1000)}), t.Context()
	verified(t, v, token)
	if n := testing.AllocsPerRun(1000, func() {
		if _, err := v.Verify(ctx, token); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("got %v allocations", n)
	}
}

// TestEntrySize holds the estimate against the heap: it must not be below
// what entries take, nor so far above that the bound means nothing.
func TestEntrySize(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes everything larger")
	}
	claims := map[string]map[string]any{
		"small":      {},
		"many roles": {"roles": slices.Repeat([]string{"a", "reader"}, 300)},
		"objects":    {"x": slices.Repeat([]any{map[string]any{"id": 1234567, "n": "m"}}, 100)},
		"tiny":       {"x": slices.Repeat([]int{123456}, 500)},
		"long text":  {"x": strings.Repeat("x", 8000)},
	}
	for name, changes := range claims {
		t.Run(name, func(t *testing.T) {
			payload := must(json.Marshal(with(changes)))(t)
			compact := unsigned(string(payload))
			i := &issuer{trust: must(Issuer{Issuer: home, Audience: []string{audience}}.withDefaults())(t)}
			const n = 500
			c := newCache(n, 1<<30)
			before := heap()
			for k := range n {
				u := must(takeApart(compact, readsOf([]Issuer{i.trust})))(t)
				token, size, err := i.read(jose.Header{KeyID: "k1"}, u)
				if err != nil {
					t.Fatal(err)
				}
				_ = token.Document().String() // sorts what sorts itself when it is first read
				c.put(sha256.Sum256(fmt.Append(nil, k)), &entry{token: token, issuer: i, size: size})
			}
			got := int(heap()-before) / n
			entries, bytes := c.usage()
			estimate := bytes / entries
			t.Logf("payload %d bytes, entry %d bytes, estimate %d bytes", len(payload), got, estimate)
			if got > estimate || estimate > 3*got {
				t.Errorf("the estimate is off")
			}
		})
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestManyAtOnce is for the race detector.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "k1")
	v := w.verifier(t, func(c *Config) { c.CacheSize = 8 })
	var tokens []string
	for i := range 16 {
		tokens = append(tokens, w.token(t, map[string]any{"jti": fmt.Sprint(i)}))
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running, wg sync.WaitGroup
	running.Go(func() {
		if err := v.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	for range 8 {
		wg.Go(func() {
			for i := range 200 {
				token, err := v.Verify(ctx, tokens[i%len(tokens)])
				if err != nil || token.Revocation.ID != fmt.Sprint(i%len(tokens)) {
					t.Errorf("got %v, %v", token, err)
				}
			}
		})
	}
	wg.Wait()
	cancel()
	running.Wait()
	checkWhole(t, v.cache)
}

// TestKnownTokensTakeNoTurn: while all turns are taken by the signatures of
// others, tokens that were seen before are taken as ever.
func TestKnownTokensTakeNoTurn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "k1")
	all := turns.New(1, time.Millisecond)
	v := w.verifier(t, func(c *Config) { c.Turns = all })
	known, fresh := w.token(t, nil), w.token(t, map[string]any{"jti": "fresh"})
	verified(t, v, known)
	if err := all.Take(t.Context()); err != nil {
		t.Fatal(err)
	}
	verified(t, v, known)
	if _, err := v.Verify(t.Context(), fresh); !errors.Is(err, turns.ErrNone) {
		t.Errorf("a signature was checked out of turn: %v", err)
	}
	all.Give()
	verified(t, v, fresh)
}
