// Package jwks keeps a remote key set: fetches it, caches it, refetches it
// when a token names a key it does not know, at most so often.
//
// It must not know tokens or what they are accepted for.
//
// The idea: the set in use is immutable and swapped by one pointer. It is
// replaced only by another one that was read whole, so that an issuer that is
// down, or answers nonsense, changes nothing. Whoever asks for an unknown key
// provokes one fetch that all others wait for, then none for MinRefetch; the
// names of keys that were not there are remembered, so that a token that will
// never verify does not provoke a fetch each time.
package jwks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/tegata/tegata/internal/jose"
)

// Defaults and limits.
const (
	defaultMinRefetch = 5 * time.Second
	defaultMaxAge     = 5 * time.Minute
	fetchTimeout      = 10 * time.Second // of discovery and key set together
	burst             = 5                // provoked fetches that need not wait for each other
	firstBackOff      = time.Second
	lastBackOff       = 20 * time.Second
	missingFor        = 6 // a key that was not there is not asked for again for so many MinRefetch
	maxMissing        = 1024
	maxKeyID          = 256 // longer kids are never looked for
)

// ErrUnavailable is returned while no key set could be fetched that could
// answer. Test with errors.Is.
var ErrUnavailable = errors.New("key set unavailable")

// Config configures a Remote.
type Config struct {
	URL        string // the jwks_uri; or, if Issuer is set instead, found by discovery
	Issuer     string
	HTTP       *http.Client
	MinRefetch time.Duration // unknown kids may provoke one fetch in so long, after a few at once; default 5 s
	MaxAge     time.Duration // refetch at least this often; Cache-Control may shorten it; default 5 min
	Many       bool          // very many tokens are verified with it, see jose.KeySet.ForMany
	Now        func() time.Time
	Logger     *slog.Logger
}

// Remote is one issuer's key set.
type Remote struct {
	c       Config
	source  source
	current atomic.Pointer[fetched]
	running atomic.Bool

	mu       sync.Mutex // guards what follows
	flight   *flight
	provoked *rate.Limiter // fetches because of unknown kids
	lastTry  time.Time
	lastErr  error                // of the last try; nil after a success
	missing  map[string]time.Time // kid → when it may be asked for again
}

// fetched is one whole, immutable answer.
type fetched struct {
	set        *jose.KeySet
	text       string // the set as JSON, to see a change
	generation uint64
	until      time.Time // fresh until
}

// flight is one fetch under way; done is closed when err is set.
type flight struct {
	done chan struct{}
	err  error
}

// New checks the configuration; nothing is fetched yet.
func New(c Config) (*Remote, error) {
	if (c.URL == "") == (c.Issuer == "") {
		return nil, errors.New("jwks: one of URL and Issuer is required")
	}
	if err := CheckURL(c.URL + c.Issuer); err != nil {
		return nil, fmt.Errorf("jwks: %w", err)
	}
	if c.HTTP == nil {
		c.HTTP = http.DefaultClient
	}
	if c.MinRefetch <= 0 {
		c.MinRefetch = defaultMinRefetch
	}
	if c.MaxAge <= 0 {
		c.MaxAge = defaultMaxAge
	}
	c.MaxAge = max(c.MaxAge, c.MinRefetch)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return &Remote{
		c: c, source: newSource(c), missing: make(map[string]time.Time),
		provoked: rate.NewLimiter(rate.Every(c.MinRefetch), burst),
	}, nil
}

// Run keeps the set fresh until ctx ends, and returns ctx's error. After a
// failure it tries again, later each time.
func (r *Remote) Run(ctx context.Context) error {
	r.running.Store(true)
	defer r.running.Store(false)
	backOff := firstBackOff
	for {
		wait := backOff
		if err := r.refresh(ctx); err != nil {
			backOff = min(2*backOff, lastBackOff)
		} else {
			backOff = firstBackOff
			wait = max(r.current.Load().until.Sub(r.c.Now()), r.c.MinRefetch)
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}

// Current returns the set last fetched, or nil before the first success, and
// its generation, which rises with every change. Cheap; no I/O.
func (r *Remote) Current() (set *jose.KeySet, generation uint64) {
	f := r.current.Load()
	if f == nil {
		return nil, 0
	}
	return f.set, f.generation
}

// ForKey returns a set for verifying a token of that kid: the current one if it
// has the kid, else, within the rate limit, one fetched now (single flight).
// An empty kid is in every set. Without Run, a set past its age is fetched
// again here, and the old one used while that fails. Errors: ErrUnavailable if
// a set that might have the kid could not be had, jose.ErrUnknownKey if the
// issuer has no such key. The fetch is bounded by a timeout of its own, since
// others wait for it too; ctx bounds the waiting for others.
func (r *Remote) ForKey(ctx context.Context, kid string) (set *jose.KeySet, generation uint64, err error) {
	f := r.current.Load()
	if f.has(kid) && (r.running.Load() || r.c.Now().Before(f.until)) {
		return f.set, f.generation, nil
	}
	err = r.provoke(ctx, kid)
	if f = r.current.Load(); f.has(kid) {
		return f.set, f.generation, nil
	}
	return nil, 0, err
}

func (f *fetched) has(kid string) bool {
	return f != nil && (kid == "" || f.set.Has(kid))
}

// provoke fetches because of kid, unless it is too early, waits for a fetch
// that is under way, and says why the kid is still missing, if it is.
func (r *Remote) provoke(ctx context.Context, kid string) error {
	r.mu.Lock()
	own, wait := r.flight, r.flight != nil
	if !wait {
		if err := r.tooEarly(kid); err != nil {
			r.mu.Unlock()
			return err
		}
		own = r.takeOff()
	}
	r.mu.Unlock()

	if !wait {
		r.fly(context.WithoutCancel(ctx), own)
	}
	select {
	case <-own.done:
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	}
	if own.err != nil {
		return own.err
	}
	r.remember(kid)
	return jose.ErrUnknownKey
}

// tooEarly is the rate limit. Its burst lets the first token of a new key pass
// right after a fetch, or after somebody tried a kid or two. The caller holds mu.
func (r *Remote) tooEarly(kid string) error {
	now := r.c.Now()
	if len(kid) > maxKeyID || now.Before(r.missing[kid]) {
		return jose.ErrUnknownKey
	}
	if r.lastErr != nil && now.Sub(r.lastTry) < r.c.MinRefetch {
		return r.lastErr // a broken issuer is not hammered
	}
	if !r.provoked.AllowN(now, 1) {
		return jose.ErrUnknownKey
	}
	return nil
}

// remember that kid was not in a set just fetched. Full of kids that may not
// be asked for yet, it forgets the new one: the rate limit still holds.
func (r *Remote) remember(kid string) {
	if r.current.Load().has(kid) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.c.Now()
	if len(r.missing) >= maxMissing {
		for k, until := range r.missing {
			if !now.Before(until) {
				delete(r.missing, k)
			}
		}
	}
	if len(r.missing) < maxMissing {
		r.missing[kid] = now.Add(missingFor * r.c.MinRefetch)
	}
}

// refresh fetches now, or waits for the fetch under way.
func (r *Remote) refresh(ctx context.Context) error {
	r.mu.Lock()
	f := r.flight
	if f != nil {
		r.mu.Unlock()
		select {
		case <-f.done:
			return f.err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	f = r.takeOff()
	r.mu.Unlock()
	r.fly(ctx, f)
	return f.err
}

// takeOff marks a fetch as under way. The caller holds mu, and flies it.
func (r *Remote) takeOff() *flight {
	r.flight = &flight{done: make(chan struct{})}
	r.lastTry = r.c.Now()
	return r.flight
}

// fly fetches and lands: publishes the set and wakes those who wait.
func (r *Remote) fly(ctx context.Context, f *flight) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	set, text, age, err := r.source.fetch(ctx)
	if err != nil {
		r.c.Logger.Warn("key set not fetched", "issuer", r.c.Issuer, "url", r.c.URL, "error", err)
		err = fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		r.publish(set, text, age)
	}
	r.flight, r.lastErr, f.err = nil, err, err
	close(f.done)
}

// publish replaces the current set. The caller holds mu.
func (r *Remote) publish(set *jose.KeySet, text string, age time.Duration) {
	if r.c.Many && set != nil {
		set = set.ForMany()
	}
	until := r.c.Now().Add(min(max(age, r.c.MinRefetch), r.c.MaxAge))
	old := r.current.Load()
	switch {
	case old == nil:
		r.current.Store(&fetched{set, text, 1, until})
	case old.text == text:
		r.current.Store(&fetched{old.set, text, old.generation, until})
	default:
		clear(r.missing) // what was missing may be there now, or soon
		r.current.Store(&fetched{set, text, old.generation + 1, until})
	}
}
