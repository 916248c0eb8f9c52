package token

import (
	"slices"
	"strings"

	"github.com/tegata/tegata/revocation"
)

// defaultAudience is the aud of a client that has none: Keycloak's, whose
// default roles belong to the client "account". RFC 9068 §2.2 requires an aud.
const defaultAudience = "account"

// accessClaims are the claims of an access token (RFC 9068 §2.2, Keycloak 26),
// in Keycloak's order.
type accessClaims struct {
	Expires        int64    `json:"exp"`
	IssuedAt       int64    `json:"iat"`
	AuthTime       int64    `json:"auth_time,omitempty"`
	ID             string   `json:"jti"`
	Issuer         string   `json:"iss"`
	Audience       any      `json:"aud"`
	Subject        string   `json:"sub"`
	Type           Kind     `json:"typ"`
	Client         string   `json:"azp"`
	ClientID       string   `json:"client_id"` // RFC 9068
	SessionID      string   `json:"sid,omitempty"`
	ACR            string   `json:"acr,omitempty"`
	AllowedOrigins []string `json:"allowed-origins,omitempty"`
	Scope          string   `json:"scope"`

	// Rev is the revision of the state that the token vouches for; always
	// there, zero too: without it a token is judged by iat.
	Rev revocation.Revision `json:"rev"`
	profileClaims
}

// idClaims are the claims of an ID token (OpenID Connect Core §2, Keycloak 26).
type idClaims struct {
	Expires   int64  `json:"exp"`
	IssuedAt  int64  `json:"iat"`
	AuthTime  int64  `json:"auth_time,omitempty"`
	ID        string `json:"jti"`
	Issuer    string `json:"iss"`
	Audience  string `json:"aud"`
	Subject   string `json:"sub"`
	Type      Kind   `json:"typ"`
	Client    string `json:"azp"`
	Nonce     string `json:"nonce,omitempty"`
	SessionID string `json:"sid,omitempty"`
	TokenHash string `json:"at_hash"`
	ACR       string `json:"acr,omitempty"`

	// Rev is as in accessClaims, for the endpoints here that take ID tokens.
	Rev revocation.Revision `json:"rev"`
	profileClaims
}

// refreshClaims are the claims of a refresh or offline token. Every one comes
// from the family's row or from what never changes in its session: see store.md §3.
type refreshClaims struct {
	Expires    int64  `json:"exp,omitempty"`
	IssuedAt   int64  `json:"iat"`
	ID         string `json:"jti"`
	Issuer     string `json:"iss"`
	Audience   string `json:"aud"`
	Subject    string `json:"sub"`
	Type       Kind   `json:"typ"`
	Client     string `json:"azp"`
	SessionID  string `json:"sid"`
	Scope      string `json:"scope"`
	FamilyID   string `json:"reuse_id"` // as Keycloak calls it
	Generation uint64 `json:"gen"`
}

// profileClaims are what the scopes profile and email release (OpenID Connect
// Core §5.4); Keycloak puts them in access tokens too.
type profileClaims struct {
	EmailVerified *bool  `json:"email_verified,omitempty"`
	Name          string `json:"name,omitempty"`
	Username      string `json:"preferred_username,omitempty"`
	GivenName     string `json:"given_name,omitempty"`
	FamilyName    string `json:"family_name,omitempty"`
	Email         string `json:"email,omitempty"`
}

func (p Profile) claims(scope string) profileClaims {
	var c profileClaims
	if hasScope(scope, "profile") {
		c.Name = strings.TrimSpace(p.FirstName + " " + p.LastName)
		c.Username = p.Username
		c.GivenName, c.FamilyName = p.FirstName, p.LastName
	}
	if hasScope(scope, "email") && p.Email != "" {
		c.Email, c.EmailVerified = p.Email, &p.EmailVerified
	}
	return c
}

func hasScope(scope, name string) bool {
	return slices.Contains(strings.Fields(scope), name)
}

// audience is a string when there is one, as Keycloak writes it (RFC 7519 §4.1.3).
func audience(names []string) any {
	switch len(names) {
	case 0:
		return defaultAudience
	case 1:
		return names[0]
	default:
		return names
	}
}
