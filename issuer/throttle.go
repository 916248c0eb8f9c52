package issuer

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/tegata/tegata/issuer/clientauth"
	"github.com/tegata/tegata/issuer/grant"
	"github.com/tegata/tegata/issuer/oauth"
	"github.com/tegata/tegata/issuer/realm"
)

// How often a client may fail to authenticate from one address: so often at
// once, and then so often a minute.
const (
	failuresAtOnce   = 30
	failuresAMinute  = 30
	throttledMost    = 16 << 10 // pairs remembered
	throttledForgets = failuresAtOnce * time.Minute / failuresAMinute
)

// attempt is whose failures are counted together: not those of an address
// alone, at which many clients may be, nor those of a client alone, which
// others could then lock out.
type attempt struct {
	realm, client string
	from          netip.Prefix
}

// throttle authenticates clients, and bounds how fast their secrets can be
// guessed.
type throttle struct {
	grant.ClientAuth
	now func() time.Time

	mu       sync.Mutex // guards attempts
	attempts map[attempt]*failing
}

// failing is what an attempt has left.
type failing struct {
	left *rate.Limiter
	last time.Time
}

func newThrottle(inner grant.ClientAuth, now func() time.Time) *throttle {
	return &throttle{ClientAuth: inner, now: now, attempts: make(map[attempt]*failing)}
}

// Authenticate answers 429 (RFC 6585 §4) with Retry-After to who has failed too
// often; that is not looked at, right or wrong.
func (t *throttle) Authenticate(ctx context.Context, r realm.Realm, req *http.Request, form oauth.Form) (clientauth.Result, error) {
	id, _, basic := req.BasicAuth()
	if !basic {
		id = form["client_id"]
	}
	a := attempt{r.ID, id, network(req.RemoteAddr)}
	if wait := t.wait(a); wait > 0 {
		return clientauth.Result{}, oauth.SlowDown("too many failures of this client from this address", wait)
	}
	result, err := t.ClientAuth.Authenticate(ctx, r, req, form)
	var refused *oauth.Error
	if errors.As(err, &refused) && (refused.Code == oauth.CodeInvalidClient || refused.Code == oauth.CodeUnauthorizedClient) {
		t.failed(a)
	}
	return result, err
}

// wait is how long nothing is tried; zero if the next may fail.
func (t *throttle) wait(a attempt) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.attempts[a]
	if f == nil {
		return 0
	}
	missing := 1 - f.left.TokensAt(t.now())
	if missing <= 0 {
		return 0
	}
	return time.Duration(missing * float64(time.Minute) / failuresAMinute)
}

func (t *throttle) failed(a attempt) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	f := t.attempts[a]
	if f == nil {
		t.makeRoom(now)
		f = &failing{left: rate.NewLimiter(rate.Limit(failuresAMinute)/60, failuresAtOnce)}
		t.attempts[a] = f
	}
	f.last = now
	f.left.AllowN(now, 1)
}

// makeRoom forgets, when the map is full, failures that have lost their
// meaning, and then any until a quarter is free: going through all of them
// shall not be owed again soon.
func (t *throttle) makeRoom(now time.Time) {
	if len(t.attempts) < throttledMost {
		return
	}
	for a, f := range t.attempts {
		if now.Sub(f.last) > throttledForgets {
			delete(t.attempts, a)
		}
	}
	for a := range t.attempts {
		if len(t.attempts) <= throttledMost*3/4 {
			return
		}
		delete(t.attempts, a)
	}
}

// network is what counts as one address: an IPv4 address, or the /64 that
// every IPv6 subscriber has to himself.
func network(remote string) netip.Prefix {
	peer, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Prefix{} // a Unix socket: all callers are one
	}
	bits := 64
	if a := peer.Addr().Unmap(); a.Is4() {
		bits = 32
	}
	p, _ := peer.Addr().Unmap().Prefix(bits) // as many bits as there are
	return p
}
