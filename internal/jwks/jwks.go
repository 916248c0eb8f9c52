// Package jwks keeps a remote key set: fetches it, caches it, refetches it
// when a token names a key it does not know, at most so often.
package jwks

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/tegata/tegata/internal/jose"
)

// Config configures a Remote.
type Config struct {
	URL        string // the jwks_uri; or, if Issuer is set instead, found by discovery
	Issuer     string
	HTTP       *http.Client
	MinRefetch time.Duration // at least this long between fetches provoked by unknown kids; default 5 s
	MaxAge     time.Duration // refetch at least this often; Cache-Control may shorten it; default 5 min
	Now        func() time.Time
	Logger     *slog.Logger
}

// Remote is one issuer's key set.
type Remote struct{}

// New checks the configuration; nothing is fetched yet.
func New(c Config) (*Remote, error) { panic("unbuilt") }

// Run keeps the set fresh until ctx ends.
func (r *Remote) Run(ctx context.Context) error { panic("unbuilt") }

// Current returns the set last fetched, or nil before the first success, and
// its generation, which rises with every change. Cheap; no I/O.
func (r *Remote) Current() (set *jose.KeySet, generation uint64) { panic("unbuilt") }

// ForKey returns a set for verifying a token of that kid: the current one if it
// has the kid, else, within the rate limit, one fetched now (single flight).
func (r *Remote) ForKey(ctx context.Context, kid string) (set *jose.KeySet, generation uint64, err error) {
	panic("unbuilt")
}
