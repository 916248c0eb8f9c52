package client

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"slices"
	"time"

	"github.com/tegata/tegata/internal/jose"
)

// hashPrefix names the hash, so that a stronger one can stand beside it.
const hashPrefix = "sha256:"

// hashSize is the length of what HashSecret returns.
const hashSize = len(hashPrefix) + 2*sha256.Size

// HashSecret hashes a high-entropy client secret for storage: "sha256:" and
// the hex of SHA-256. A slow hash would protect secrets that can be guessed;
// clients' secrets are made by machines and checked with every token request.
func HashSecret(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hashPrefix + hex.EncodeToString(sum[:])
}

// CheckSecret reports, in constant time, whether secret is the client's
// current one, or its old one before its end. A client without a secret has
// none that is right, and takes as long to say so.
func (c Client) CheckSecret(secret string, now time.Time) bool {
	hash := []byte(HashSecret(secret))
	current := sameHash(hash, c.SecretHash)
	old := sameHash(hash, c.OldSecretHash)
	if !now.Before(c.OldSecretUntil) {
		old = 0
	}
	return current|old == 1
}

// sameHash compares in a time that does not tell whether stored is empty.
func sameHash(hash []byte, stored string) int {
	var want [hashSize]byte
	copy(want[:], stored)
	return subtle.ConstantTimeCompare(hash, want[:]) & subtle.ConstantTimeEq(int32(len(stored)), int32(hashSize))
}

// Attributes by which a client asks for signatures of its own, as in Keycloak.
const (
	attrAccessAlgorithm = "access.token.signed.response.alg"
	attrIDAlgorithm     = "id.token.signed.response.alg"

	attrResponseAlgorithm = "authorization.signed.response.alg"
	attrInfoAlgorithm     = "user.info.response.signature.alg"

	attrIntrospectionAlgorithm = "introspection.signed.response.alg" // not Keycloak's
)

// AccessTokenAlgorithm is what the client's access tokens are signed with;
// empty: the realm's.
func (c Client) AccessTokenAlgorithm() jose.Algorithm {
	return jose.Algorithm(c.Attributes[attrAccessAlgorithm])
}

// IDTokenAlgorithm is what the client's ID tokens are signed with; empty: the
// realm's.
func (c Client) IDTokenAlgorithm() jose.Algorithm {
	return jose.Algorithm(c.Attributes[attrIDAlgorithm])
}

// ResponseAlgorithm is what authorization responses to the client are signed
// with when it wants them signed (JARM §3); empty: the realm's.
func (c Client) ResponseAlgorithm() jose.Algorithm {
	return jose.Algorithm(c.Attributes[attrResponseAlgorithm])
}

// UserInfoAlgorithm is what the client's UserInfo answers are signed with;
// empty: they are plain JSON (OpenID Connect Core §5.3.2).
func (c Client) UserInfoAlgorithm() jose.Algorithm {
	return jose.Algorithm(c.Attributes[attrInfoAlgorithm])
}

// IntrospectionAlgorithm is what introspections that the client asks for are
// signed with when it wants them signed (RFC 9701 §6); empty: the realm's.
func (c Client) IntrospectionAlgorithm() jose.Algorithm {
	return jose.Algorithm(c.Attributes[attrIntrospectionAlgorithm])
}

// AllRoles reports whether its tokens name every role that somebody has
// (Keycloak's fullScopeAllowed, the default), or only its own and those of
// ScopeRoles and of the granted client scopes.
func (c Client) AllRoles() bool { return c.FullScopeAllowed == nil || *c.FullScopeAllowed }

// openID is the scope that every client may ask for: it is what makes a
// request one of OpenID Connect (Core §3.1.2.1), not a permission.
const openID = "openid"

// Grantable returns what of the requested scopes the client may have: its
// default scopes always, its optional ones and "openid" when asked for, in a
// stable order that does not depend on the request. Anything else is in
// refused. A hidden default scope is granted without being named.
func (c Client) Grantable(requested []string) (granted, refused []string) {
	for _, scope := range requested {
		if scope != openID && !slices.Contains(c.DefaultClientScopes, scope) && !slices.Contains(c.OptionalClientScopes, scope) {
			refused = append(refused, scope)
		}
	}
	grant := func(scope string) {
		if !slices.Contains(granted, scope) {
			granted = append(granted, scope)
		}
	}
	if slices.Contains(requested, openID) {
		grant(openID)
	}
	for _, scope := range c.DefaultClientScopes {
		if !slices.Contains(c.HiddenScopes, scope) {
			grant(scope)
		}
	}
	for _, scope := range c.OptionalClientScopes {
		if slices.Contains(requested, scope) {
			grant(scope)
		}
	}
	return granted, refused
}
