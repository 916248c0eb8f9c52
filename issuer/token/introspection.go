package token

import (
	"context"
	"fmt"

	"github.com/tegata/tegata/internal/jose"
	"github.com/tegata/tegata/issuer/realm"
)

// typIntrospection is the header typ of an introspection response (RFC 9701
// §5): no endpoint here or elsewhere takes it for a token.
const typIntrospection = "token-introspection+jwt"

// introspectionClaims have neither sub nor exp, as RFC 9701 §5 wants: what they
// say of the token is inside.
type introspectionClaims struct {
	Issuer        string         `json:"iss"`
	Audience      string         `json:"aud"`
	IssuedAt      int64          `json:"iat"`
	Introspection map[string]any `json:"token_introspection"`
}

// SignIntrospection signs the answer to an introspection for the client that
// asked. An empty alg is the realm's.
func (t *Tokens) SignIntrospection(ctx context.Context, r realm.Realm, alg jose.Algorithm, clientID string, answer map[string]any) (string, error) {
	signer, err := t.keys.Signer(ctx, r, alg)
	if err != nil {
		return "", fmt.Errorf("signing an introspection: %w", err)
	}
	return sign(signer, typIntrospection, introspectionClaims{
		Issuer: r.Issuer, Audience: clientID, IssuedAt: t.now().Unix(), Introspection: answer,
	}, nil)
}

// Restate signs an access token that was read once more, with what is released
// now: the same token, as to its life and to whatever ends it.
func (t *Tokens) Restate(ctx context.Context, r realm.Realm, alg jose.Algorithm, read Read, released map[string]any) (string, error) {
	signer, err := t.keys.Signer(ctx, r, alg)
	if err != nil {
		return "", fmt.Errorf("stating a token again: %w", err)
	}
	protocol := make(map[string]any, len(read.Claims))
	for name, value := range read.Claims {
		if reserved[name] {
			protocol[name] = value
		}
	}
	return sign(signer, accessType(r), protocol, released)
}
