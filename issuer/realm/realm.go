// Package realm is a realm and its settings: the tenant that owns clients,
// users, keys and sessions. It must not know any of those.
package realm

import (
	"context"
	"errors"
	"time"

	"github.com/tegata/tegata/internal/jose"
)

// ErrNotFound is returned when no such realm exists.
var ErrNotFound = errors.New("realm not found")

// Realm is one realm. Values are immutable once read.
type Realm struct {
	ID       string // UUID
	Name     string // as in /realms/{name}
	Issuer   string // iss of its tokens: base URL + "/realms/" + name; computed, not stored
	Enabled  bool
	Settings Settings
}

// Settings are a realm's settings, with the names and defaults of Keycloak's
// realm representation where it has them. The zero Duration means the default.
type Settings struct {
	SigningAlgorithm          jose.Algorithm `json:"defaultSignatureAlgorithm,omitempty"` // ES256
	AccessTokenType           string         `json:"accessTokenType,omitempty"`           // header typ: "at+jwt" (default) or "JWT"
	AccessTokenLifespan       time.Duration  `json:"accessTokenLifespan,omitempty"`       // 5 min
	SSOSessionIdleTimeout     time.Duration  `json:"ssoSessionIdleTimeout,omitempty"`     // 30 min
	SSOSessionMaxLifespan     time.Duration  `json:"ssoSessionMaxLifespan,omitempty"`     // 10 h
	AccessCodeLifespan        time.Duration  `json:"accessCodeLifespan,omitempty"`        // 60 s
	AccessCodeLifespanLogin   time.Duration  `json:"accessCodeLifespanLogin,omitempty"`   // 30 min
	OfflineSessionIdleTimeout time.Duration  `json:"offlineSessionIdleTimeout,omitempty"` // 30 d
	RefreshGrace              time.Duration  `json:"refreshGrace,omitempty"`              // 10 s, see store.md §3
	RefreshMaxReuse           int            `json:"refreshTokenMaxReuse,omitempty"`      // 3
	Scopes                    []string       `json:"scopes,omitempty"`                    // client scopes that exist besides the built-in ones
}

// WithDefaults returns s with every zero field set to its default.
func (s Settings) WithDefaults() Settings { panic("unbuilt") }

// Store keeps realms. sqlstore implements it.
type Store interface {
	Read(ctx context.Context, f func(View) error) error
	Write(ctx context.Context, f func(Tx) error) error
}

// View reads within one transaction.
type View interface {
	RealmByName(name string) (Realm, error) // ErrNotFound
	Realms() ([]Realm, error)
}

// Tx is a View that also writes. The closure may run twice.
type Tx interface {
	View
	PutRealm(Realm) error
}

// Realms is the service that doors use.
type Realms struct{}

// New returns the service. base is the issuer's public URL without a trailing slash.
func New(s Store, base string) *Realms { panic("unbuilt") }

// ByName returns an enabled or disabled realm with Issuer and default settings filled in.
func (r *Realms) ByName(ctx context.Context, name string) (Realm, error) { panic("unbuilt") }

// All returns every realm.
func (r *Realms) All(ctx context.Context) ([]Realm, error) { panic("unbuilt") }

// Put creates or replaces the realm of that name, keeping its ID.
func (r *Realms) Put(ctx context.Context, realm Realm) (Realm, error) { panic("unbuilt") }
