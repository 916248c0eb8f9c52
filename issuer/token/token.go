package token

import (
	"context"
	"io"
	"time"

	"github.com/tegata/tegata/issuer/keys"
	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/revocation"
)

// Config configures Tokens.
type Config struct {
	Keys *keys.Keys
	Now  func() time.Time
	Rand io.Reader
}

// Tokens mints and reads the tokens of this issuer.
type Tokens struct{}

// New checks the configuration.
func New(c Config) (*Tokens, error) { panic("unbuilt") }

// Client is what minting needs to know of a client.
type Client struct {
	ClientID       string
	Audience       []string
	AllowedOrigins []string
	AccessLife     time.Duration // already resolved against the realm's
}

// Profile is what minting needs to know of a person.
type Profile struct {
	Username, Email, FirstName, LastName string
	EmailVerified                        bool
}

// Set is a token response's tokens.
type Set struct {
	AccessToken      string
	ExpiresIn        time.Duration
	RefreshToken     string // empty for client credentials
	RefreshExpiresIn time.Duration
	IDToken          string // empty without openid
	Scope            string
	SessionID        string
}

// MintUser mints the tokens of a user's grant. kind is the two-letter grant
// of the jti (ac, rt). nonce is empty on refresh.
func (t *Tokens) MintUser(ctx context.Context, r realm.Realm, c Client, p Profile, g session.Grant, kind, nonce string) (Set, error) {
	panic("unbuilt")
}

// MintClient mints a client-credentials access token (no sid; sub is the
// stable service account id of the client, Keycloak: service-account-{client}).
func (t *Tokens) MintClient(ctx context.Context, r realm.Realm, c Client, subject, scope string, rev revocation.Revision) (Set, error) {
	panic("unbuilt")
}

// Kind of a token that was read.
type Kind string

// The kinds, as the typ claim spells them.
const (
	Access  Kind = "Bearer"
	Refresh Kind = "Refresh"
	Offline Kind = "Offline"
	ID      Kind = "ID"
)

// Read is a token of ours whose signature, issuer and (unless it says so) exp hold.
type Read struct {
	Kind       Kind
	Claims     map[string]any // all claims, for introspection and userinfo
	Token      revocation.Token
	Audience   []string
	Scope      string
	Expires    time.Time
	Expired    bool
	FamilyID   string // refresh
	Generation uint64 // refresh
}

// Read verifies a compact token of realm r, whichever kind it is. An expired
// token is returned with Expired set; the caller decides (logout hints may be).
func (t *Tokens) Read(ctx context.Context, r realm.Realm, compact string) (Read, error) {
	panic("unbuilt")
}
