package session

import (
	"encoding/json"
	"slices"
	"strings"
)

// ScopeOffline asks for a session that outlives the browser's (OpenID Connect
// Core §11).
const ScopeOffline = "offline_access"

// Asked is what an authorization was asked for beyond scopes, as it was
// granted. It stays with the chain of refresh tokens, since every token of the
// chain is under it.
type Asked struct {
	Resource []string        `json:"resource,omitempty"`              // RFC 8707
	Details  json.RawMessage `json:"authorization_details,omitempty"` // RFC 9396, an array
	Claims   json.RawMessage `json:"claims,omitempty"`                // OpenID Connect Core §5.5, an object
}

// IsZero reports whether nothing was asked.
func (a Asked) IsZero() bool {
	return len(a.Resource) == 0 && len(a.Details) == 0 && len(a.Claims) == 0
}

// Binding is the key or certificate that tokens are bound to; zero: to none.
type Binding struct {
	JKT string `json:"jkt,omitempty"`      // RFC 9449 §6.1: thumbprint of the key of DPoP proofs
	X5T string `json:"x5t#S256,omitempty"` // RFC 8705 §3.1: thumbprint of the client certificate
}

// provenBy reports whether a request that proved p may use what is bound to b.
func (b Binding) provenBy(p Binding) bool {
	return (b.JKT == "" || b.JKT == p.JKT) && (b.X5T == "" || b.X5T == p.X5T)
}

func offline(scope string) bool { return slices.Contains(strings.Fields(scope), ScopeOffline) }

// WithoutOffline is a scope for a token that opens no session of its own.
func WithoutOffline(scope string) string {
	return strings.Join(slices.DeleteFunc(strings.Fields(scope), func(s string) bool { return s == ScopeOffline }), " ")
}
