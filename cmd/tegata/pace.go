package main

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// What is worth a change of the collector's pace: setting it stops the world
// for a moment.
const (
	paceEvery = time.Second
	paceBytes = 4 << 20 // of difference in what is held
)

// liveHeap is what the last collection left.
const liveHeap = "/gc/heap/live:bytes"

// paceCollector keeps a million revocations from multiplying by the collector's
// percentage. They are one large block that it never has to look into, so the
// room for garbage need not grow with them: it stays percent of everything
// else. What loading them has left is given back to the system. It returns when
// ctx ends.
func paceCollector(ctx context.Context, percent int, held func() int) {
	tick := time.NewTicker(paceEvery)
	defer tick.Stop()
	paced := 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := held()
		if difference := now - paced; difference > -paceBytes && difference < paceBytes {
			continue
		}
		paced = now
		debug.FreeOSMemory()
		sample := []metrics.Sample{{Name: liveHeap}}
		metrics.Read(sample)
		debug.SetGCPercent(pace(percent, int(sample[0].Value.Uint64()), now))
	}
}

// pace is the percentage of live bytes that is percent of what of them is not
// held.
func pace(percent, live, held int) int {
	if live <= held {
		return percent
	}
	return max(1, percent*(live-held)/live)
}
