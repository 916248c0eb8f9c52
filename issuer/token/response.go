package token

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"github.com/tegata/tegata/internal/jose"
	"github.com/tegata/tegata/issuer/realm"
)

// responseLife is how long an authorization response may be used (JARM §2.1:
// at most ten minutes).
const responseLife = 10 * time.Minute

// MintResponse signs an authorization response for a client (JARM §2.1). The
// parameters cannot replace iss, aud or exp. An empty alg is the realm's.
func (t *Tokens) MintResponse(ctx context.Context, r realm.Realm, clientID string, alg jose.Algorithm, parameters map[string]any) (string, error) {
	signer, err := t.keys.Signer(ctx, r, alg)
	if err != nil {
		return "", fmt.Errorf("minting an authorization response: %w", err)
	}
	claims := make(map[string]any, len(parameters)+3)
	maps.Copy(claims, parameters)
	claims["iss"], claims["aud"], claims["exp"] = r.Issuer, clientID, t.now().Add(responseLife).Unix()
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("writing an authorization response: %w", err)
	}
	return signer.Sign(typJWT, payload)
}
