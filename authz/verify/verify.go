package verify

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/tegata/tegata/internal/jose"
	"github.com/tegata/tegata/revocation"
)

// Errors of this package, the reason a token is refused; test with errors.Is.
var (
	ErrMalformed   = errors.New("malformed")
	ErrIssuer      = errors.New("unknown issuer")
	ErrAlgorithm   = errors.New("algorithm not allowed")
	ErrType        = errors.New("type not allowed")
	ErrKey         = errors.New("unknown key")
	ErrSignature   = errors.New("bad signature")
	ErrExpired     = errors.New("expired")
	ErrNotYet      = errors.New("not yet valid")
	ErrAudience    = errors.New("wrong audience")
	ErrClaims      = errors.New("required claim missing or of the wrong type")
	ErrUnavailable = errors.New("keys of the issuer unavailable") // not the caller's fault: 503
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

	InsecureAnyAudience bool // accept any aud: a token meant for another API is then accepted here
}

// Config configures a Verifier.
type Config struct {
	Issuers    []Issuer
	HTTP       *http.Client
	Now        func() time.Time
	CacheSize  int // tokens, default 50,000
	CacheBytes int // default 128 MiB
	Logger     *slog.Logger
	Metrics    prometheus.Registerer
}

// Token is a verified token. It is immutable and shared between requests.
type Token struct {
	Revocation revocation.Token
	Expires    time.Time
	NotBefore  time.Time
	Scopes     []string
	// Input is the input.token document: issuer, claims, scopes (a set),
	// subject, client, session. Ready-made, shared, never changed.
	Input *ast.Term

	// AliveAt and Memo are for the owner above: verify never reads them.
	// AliveAt is a revocation.Set's generation, plus one, at which the token
	// was last found alive. Memo is what is remembered of its decisions.
	AliveAt atomic.Uint64
	Memo    atomic.Value
}

// Verifier turns compact tokens into verified ones, through a bounded cache.
type Verifier struct{}

// New checks the configuration.
func New(c Config) (*Verifier, error) { panic("unbuilt") }

// Run keeps the issuers' keys fresh until ctx ends.
func (v *Verifier) Run(ctx context.Context) error { panic("unbuilt") }

// Ready is nil once the keys of every issuer were fetched.
func (v *Verifier) Ready() error { panic("unbuilt") }

// Verify returns the verified token or one of the errors above (wrapped with
// detail for the log, never containing the token). exp, nbf and the key set's
// generation are checked on every use, after the cache. Revocation is not its business.
func (v *Verifier) Verify(ctx context.Context, compact string) (*Token, error) { panic("unbuilt") }
