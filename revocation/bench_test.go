package revocation

import (
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"
)

func uuid(i int) string { return fmt.Sprintf("%08x-0000-4000-8000-%012x", i*2654435761&0xffffffff, i) }

// million is a Set with 1,000,000 records as a busy installation has them.
func million() *Set {
	s := NewSet()
	l := s.Load()
	for i := 0; i < 1_000_000; {
		var batch []Record
		for range 1000 {
			k := Kind(KindToken)
			if i%2 == 0 {
				k = KindSession
			}
			batch = append(batch, Record{Revision: Revision(i + 1), Issuer: iss, Target: Target{Kind: k, ID: uuid(i)}, ExpiresAt: epoch0.Add(time.Duration(i%300) * time.Second)})
			i++
		}
		l.Add(batch)
	}
	l.Commit(1_000_000)
	return s
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestMillionRecordsTakeFortyMebibytes(t *testing.T) {
	before := heap()
	began := time.Now()
	s := million()
	took := time.Since(began)
	size := float64(heap()-before) / (1 << 20)
	t.Logf("%d records, %.1f MiB, loaded in %s", s.Len(), size, took)
	if size > 40 {
		t.Errorf("1,000,000 records take %.1f MiB, want at most 40", size)
	}
	runtime.KeepAlive(s)
}

func BenchmarkDecisionAmongMillion(b *testing.B) {
	s := million()
	s.Apply([]Record{rec(1_000_001, KindSession, "x"), rec(1_000_002, KindToken, "y")}, 1_000_002)
	tok := Token{Issuer: iss, ID: "onrtac:" + uuid(5_000_000), Session: uuid(6_000_000), Subject: uuid(7), Client: "shop", Key: "k1", HasRev: true, Rev: 9}
	run := func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			v := s.Begin()
			if _, d := v.Revoked(tok); d {
				b.Fatal("dead")
			}
			v.End()
		}
	}
	b.Run("alive", run)
	s.Apply([]Record{rec(1, KindSubject, "u"), rec(1, KindClient, "c"), rec(1, KindKey, "k"), clientSession(1, "s", "c")}, 1)
	b.Run("alive, every kind present", run)
	b.Run("begin and end", func(b *testing.B) {
		for b.Loop() {
			s.Begin().End()
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				v := s.Begin()
				v.Revoked(tok)
				v.End()
			}
		})
	})
}

func BenchmarkApplyOneToMillion(b *testing.B) {
	s := million()
	i := 1_000_000
	b.ReportAllocs()
	for b.Loop() {
		i++
		s.Apply([]Record{{Revision: Revision(i), Issuer: iss, Target: Target{Kind: KindSession, ID: uuid(i)}, ExpiresAt: epoch0}}, Revision(i))
	}
}

// BenchmarkDecisionInAStorm is a decision among a million records while ten
// thousand more come in each second, against the same without: both in turns,
// so that what the machine does meanwhile it does to both.
func BenchmarkDecisionInAStorm(b *testing.B) {
	s := million()
	tok := Token{Issuer: iss, ID: "onrtac:" + uuid(5_000_000), Session: uuid(6_000_000), Subject: uuid(7), Client: "shop", Key: "k1", HasRev: true, Rev: 9}
	const decisions, perDelta = 200_000, 10
	at := Revision(1_000_000)
	storm := func(done <-chan struct{}) {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			batch := make([]Record, perDelta)
			for i := range batch {
				at++
				batch[i] = Record{Revision: at, Issuer: iss, Target: Target{Kind: KindSession, ID: uuid(int(at))}, ExpiresAt: epoch0.Add(time.Hour)}
			}
			s.Apply(batch, at)
		}
	}
	decide := func() time.Duration {
		began := time.Now()
		for range decisions {
			v := s.Begin()
			if _, dead := v.Revoked(tok); dead {
				b.Fatal("dead")
			}
			v.End()
		}
		return time.Since(began) / decisions
	}
	var quiet, stormy, ratios []float64
	for b.Loop() {
		q := decide()
		done, over := make(chan struct{}), make(chan struct{})
		go func() { storm(done); close(over) }()
		w := decide()
		close(done)
		<-over
		quiet, stormy, ratios = append(quiet, float64(q)), append(stormy, float64(w)), append(ratios, float64(w)/float64(q))
	}
	b.ReportMetric(middle(quiet), "quiet-ns")
	b.ReportMetric(middle(stormy), "storm-ns")
	b.ReportMetric(middle(ratios), "storm/quiet")
}

func middle(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}
