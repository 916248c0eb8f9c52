package main

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// How often the allowance for garbage is looked at, and by how much it must be
// off to be changed, as a change stops the program for a moment.
const (
	allowanceEvery = 250 * time.Millisecond
	allowanceSlack = 10 // per cent
	minGCPercent   = 10
)

// allowGarbage keeps the garbage that may gather between two collections at
// percent of what a collection has to look through, until ctx ends. Go counts
// it by the whole heap: a million revocations, 40 MiB without a pointer that a
// collection passes over for free, would add 160 MiB of garbage to themselves.
func allowGarbage(ctx context.Context, percent int) {
	tick := time.NewTicker(allowanceEvery)
	defer tick.Stop()
	sample := []metrics.Sample{{Name: "/gc/scan/heap:bytes"}, {Name: "/gc/heap/live:bytes"}}
	for now := percent; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		metrics.Read(sample)
		want := gcPercent(percent, sample[0].Value.Uint64(), sample[1].Value.Uint64())
		if off := want - now; off*100 > now*allowanceSlack || -off*100 > now*allowanceSlack {
			debug.SetGCPercent(want)
			if want < now/2 { // a snapshot came in: what loading it left behind goes back to the system
				debug.FreeOSMemory()
			}
			now = want
		}
	}
}

// gcPercent is what Go must be told so that garbage is percent of the scanned
// part of a heap of which live bytes are in use.
func gcPercent(percent int, scanned, live uint64) int {
	if live == 0 || scanned >= live {
		return percent
	}
	return max(minGCPercent, int(float64(percent)*float64(scanned)/float64(live)))
}
