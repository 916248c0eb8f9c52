package verify

import "time"

// recent remembers values for at least a while and at most twice as long, in
// two halves: the old one is dropped whole, so that nothing is ever searched
// for what has had its time. It is not safe for concurrent use.
type recent[K comparable, V any] struct {
	size       int // bound on the number of values
	life       time.Duration
	young, old map[K]V
	turned     time.Time // when young began
}

func newRecent[K comparable, V any](size int, life time.Duration) recent[K, V] {
	return recent[K, V]{size: size, life: life, young: make(map[K]V)}
}

func (r *recent[K, V]) get(key K, now time.Time) (V, bool) {
	r.turn(now)
	v, ok := r.young[key]
	if !ok {
		v, ok = r.old[key]
	}
	return v, ok
}

// add is false if there is no room until others have had their time.
func (r *recent[K, V]) add(key K, v V, now time.Time) bool {
	r.turn(now)
	if len(r.young)+len(r.old) >= r.size {
		return false
	}
	r.young[key] = v
	return true
}

func (r *recent[K, V]) turn(now time.Time) {
	switch age := now.Sub(r.turned); {
	case age < r.life: // a clock that was set back makes them live longer
		return
	case age < 2*r.life:
		r.old = r.young
	default:
		r.old = nil
	}
	r.young, r.turned = make(map[K]V), now
}
