package decisionlog

import (
	"fmt"
	"math"
)

// Keys of Config.Sample that are not one reason.
const (
	allowed = "allowed"
	refused = "refused"
)

// filter says which events are wanted, from what is known without their input.
type filter struct {
	dropAllowed bool
	dropRoutes  map[string]bool
	limits      map[string]uint64 // by reason: a hash below it is in the share
}

func newFilter(c Config) (filter, error) {
	f := filter{dropAllowed: c.DropAllowed, dropRoutes: map[string]bool{}, limits: map[string]uint64{}}
	for _, route := range c.DropRoutes {
		f.dropRoutes[route] = true
	}
	for reason, share := range c.Sample {
		if !(share >= 0 && share <= 1) { // NaN is neither
			return filter{}, fmt.Errorf("sample of %s is %v, want 0 to 1", reason, share)
		}
		f.limits[reason] = limit(share)
	}
	return f, nil
}

// limit is share of the way from 0 to the end of uint64.
func limit(share float64) uint64 {
	if share == 1 {
		return math.MaxUint64
	}
	return uint64(share * (1 << 63) * 2)
}

func (f *filter) dropped(e *Event) bool {
	return f.dropAllowed && e.reason() == allowed || len(f.dropRoutes) > 0 && f.dropRoutes[e.Route]
}

func (f *filter) sampled(e *Event) bool {
	if len(f.limits) == 0 {
		return true
	}
	reason := e.reason()
	limit, ok := f.limits[reason]
	if !ok && reason != allowed {
		limit, ok = f.limits[refused]
	}
	return !ok || limit == math.MaxUint64 || hash(e.ID) < limit
}

// hash spreads ids evenly: FNV-1a, whose high bits alone would be too alike,
// and MurmurHash3's finalizer. It must never change: servers of different
// versions agree on the sample.
func hash(id string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(id) {
		h = (h ^ uint64(id[i])) * 1099511628211
	}
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
