// Package claims says what tokens and UserInfo release about a person: what
// the granted scopes and the client's protocol mappers let out. It must not
// know how a token is signed, nor where people are kept.
//
// The claims that the protocol itself sets (iss, sub, exp, sid, rev …) are not
// its business; package token sets them, and lets nothing from here replace one.
package claims

import (
	"slices"
	"strings"

	"github.com/tegata/tegata/issuer/client"
	"github.com/tegata/tegata/issuer/user"
)

// Request is for whom claims are made.
type Request struct {
	Client client.Client
	User   user.User
	Scope  string // granted, space separated
}

// Claims are what is released, for each kind of recipient. The maps are not
// shared: who gets them may change them.
type Claims struct {
	Access   map[string]any // in access tokens
	ID       map[string]any // in ID tokens
	UserInfo map[string]any // at UserInfo, without sub
	Audience []string       // aud of access tokens; empty: the default
}

// For returns the claims of one person for one client.
func For(r Request) Claims {
	scopes := strings.Fields(r.Scope)
	return Claims{
		Access:   profile(r.User, scopes),
		ID:       profile(r.User, scopes),
		UserInfo: profile(r.User, scopes),
		Audience: slices.Clone(r.Client.Audience),
	}
}

// profile is what the scopes profile and email release (OpenID Connect Core
// §5.4). Keycloak 26 has it in every token.
func profile(u user.User, scopes []string) map[string]any {
	m := make(map[string]any)
	if slices.Contains(scopes, "profile") {
		m["preferred_username"] = u.Username
		set(m, "name", strings.TrimSpace(u.FirstName+" "+u.LastName))
		set(m, "given_name", u.FirstName)
		set(m, "family_name", u.LastName)
	}
	if slices.Contains(scopes, "email") && u.Email != "" {
		m["email"], m["email_verified"] = u.Email, u.EmailVerified
	}
	return m
}

func set(m map[string]any, name, value string) {
	if value != "" {
		m[name] = value
	}
}
