package token

import (
	"context"
	"fmt"

	"github.com/tegata/tegata/internal/jose"
	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/revocation/ssf"
)

// SignEvent signs a security event token, with the algorithm of a client's ID
// tokens; empty: the realm's. Its type lets it stand for no other token of ours
// (RFC 8417 §4.5).
func (t *Tokens) SignEvent(ctx context.Context, r realm.Realm, alg jose.Algorithm, event ssf.Token) (string, error) {
	signer, err := t.keys.Signer(ctx, r, alg)
	if err != nil {
		return "", fmt.Errorf("signing an event: %w", err)
	}
	event.Issuer = r.Issuer
	payload, err := event.Payload()
	if err != nil {
		return "", fmt.Errorf("signing an event: %w", err)
	}
	return signer.Sign(ssf.Type, payload)
}
