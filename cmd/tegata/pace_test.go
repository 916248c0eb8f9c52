package main

import "testing"

func TestRoomForGarbageDoesNotGrowWithRevocations(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	for _, tt := range []struct{ live, held, want int }{
		{10 * mib, 0, 400},
		{50 * mib, 40 * mib, 80}, // 40 MiB of garbage, as with 10 MiB live
		{1000 * mib, 999 * mib, 1},
		{10 * mib, 10 * mib, 400}, // measured at two moments: no reason to do anything
	} {
		if got := pace(400, tt.live, tt.held); got != tt.want {
			t.Errorf("%d live, %d held: %d, want %d", tt.live, tt.held, got, tt.want)
		}
	}
}
