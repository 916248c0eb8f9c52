// Package token mints this issuer's tokens and reads them back: claims and
// signature of every token kind, in Keycloak 26's shape plus RFC 9068.
//
// It must not know HTTP, stores or who may have which token: what it mints was
// decided before, and whether a token that it reads is still alive is
// session.Alive's question.
//
// The idea: a token states what a session.Grant vouches for and nothing later.
// rev is the grant's revision, exp is never beyond the grant's end. Access and
// ID tokens are signed with the realm's key for everybody; refresh and offline
// tokens with HS512 for this issuer alone, and are fully determined by the row
// of their family, so that a lost answer can be given again.
//
//	kind     header typ           signed with   typ claim   jti
//	access   at+jwt (or JWT)      realm's key   Bearer      onrtac:… ofrtac:… trrtcc:…
//	ID       JWT                  realm's key   ID          UUID
//	refresh  JWT                  HS512         Refresh     HMAC(family, generation)
//	offline  JWT                  HS512         Offline     HMAC(family, generation)
package token

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"

	"github.com/tegata/tegata/internal/jose"
	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/revocation"
)

// ErrInvalid is what every token that cannot be believed comes to; errors that
// are not ErrInvalid are failures of ours. Test with errors.Is.
var ErrInvalid = errors.New("invalid token")

// ErrSessionOver is MintUser's error when a session ends within this second: it has no
// time left that a token could state.
var ErrSessionOver = errors.New("the session is over")

// Keys are the realm's keys; *keys.Keys is one.
type Keys interface {
	// Signer is the key that signs with an algorithm; empty: the realm's.
	Signer(ctx context.Context, r realm.Realm, alg jose.Algorithm) (jose.Signer, error)
	Own(ctx context.Context, r realm.Realm) (kid string, key []byte, err error)
	Public(ctx context.Context, r realm.Realm) (*jose.KeySet, error)
	// The same, read again: for a key that is not among them.
	OwnAgain(ctx context.Context, r realm.Realm) (kid string, key []byte, err error)
	PublicAgain(ctx context.Context, r realm.Realm) (*jose.KeySet, error)
}

// Config configures Tokens.
type Config struct {
	Keys Keys
	Now  func() time.Time
	Rand io.Reader // of jti
}

// Tokens mints and reads the tokens of this issuer.
type Tokens struct {
	keys Keys
	now  func() time.Time
	rand io.Reader
}

// New checks the configuration.
func New(c Config) (*Tokens, error) {
	if c.Keys == nil || c.Now == nil || c.Rand == nil {
		return nil, errors.New("token: Keys, Now and Rand are required")
	}
	return &Tokens{keys: c.Keys, now: c.Now, rand: c.Rand}, nil
}

// Client is what minting needs to know of a client.
type Client struct {
	ClientID       string
	AllowedOrigins []string
	AccessLife     time.Duration // already resolved against the realm's

	AccessAlgorithm, IDAlgorithm jose.Algorithm // that the client wants; empty: the realm's
}

// Claims are what tokens say beside the protocol's own claims, none of which
// they can replace.
type Claims struct {
	Access   map[string]any
	ID       map[string]any
	Audience []string // of the access token; none: "account", as Keycloak (RFC 9068 §3 wants a default)
	UserInfo []string // that UserInfo is to say beyond the scope, see Read

	Nonce, SessionState bool // whether the access token has nonce, and session_state, as Keycloak's of old
}

// Order is what is to be minted for a person.
type Order struct {
	Client  Client
	Grant   session.Grant
	Subject string          // sub, what the client knows the user by; empty: the user's id
	Kind    string          // two letters of the jti, Keycloak's: ac code, rt refresh, ro password, dg device, te exchange, ag assertion
	Nonce   string          // of the authorization request; empty on refresh
	Binding session.Binding // what the access token is bound to (cnf)
	Claims  Claims
	Actor   json.RawMessage // who acts for the person (claim act, RFC 8693 §4.1); nil: nobody

	NoID      bool // also with scope openid
	NoRefresh bool // needs no family in the Grant
}

// ClientOrder is what is to be minted for a client itself.
type ClientOrder struct {
	Client  Client
	Subject string // id of its service account
	Scope   string
	Rev     revocation.Revision
	Binding session.Binding
	Claims  Claims

	// Of a token that was exchanged for another's: who acts for the client that
	// it is about, and when that one's ends; zero: never.
	Exchanged bool
	Actor     json.RawMessage
	Expires   time.Time
}

// Set is a token response's tokens.
type Set struct {
	AccessToken      string
	ExpiresIn        time.Duration
	RefreshToken     string        // empty for client credentials
	RefreshExpiresIn time.Duration // 0: does not expire by itself (offline)
	IDToken          string        // empty without openid
	Scope            string
	SessionID        string
	Type             string // token_type of the access token: Bearer or DPoP
}

// Kind of a token that was read.
type Kind string

// The kinds, as the typ claim spells them.
const (
	Access  Kind = "Bearer" // or DPoP, if it is bound to a key
	Refresh Kind = "Refresh"
	Offline Kind = "Offline"
	ID      Kind = "ID"
)

// Header typ values. Access tokens of earlier settings stay readable.
const (
	typJWT    = "JWT"
	typAccess = "at+jwt" // RFC 9068 §2.1

	typDPoP Kind = "DPoP" // claim typ of an access token that is bound to a key (Keycloak 26)
)

// Read is a token of ours whose signature, issuer and (unless it says so) exp hold.
type Read struct {
	Kind       Kind
	Claims     map[string]any // all claims, for introspection and userinfo
	Token      revocation.Token
	Audience   []string
	Scope      string
	Expires    time.Time // zero: never (offline)
	Expired    bool
	Binding    session.Binding // access: what it is bound to (cnf)
	UserInfo   []string        // access: claims that were named for UserInfo (OpenID Connect Core §5.5)
	FamilyID   string          // refresh
	Generation uint64          // refresh
}

// newID is a random UUID, with a prefix of Keycloak's six letters or none.
func (t *Tokens) newID(prefix string) (string, error) {
	id, err := uuid.NewRandomFromReader(t.rand)
	if err != nil {
		return "", fmt.Errorf("making jti: %w", err)
	}
	if prefix == "" {
		return id.String(), nil
	}
	return prefix + ":" + id.String(), nil
}
