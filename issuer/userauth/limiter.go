package userauth

import (
	"sync"
	"time"
)

// Failures: the first few cost nothing, each further one doubles the wait.
const (
	freeFailures = 5
	firstWait    = time.Second
	longestWait  = 5 * time.Minute
	forgetAfter  = 15 * time.Minute // without another failure
	maxAttempts  = 16 << 10         // keys remembered
)

// attempt is whose failures are counted together.
type attempt struct{ realm, user, address string }

// failures are the recent failed attempts of one key.
type failures struct {
	count int
	last  time.Time
	until time.Time // no attempt before
}

// limiter slows guessing down. It is bounded: when full it forgets an
// arbitrary key, which an attacker with many addresses can bring about; what
// protects then is the cost of a hash and the number that run at once.
type limiter struct {
	now func() time.Time

	mu   sync.Mutex // guards keys
	keys map[attempt]failures
}

func newLimiter(now func() time.Time) *limiter {
	return &limiter{now: now, keys: make(map[attempt]failures)}
}

func (l *limiter) allowed(k attempt) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.now().Before(l.keys[k].until)
}

func (l *limiter) succeeded(k attempt) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.keys, k)
}

func (l *limiter) failed(k attempt) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	f, known := l.keys[k]
	if !known && len(l.keys) >= maxAttempts {
		l.makeRoom(now)
	}
	if now.Sub(f.last) > forgetAfter {
		f = failures{}
	}
	f.count++
	f.last = now
	f.until = now.Add(wait(f.count))
	l.keys[k] = f
}

// makeRoom drops what is old, and any one key if nothing is.
func (l *limiter) makeRoom(now time.Time) {
	for k, f := range l.keys {
		if now.Sub(f.last) > forgetAfter {
			delete(l.keys, k)
		}
	}
	for k := range l.keys {
		if len(l.keys) < maxAttempts {
			return
		}
		delete(l.keys, k)
	}
}

// wait is how long after the count-th failure nothing is tried.
func wait(count int) time.Duration {
	if count < freeFailures {
		return 0
	}
	shift := min(count-freeFailures, 20)
	return min(firstWait<<shift, longestWait)
}
