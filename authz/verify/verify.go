// Package verify turns a token into a verified one: issuer table, algorithms,
// types, keys or introspection, audience, time, and a bounded cache.
//
// It must not know routes, policies, revocations or where a token stood in a
// request; it fills in what a revocation is matched against and looks no further.
//
// The idea: the expensive work is done once per token, the work that can change
// its outcome on every use. What the token says of itself (signature, issuer,
// audience, types) cannot change while the issuer's keys stay the same, so the
// result is kept under the SHA-256 of the whole token together with the
// generation of the key set that it was verified with. The time, and whether
// that generation is still the current one, are looked at on every use, after
// the cache. A token that only its issuer can read is asked about (RFC 7662);
// the answer stands in the same cache, for seconds. A token that is bound to a
// key or to a certificate is accepted only with a proof of having it, looked at
// on every use likewise.
package verify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tegata/tegata/authz/turns"
	"github.com/tegata/tegata/internal/jose"
	"github.com/tegata/tegata/revocation"
)

// Errors of this package, the reason a token is refused; test with errors.Is.
// What a resource server says to each in WWW-Authenticate:
//
//	ErrProof          401  DPoP error="invalid_dpop_proof"   RFC 9449 §7.1
//	ErrNonce          401  DPoP error="use_dpop_nonce", and Nonce in the header DPoP-Nonce   RFC 9449 §9
//	ErrBinding        401  error="invalid_token", by both schemes if the token was meant for DPoP   RFC 9449 §7.1, RFC 8705 §3
//	ErrUnavailable    503  none
//	turns.ErrNone     503  none
//	all others        401  error="invalid_token"   RFC 6750 §3.1
var (
	ErrMalformed   = errors.New("malformed")
	ErrIssuer      = errors.New("unknown issuer")
	ErrAlgorithm   = errors.New("algorithm not allowed")
	ErrType        = errors.New("type not allowed")
	ErrKey         = errors.New("unknown key")
	ErrSignature   = errors.New("bad signature")
	ErrInactive    = errors.New("not active") // says its issuer
	ErrExpired     = errors.New("expired")
	ErrNotYet      = errors.New("not yet valid")
	ErrAudience    = errors.New("wrong audience")
	ErrClaims      = errors.New("required claim missing or of the wrong type")
	ErrBinding     = errors.New("not presented as it is bound")
	ErrProof       = errors.New("bad proof of possession")
	ErrNonce       = errors.New("proof of possession without a current nonce")
	ErrUnavailable = errors.New("issuer unavailable") // its keys, or its introspection: not the caller's fault: 503
)

// Issuer is one trusted issuer.
type Issuer struct {
	Issuer     string           // exact iss
	Audience   []string         // one of them must be in aud; empty needs InsecureAnyAudience
	Algorithms []jose.Algorithm // default ES256, RS256, EdDSA
	Types      []string         // default "at+jwt"
	Leeway     time.Duration    // default 5 s, at most 60 s
	JWKSURL    string           // default: by discovery
	ScopeClaim string           // default "scope"; string or array

	// Introspection asks the issuer about its tokens. nil: they are JWTs, and
	// its keys say all.
	Introspection *Introspection

	InsecureAnyAudience bool // accept any aud: a token meant for another API is then accepted here
}

// Config configures a Verifier.
type Config struct {
	Issuers    []Issuer
	DPoP       DPoP
	HTTP       *http.Client          // fetches keys; default http.DefaultClient
	Now        func() time.Time      // default time.Now
	Turns      *turns.Turns          // for checking signatures; nil: no bound
	CacheSize  int                   // tokens, default 50,000
	CacheBytes int                   // estimated, default 128 MiB
	Logger     *slog.Logger          // default: none
	Metrics    prometheus.Registerer // default: none

	// Before is the Verifier that this one replaces, or nil. Proofs that it
	// has seen are not taken again, and its nonces go on.
	Before *Verifier
}

// Token is a verified token. It is immutable and shared between requests.
type Token struct {
	Revocation revocation.Token
	Expires    time.Time // exp; leeway is granted on top. Zero: an introspected token of which the issuer does not say
	NotBefore  time.Time // nbf, or zero
	Scopes     []string  // in the token's order, each once
	Binding    Binding   // what it is bound to, and was proved
	payload    string    // of which Document makes the claims
	whole      sync.Once
	document   *ast.Term

	// AliveAt and Memo are for the owner above: verify never reads them.
	// AliveAt is a revocation.Set's generation, plus one, at which the token
	// was last found alive. Memo is what is remembered of its decisions.
	AliveAt atomic.Uint64
	Memo    atomic.Value
}

// Verifier turns compact tokens into verified ones, through a bounded cache.
type Verifier struct {
	issuers map[string]*issuer // by iss
	opaque  *issuer            // whom to ask about opaque tokens, or nil
	reads   map[string]bool    // the claims that are looked at
	now     func() time.Time
	cache   *cache
	proofs  *proofs
	turns   *turns.Turns
	waits   waits
	metrics *metrics
}

// New checks the configuration. Nothing is fetched yet.
func New(c Config) (*Verifier, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	v := &Verifier{
		issuers: make(map[string]*issuer, len(c.Issuers)),
		reads:   readsOf(c.Issuers),
		now:     c.Now,
		turns:   c.Turns,
		cache:   newCache(c.CacheSize, c.CacheBytes),
	}
	if v.proofs, err = newProofs(c.DPoP, c.Before); err != nil {
		return nil, fmt.Errorf("verify: DPoP: %w", err)
	}
	if v.metrics, err = newMetrics(c.Metrics, v.cache); err != nil {
		return nil, fmt.Errorf("verify: registering metrics: %w", err)
	}
	for _, i := range c.Issuers {
		if v.issuers[i.Issuer] != nil {
			return nil, fmt.Errorf("verify: issuer %q: configured twice", i.Issuer)
		}
		if v.issuers[i.Issuer], err = newIssuer(i, c, v.metrics); err != nil {
			return nil, fmt.Errorf("verify: issuer %q: %w", i.Issuer, err)
		}
	}
	if name, err := opaqueIssuer(c.Issuers); err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	} else if name != "" {
		v.opaque = v.issuers[name]
	}
	return v, nil
}

// Run keeps the issuers' keys fresh until ctx ends. It returns nil then,
// when the last of its goroutines is gone.
func (v *Verifier) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, i := range v.issuers {
		if i.keys != nil {
			wg.Go(func() { _ = i.keys.Run(ctx) }) // it only ever returns ctx's error
		}
	}
	wg.Wait()
	<-ctx.Done()
	v.waits.end()
	return nil
}

// Ready is nil once the keys of every issuer were fetched, else ErrUnavailable
// naming those issuers.
func (v *Verifier) Ready() error {
	var errs []error
	for name, i := range v.issuers {
		if i.keys == nil {
			continue // asked about each token
		}
		if set, _ := i.keys.Current(); set == nil {
			errs = append(errs, fmt.Errorf("%w: %s", ErrUnavailable, name))
		}
	}
	return errors.Join(errs...)
}

func (v *Verifier) verify(ctx context.Context, compact string) (*Token, error) {
	if len(compact) > jose.MaxCompact {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrMalformed, jose.MaxCompact)
	}
	key := digestOf(compact)
	e, now := v.cache.get(key), v.now()
	if e != nil && e.current(now) {
		v.metrics.hits.Inc()
		return e.token, e.issuer.checkTime(e.token, now)
	}
	v.metrics.misses.Inc()
	e, err := v.miss(ctx, key, compact, e)
	if err != nil {
		return nil, err
	}
	return e.token, nil
}

// miss does all of the work for one token. old is what was known of it, or nil.
func (v *Verifier) miss(ctx context.Context, key digest, compact string, old *entry) (*entry, error) {
	i, u, err := v.whose(compact)
	if err != nil {
		return nil, err
	}
	if i.knows(compact, u.Header()) {
		return v.judge(ctx, i, u, key, compact, old)
	}
	return v.waits.do(ctx, func(ctx context.Context) (*entry, error) {
		return v.judge(ctx, i, u, key, compact, old)
	})
}

// judge keeps what it accepts, and that alone.
func (v *Verifier) judge(ctx context.Context, i *issuer, u unverified, key digest, compact string, old *entry) (*entry, error) {
	var e *entry
	var err error
	if i.asks(compact) {
		e, err = i.introspect(ctx, key, compact, old)
	} else {
		e, err = i.verify(ctx, u, v.turns)
	}
	if err == nil {
		err = i.checkTime(e.token, v.now())
	}
	if err != nil {
		return nil, fmt.Errorf("token of %s: %w", i.trust.Issuer, err)
	}
	return v.cache.put(key, e), nil
}

// unverified is a JWT that was taken apart; nothing of it is believed yet.
type unverified struct {
	jose.Parsed
	document
}

// whose is the issuer that a JWT names, or the one whose opaque tokens are
// taken.
func (v *Verifier) whose(compact string) (*issuer, unverified, error) {
	if v.opaque != nil && !isJWT(compact) {
		return v.opaque, unverified{}, nil
	}
	u, err := takeApart(compact, v.reads)
	if err != nil {
		return nil, u, err
	}
	name, ok := u.claims["iss"].(string)
	if !ok {
		return nil, u, wrongClaim("iss")
	}
	i := v.issuers[name]
	if i == nil {
		return nil, u, ErrIssuer
	}
	return i, u, nil
}

// takeApart reads the claims that are named, all if that is nil.
func takeApart(compact string, reads map[string]bool) (u unverified, err error) {
	if u.Parsed, err = jose.Parse(compact); err == nil {
		u.document, err = readDocument(string(u.Payload()), reads)
	}
	if err != nil {
		return u, refused(err)
	}
	return u, nil
}
