package main

import (
	"runtime/metrics"
	"testing"
)

func TestGarbageIsCountedByWhatIsScanned(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	for _, c := range []struct {
		name          string
		scanned, live uint64
		want          int
	}{
		{"before the first collection", 0, 0, 400},
		{"all of it", 8 * mib, 8 * mib, 400},
		{"counted at different moments", 9 * mib, 8 * mib, 400},
		{"beside a table without pointers", 8 * mib, 48 * mib, 66},
		{"next to nothing", 1, 1 << 40, minGCPercent},
	} {
		if got := gcPercent(400, c.scanned, c.live); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

// TestTheRuntimeTells: a name it does not know reads as nothing, and Uint64
// would then panic.
func TestTheRuntimeTells(t *testing.T) {
	t.Parallel()
	kinds := map[string]metrics.ValueKind{}
	for _, d := range metrics.All() {
		kinds[d.Name] = d.Kind
	}
	for _, name := range []string{"/gc/scan/heap:bytes", "/gc/heap/live:bytes"} {
		if kinds[name] != metrics.KindUint64 {
			t.Errorf("%s is of kind %v", name, kinds[name])
		}
	}
}
