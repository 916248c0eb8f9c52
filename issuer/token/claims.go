package token

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/tegata/tegata/issuer/session"
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
	Nonce          string   `json:"nonce,omitempty"`
	SessionState   string   `json:"session_state,omitempty"`
	ACR            string   `json:"acr,omitempty"`
	AllowedOrigins []string `json:"allowed-origins,omitempty"`
	Scope          string   `json:"scope"`

	Confirmation *confirmation `json:"cnf,omitempty"`

	Details json.RawMessage `json:"authorization_details,omitempty"` // RFC 9396 §9.1
	Actor   json.RawMessage `json:"act,omitempty"`                   // RFC 8693 §4.1

	// UserInfo are names of claims. No protocol has them in a token; but what
	// was asked for belongs to one authorization of several that a session may
	// have, as the scope does.
	UserInfo []string `json:"userinfo_claims,omitempty"`

	// Rev is the revision of the state that the token vouches for; always
	// there, zero too: without it a token is judged by iat.
	Rev revocation.Revision `json:"rev"`
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

	Actor json.RawMessage `json:"act,omitempty"` // of an exchange alone

	// Rev is as in accessClaims, for the endpoints here that take ID tokens.
	Rev revocation.Revision `json:"rev"`
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

// confirmation is the member cnf (RFC 7800 §3.1), nil for a bearer token.
type confirmation struct {
	JKT string `json:"jkt,omitempty"`      // RFC 9449 §6.1
	X5T string `json:"x5t#S256,omitempty"` // RFC 8705 §3.1
}

func confirm(b session.Binding) *confirmation {
	if b == (session.Binding{}) {
		return nil
	}
	return &confirmation{JKT: b.JKT, X5T: b.X5T}
}

// typeOf is the typ claim of an access token, and its token_type.
func typeOf(b session.Binding) Kind {
	if b.JKT != "" {
		return typDPoP
	}
	return Access
}

// reserved are the claims that the protocol sets, here or in other tokens.
var reserved = map[string]bool{
	"exp": true, "nbf": true, "iat": true, "auth_time": true, "jti": true, "iss": true, "aud": true, "sub": true, "typ": true,
	"azp": true, "client_id": true, "sid": true, "session_state": true, "acr": true, "amr": true, "nonce": true,
	"at_hash": true, "c_hash": true, "s_hash": true, "allowed-origins": true, "scope": true, "userinfo_claims": true, "cnf": true, "rev": true,
	"authorization_details": true, "may_act": true, "act": true, "reuse_id": true, "gen": true,
}

// compose writes the protocol's claims and, behind them, more of which none
// has a reserved name.
func compose(protocol any, more map[string]any) ([]byte, error) {
	own, err := json.Marshal(protocol)
	if err != nil {
		return nil, fmt.Errorf("writing claims: %w", err)
	}
	allowed := make(map[string]any, len(more))
	for name, value := range more {
		if !reserved[name] {
			allowed[name] = value
		}
	}
	if len(allowed) == 0 {
		return own, nil
	}
	rest, err := json.Marshal(allowed)
	if err != nil {
		return nil, fmt.Errorf("writing released claims: %w", err)
	}
	own[len(own)-1] = ','
	return append(own, rest[1:]...), nil
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
