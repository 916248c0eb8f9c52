// Package client is clients and what each may have, in Keycloak's client
// model. It must not know sessions, tokens or HTTP.
package client

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/tegata/tegata/issuer/realm"
)

// ErrNotFound is returned when no such client exists.
var ErrNotFound = errors.New("client not found")

// Client is one client of a realm. JSON names are those of Keycloak's client
// representation. Secrets are kept hashed and never leave the package.
type Client struct {
	ID       string `json:"id"` // UUID
	RealmID  string `json:"-"`
	ClientID string `json:"clientId"`
	Name     string `json:"name,omitempty"`
	Enabled  bool   `json:"enabled"`

	PublicClient            bool   `json:"publicClient"`
	ClientAuthenticatorType string `json:"clientAuthenticatorType,omitempty"` // "client-secret" (default) or "client-jwt"
	StandardFlowEnabled     bool   `json:"standardFlowEnabled"`
	ServiceAccountsEnabled  bool   `json:"serviceAccountsEnabled"`

	RedirectURIs           []string `json:"redirectUris,omitempty"`
	PostLogoutRedirectURIs []string `json:"postLogoutRedirectUris,omitempty"`
	WebOrigins             []string `json:"webOrigins,omitempty"`
	DefaultClientScopes    []string `json:"defaultClientScopes,omitempty"`
	OptionalClientScopes   []string `json:"optionalClientScopes,omitempty"`
	Audience               []string `json:"audience,omitempty"` // aud of its access tokens

	JWKS    json.RawMessage `json:"jwks,omitempty"` // keys for private_key_jwt
	JWKSURI string          `json:"jwksUri,omitempty"`

	AccessTokenLifespan time.Duration     `json:"accessTokenLifespan,omitempty"` // 0: the realm's
	Attributes          map[string]string `json:"attributes,omitempty"`

	SecretHash     string    `json:"-"` // see HashSecret
	OldSecretHash  string    `json:"-"`
	OldSecretUntil time.Time `json:"-"`
}

// HashSecret hashes a high-entropy client secret for storage (SHA-256).
func HashSecret(secret string) string { panic("unbuilt") }

// CheckSecret reports, in constant time, whether secret is the client's
// current one, or its old one before its end.
func (c Client) CheckSecret(secret string, now time.Time) bool { panic("unbuilt") }

// Grantable returns what of the requested scopes the client may have: its
// default scopes always, its optional ones when asked for, in a stable order
// ("openid" is asked for like any other). Anything else is in refused.
func (c Client) Grantable(requested []string) (granted, refused []string) { panic("unbuilt") }

// AllowsRedirect reports whether uri is registered: exact match, except that
// for loopback IP redirects any port matches (RFC 8252 §7.3).
func (c Client) AllowsRedirect(uri string) bool { panic("unbuilt") }

// AllowsPostLogout is AllowsRedirect for post_logout_redirect_uri; "+" stands
// for the redirect URIs.
func (c Client) AllowsPostLogout(uri string) bool { panic("unbuilt") }

// Store keeps clients. sqlstore implements it.
type Store interface {
	Read(ctx context.Context, f func(View) error) error
	Write(ctx context.Context, f func(Tx) error) error
}

// View reads within one transaction.
type View interface {
	ClientByClientID(realmID, clientID string) (Client, error) // ErrNotFound
	Clients(realmID string) ([]Client, error)
}

// Tx is a View that also writes. The closure may run twice.
type Tx interface {
	View
	PutClient(Client) error
}

// Clients is the service that doors use.
type Clients struct{}

// New returns the service.
func New(s Store) *Clients { panic("unbuilt") }

// ByClientID returns the client, also when disabled.
func (c *Clients) ByClientID(ctx context.Context, r realm.Realm, clientID string) (Client, error) {
	panic("unbuilt")
}

// Put creates or replaces the client of that ClientID, keeping its ID.
func (c *Clients) Put(ctx context.Context, cl Client) (Client, error) { panic("unbuilt") }
