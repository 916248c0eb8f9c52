// Package client is clients and what each may have, in Keycloak's client
// model. It must not know sessions, tokens or HTTP.
//
// The idea: a Client is a value and its rules are methods without a store or
// a clock, so that every door asks the same question and gets one answer.
package client

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/issuer/recent"
)

// ErrNotFound is returned when no such client exists.
var ErrNotFound = errors.New("client not found")

// Client is one client of a realm. JSON names are those of Keycloak's client
// representation. Of secrets only hashes are kept, but for those that clients
// sign with.
type Client struct {
	ID       string `json:"id"` // UUID
	RealmID  string `json:"-"`
	ClientID string `json:"clientId"`
	Name     string `json:"name,omitempty"`
	Enabled  bool   `json:"enabled"`

	PublicClient            bool   `json:"publicClient"`
	ClientAuthenticatorType string `json:"clientAuthenticatorType,omitempty"` // how it authenticates, see the Auth… constants; empty: AuthSecret
	StandardFlowEnabled     bool   `json:"standardFlowEnabled"`
	ServiceAccountsEnabled  bool   `json:"serviceAccountsEnabled"`
	ConsentRequired         bool   `json:"consentRequired,omitempty"` // people are asked before it gets anything of theirs

	DirectAccessGrantsEnabled bool `json:"directAccessGrantsEnabled,omitempty"` // the password grant, see RFC 9700 §2.4

	RedirectURIs           []string `json:"redirectUris,omitempty"`
	PostLogoutRedirectURIs []string `json:"postLogoutRedirectUris,omitempty"`
	WebOrigins             []string `json:"webOrigins,omitempty"`
	DefaultClientScopes    []string `json:"defaultClientScopes,omitempty"`
	OptionalClientScopes   []string `json:"optionalClientScopes,omitempty"`
	Audience               []string `json:"audience,omitempty"` // aud of its access tokens

	// HiddenScopes are those default scopes that no scope value names. The realm
	// says which; ByClientID fills them in.
	HiddenScopes []string `json:"-"`

	Mappers          []realm.Mapper `json:"protocolMappers,omitempty"`  // besides those of its scopes
	FullScopeAllowed *bool          `json:"fullScopeAllowed,omitempty"` // see AllRoles
	ScopeRoles       realm.Roles    `json:"scopeMappings,omitzero"`     // beside its own, that its tokens may name if not all may
	ServiceAccount   realm.Roles    `json:"serviceAccount,omitzero"`    // roles that it has when it acts for itself

	FrontchannelLogout bool `json:"frontchannelLogout,omitempty"` // told of logouts by the browser, see FrontLogout

	JWKS    json.RawMessage `json:"jwks,omitempty"` // keys for private_key_jwt
	JWKSURI string          `json:"jwksUri,omitempty"`

	AccessTokenLifespan time.Duration     `json:"accessTokenLifespan,omitempty"` // 0: the realm's
	Attributes          map[string]string `json:"attributes,omitempty"`

	SecretHash     string    `json:"-"` // see HashSecret
	SecretSealed   []byte    `json:"-"` // instead, of a client that signs with its secret (client-secret-jwt)
	OldSecretHash  string    `json:"-"`
	OldSecretUntil time.Time `json:"-"`

	// Version is raised by the store with each Put; 0: not from a store.
	Version uint64 `json:"-"`
}

// Store keeps clients. sqlstore implements it.
type Store interface {
	Read(ctx context.Context, f func(View) error) error
	Write(ctx context.Context, f func(Tx) error) error
}

// View reads within one transaction.
type View interface {
	ClientByClientID(realmID, clientID string) (Client, error) // ErrNotFound
	Clients(realmID string) ([]Client, error)                  // by client id
}

// Tx is a View that also writes. The closure may run twice.
type Tx interface {
	View
	PutClient(Client) error // replaces the client of that realm and client id, which keeps its ID
}

// Clients is the service that doors use.
type Clients struct {
	store Store
	kept  *recent.Cache[key, Client]
}

// key is a client's name.
type key struct{ realmID, clientID string }

// New returns the service.
func New(s Store) *Clients {
	return &Clients{store: s, kept: recent.New[key, Client](nil, nil)}
}

// Keep keeps what ByClientID reads, until changes says that the store has
// changed. What it returns is then shared: nobody may change what is in it.
func (c *Clients) Keep(changes func() uint64, now func() time.Time) {
	c.kept = recent.New[key, Client](changes, now)
}

// ByClientID returns the client, also when disabled.
func (c *Clients) ByClientID(ctx context.Context, r realm.Realm, clientID string) (Client, error) {
	if !validClientID(clientID) {
		return Client{}, ErrNotFound
	}
	found, err := c.kept.Read(key{r.ID, clientID}, func() (found Client, err error) {
		err = c.store.Read(ctx, func(v View) (err error) {
			found, err = v.ClientByClientID(r.ID, clientID)
			return err
		})
		return found, err
	})
	if err != nil {
		return Client{}, fmt.Errorf("reading client: %w", err)
	}
	found.HiddenScopes = hiddenScopes(r, found.DefaultClientScopes)
	return found, nil
}

func hiddenScopes(r realm.Realm, names []string) []string {
	var hidden []string
	for _, name := range names {
		if scope, ok := r.Settings.ClientScope(name); ok && !scope.Shown() {
			hidden = append(hidden, name)
		}
	}
	return hidden
}

// Put creates or replaces the client of that ClientID, keeping its ID. What
// could never work or be safe is refused: among others a redirect URI with a
// wildcard, which Keycloak would take.
func (c *Clients) Put(ctx context.Context, cl Client) (Client, error) {
	if err := cl.check(); err != nil {
		return Client{}, err
	}
	fresh := cmp.Or(cl.ID, uuid.NewString())
	cl.Version = 0 // the store's to say
	err := c.store.Write(ctx, func(tx Tx) error {
		old, err := tx.ClientByClientID(cl.RealmID, cl.ClientID)
		switch {
		case err == nil:
			cl.ID = old.ID
		case errors.Is(err, ErrNotFound):
			cl.ID = fresh
		default:
			return err
		}
		return tx.PutClient(cl)
	})
	if err != nil {
		return Client{}, fmt.Errorf("writing client %q: %w", cl.ClientID, err)
	}
	return cl, nil
}
