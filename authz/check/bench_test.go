package check

import (
	"fmt"
	"testing"

	"github.com/tegata/tegata/authz/policy/reads"
	"github.com/tegata/tegata/revocation"
)

// hot is a bench of the shipped policies amid many revocations, and a request
// that it allows, whose door reads its keys from the raw request.
func hot(t testing.TB, change func(*Config)) (*bench, Request) {
	t.Helper()
	b := shipped(t, change)
	records := make([]revocation.Record, 100_000)
	for i := range records {
		records[i] = record(revocation.Revision(i+1), revocation.Target{Kind: revocation.KindToken, ID: fmt.Sprint("other-", i)})
	}
	b.set.Replace(records, revocation.Revision(len(records)))
	r := get("/orders/5", "Bearer reader").request()
	r.Key = func(dst []byte, path reads.Path) ([]byte, bool) {
		if path[len(path)-1] != "method" {
			t.Errorf("the shipped policies read %s", path)
		}
		return reads.AppendString(dst, "GET"), true
	}
	if d := b.Check(t.Context(), r); !d.Allowed {
		t.Fatalf("refused: %s (%s)", d.Reason, d.Detail)
	}
	return b, r
}

// TestRememberedDecisionAllocatesLittle: the steps themselves, and the id.
func TestRememberedDecisionAllocatesLittle(t *testing.T) {
	b, r := hot(t, nil)
	ctx := t.Context()
	if n := testing.AllocsPerRun(1000, func() { b.Check(ctx, r) }); n > 2 {
		t.Errorf("%v allocations, want 2", n)
	}
	if b.evaluated(t) != 1 {
		t.Errorf("%d evaluations, want 1", b.evaluated(t))
	}
}

func BenchmarkRemembered(b *testing.B) { run(b, nil) }
func BenchmarkEvaluated(b *testing.B)  { run(b, func(c *Config) { c.NoCache = true }) }

func run(b *testing.B, change func(*Config)) {
	bench, r := hot(b, change)
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		if d := bench.Check(ctx, r); !d.Allowed {
			b.Fatal(d.Detail)
		}
	}
}

// BenchmarkRememberedByAll is the same from every processor, on one token.
func BenchmarkRememberedByAll(b *testing.B) {
	bench, r := hot(b, nil)
	ctx := b.Context()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if d := bench.Check(ctx, r); !d.Allowed {
				b.Fatal(d.Detail)
			}
		}
	})
}
