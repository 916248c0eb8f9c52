package main

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// What is worth doing something: both stop the world for a moment.
const (
	paceEvery = time.Second
	paceBytes = 4 << 20 // of difference in what is held, to give memory back
	paceStep  = 8       // of the percentage, one part in so many, to set it anew
)

// liveHeap is what the last collection left.
const liveHeap = "/gc/heap/live:bytes"

// paceCollector keeps a million revocations from multiplying by the collector's
// percentage. They are one large block that it never has to look into, so the
// room for garbage need not grow with them: it stays percent of everything
// else, also when that grows later. What loading them has left is given back
// to the system. It returns when ctx ends.
func paceCollector(ctx context.Context, percent int, held func() int) {
	tick := time.NewTicker(paceEvery)
	defer tick.Stop()
	freed, set := 0, percent
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := held()
		if difference := now - freed; difference < -paceBytes || difference > paceBytes {
			freed = now
			debug.FreeOSMemory()
		}
		sample := []metrics.Sample{{Name: liveHeap}}
		metrics.Read(sample)
		if want := pace(percent, int(sample[0].Value.Uint64()), now); farFrom(want, set) {
			set = want
			debug.SetGCPercent(want)
		}
	}
}

func farFrom(want, set int) bool {
	return want-set > set/paceStep || set-want > set/paceStep
}

// pace is the percentage of live bytes that is percent of what of them is not
// held.
func pace(percent, live, held int) int {
	if live <= held {
		return percent
	}
	return max(1, percent*(live-held)/live)
}
