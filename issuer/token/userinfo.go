package token

import (
	"context"
	"fmt"

	"github.com/tegata/tegata/internal/jose"
	"github.com/tegata/tegata/issuer/realm"
)

// infoClaims are what a signed UserInfo answer states beside the released
// claims (OpenID Connect Core §5.3.2).
type infoClaims struct {
	Issuer   string `json:"iss"`
	Audience string `json:"aud"`
	Subject  string `json:"sub"`
}

// SignUserInfo signs the UserInfo answer to a client. It has no typ claim, so
// that no endpoint here takes it for a token.
func (t *Tokens) SignUserInfo(ctx context.Context, r realm.Realm, alg jose.Algorithm, clientID, subject string, claims map[string]any) (string, error) {
	signer, err := t.keys.Signer(ctx, r, alg)
	if err != nil {
		return "", fmt.Errorf("signing UserInfo: %w", err)
	}
	return sign(signer, typJWT, infoClaims{Issuer: r.Issuer, Audience: clientID, Subject: subject}, claims)
}

// Reserved reports whether a claim is one that the protocol sets, so that no
// released one can have its name.
func Reserved(name string) bool { return reserved[name] }
