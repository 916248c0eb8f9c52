package verify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/tegata/tegata/authz/turns"
	"github.com/tegata/tegata/internal/jose"
	"github.com/tegata/tegata/internal/jwks"
)

// Defaults and limits of the configuration.
const (
	defaultLeeway     = 5 * time.Second
	maxLeeway         = 60 * time.Second
	defaultCacheSize  = 50_000
	defaultCacheBytes = 128 << 20
	defaultScopeClaim = "scope"
	accessTokenType   = "at+jwt" // RFC 9068 §2.1
)

// supported are the algorithms that an issuer can be trusted with: no
// symmetric one, where whoever can verify can sign.
var supported = []jose.Algorithm{
	jose.ES256, jose.ES384, jose.ES512, jose.RS256, jose.RS384, jose.RS512,
	jose.PS256, jose.PS384, jose.PS512, jose.EdDSA,
}

// withDefaults fills in what was left out, and says what is wrong with the rest.
func (c Config) withDefaults() (Config, error) {
	if len(c.Issuers) == 0 {
		return c, errors.New("no issuer is trusted")
	}
	if c.CacheSize < 0 || c.CacheBytes < 0 {
		return c, errors.New("negative cache size")
	}
	if c.CacheSize == 0 {
		c.CacheSize = defaultCacheSize
	}
	if c.CacheBytes == 0 {
		c.CacheBytes = defaultCacheBytes
	}
	if c.HTTP == nil {
		c.HTTP = http.DefaultClient
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

func (i Issuer) withDefaults() (Issuer, error) {
	switch {
	case i.Issuer == "":
		return i, errors.New("no name")
	case len(i.Audience) == 0 && !i.InsecureAnyAudience:
		return i, errors.New("no audience: tokens meant for another API would be accepted")
	case len(i.Audience) > 0 && i.InsecureAnyAudience:
		return i, errors.New("an audience and any audience exclude each other")
	case slices.Contains(i.Audience, ""):
		return i, errors.New("empty audience")
	case i.Leeway < 0 || i.Leeway > maxLeeway:
		return i, fmt.Errorf("leeway %v, want at most %v", i.Leeway, maxLeeway)
	}
	if i.Leeway == 0 {
		i.Leeway = defaultLeeway
	}
	if i.ScopeClaim == "" {
		i.ScopeClaim = defaultScopeClaim
	}
	if len(i.Types) == 0 {
		i.Types = []string{accessTokenType}
	}
	if len(i.Algorithms) == 0 {
		i.Algorithms = []jose.Algorithm{jose.ES256, jose.RS256, jose.EdDSA}
	}
	for _, a := range i.Algorithms {
		if !slices.Contains(supported, a) {
			return i, fmt.Errorf("algorithm %q is not supported", a)
		}
	}
	if i.Introspection == nil {
		return i, nil
	}
	introspection, err := i.Introspection.withDefaults()
	if err != nil {
		return i, fmt.Errorf("introspection: %w", err)
	}
	i.Introspection = &introspection
	return i, nil
}

// signs reports whether the issuer's keys say all about some of its tokens.
func (i Issuer) signs() bool { return i.Introspection == nil || i.Introspection.OpaqueOnly }

// warn about what was loosened on purpose.
func (i Issuer) warn(log *slog.Logger) {
	if i.InsecureAnyAudience {
		log.Warn("any audience is accepted: tokens meant for another API are accepted here", "issuer", i.Issuer)
	}
	for _, t := range i.Types {
		if i.signs() && !strings.EqualFold(strings.TrimPrefix(t, "application/"), accessTokenType) {
			log.Warn("a general token type is accepted: only audience and claims tell access tokens from others",
				"issuer", i.Issuer, "type", t)
		}
	}
}

// issuer is a trusted issuer at work.
type issuer struct {
	trust        Issuer
	keys         *jwks.Remote  // nil if it is asked about all of its tokens
	introspector *introspector // nil if it is asked about none
}

func newIssuer(i Issuer, c Config, m *metrics) (*issuer, error) {
	i, err := i.withDefaults()
	if err != nil {
		return nil, err
	}
	i.warn(c.Logger)
	made := &issuer{trust: i}
	if i.Introspection != nil {
		made.introspector = newIntrospector(*i.Introspection, i.Issuer, c, m)
	}
	if !i.signs() {
		return made, jwks.CheckURL(i.Issuer)
	}
	source := jwks.Config{URL: i.JWKSURL, Many: true, HTTP: m.counted(c.HTTP, i.Issuer), Now: c.Now, Logger: c.Logger}
	if source.URL == "" {
		source.Issuer = i.Issuer
	}
	if made.keys, err = jwks.New(source); err != nil {
		return nil, err
	}
	return made, nil
}

// asks reports whether a token is one to ask the issuer about.
func (i *issuer) asks(compact string) bool {
	return i.keys == nil || i.introspector != nil && !isJWT(compact)
}

// knows reports whether a token can be judged without waiting for the issuer.
func (i *issuer) knows(compact string, h jose.Header) bool {
	if i.asks(compact) {
		return false
	}
	set, _ := i.keys.Current()
	return set != nil && (h.KeyID == "" || set.Has(h.KeyID))
}

// verify judges a token that claims to be of this issuer. The cheap checks come
// first: what is never accepted must not make anybody fetch keys.
func (i *issuer) verify(ctx context.Context, u unverified, t *turns.Turns) (*entry, error) {
	h := u.Header()
	if !slices.Contains(i.trust.Algorithms, h.Algorithm) {
		return nil, ErrAlgorithm
	}
	set, generation, err := i.keys.ForKey(ctx, h.KeyID)
	if err != nil {
		return nil, refused(err)
	}
	if err := t.Take(ctx); err != nil { // not sooner: a turn must not wait for keys
		return nil, err
	}
	defer t.Give()
	if err := set.VerifyParsed(u.Parsed, jose.Accept{Algorithms: i.trust.Algorithms, Types: i.trust.Types}); err != nil {
		return nil, refused(err)
	}
	if h.KeyID == "" { // allowed in a set of one key
		h.KeyID = set.Keys()[0].ID
	}
	token, size, err := i.read(h, u)
	if err != nil {
		return nil, err
	}
	return &entry{token: token, issuer: i, generation: generation, size: size}, nil
}

// checkTime holds a token against the clock (RFC 7519 §4.1.4 and §4.1.5).
func (i *issuer) checkTime(t *Token, now time.Time) error {
	switch {
	case !t.Expires.IsZero() && !now.Before(t.Expires.Add(i.trust.Leeway)):
		return ErrExpired
	case now.Before(t.NotBefore.Add(-i.trust.Leeway)):
		return ErrNotYet
	case now.Before(t.Revocation.IssuedAt.Add(-i.trust.Leeway)):
		return fmt.Errorf("%w: issued in the future", ErrNotYet)
	}
	return nil
}

// refused translates what stands below into this package's errors. Their
// detail is kept as text: it is for the log, and the errors are ours alone.
func refused(err error) error {
	for _, pair := range [...][2]error{
		{jose.ErrMalformed, ErrMalformed},
		{jose.ErrAlgorithm, ErrAlgorithm},
		{jose.ErrType, ErrType},
		{jose.ErrUnknownKey, ErrKey},
		{jose.ErrSignature, ErrSignature},
	} {
		if errors.Is(err, pair[0]) {
			return fmt.Errorf("%w: %v", pair[1], err)
		}
	}
	return fmt.Errorf("%w: %v", ErrUnavailable, err) // jwks.ErrUnavailable, as a rule; not the caller's fault
}
