package verify

import (
	"fmt"
	"sync/atomic"
	"testing"
)

// BenchmarkHit is what a request pays whose token was seen before.
func BenchmarkHit(b *testing.B) {
	w := newWorld(b, "k1")
	v := w.verifier(b, nil)
	v.now = w.now.Local
	tokens := tokens(b, w, 1024)
	for _, token := range tokens {
		verified(b, v, token)
	}
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		if _, err := v.Verify(b.Context(), tokens[n%len(tokens)]); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkHitParallel shows whether the cores wait for each other.
func BenchmarkHitParallel(b *testing.B) {
	w := newWorld(b, "k1")
	v := w.verifier(b, nil)
	v.now = w.now.Local
	tokens := tokens(b, w, 1024)
	var next atomic.Int64
	b.RunParallel(func(pb *testing.PB) {
		for n := int(next.Add(100)); pb.Next(); n++ {
			if _, err := v.Verify(b.Context(), tokens[n%len(tokens)]); err != nil {
				b.Error(err)
			}
		}
	})
}

// BenchmarkMiss is what the first request of a token pays.
func BenchmarkMiss(b *testing.B) {
	w := newWorld(b, "k1")
	v := w.verifier(b, func(c *Config) { c.CacheSize = 1 })
	v.now = w.now.Local
	tokens := tokens(b, w, 2) // each drives out the other
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		if _, err := v.Verify(b.Context(), tokens[n%len(tokens)]); err != nil {
			b.Fatal(err)
		}
	}
}

func tokens(b *testing.B, w *world, n int) []string {
	b.Helper()
	list := make([]string, n)
	for i := range list {
		list[i] = w.token(b, map[string]any{"jti": fmt.Sprint(i)})
	}
	return list
}
