package clientauth

import (
	"context"
	"fmt"

	"github.com/tegata/tegata/internal/jose"
	"github.com/tegata/tegata/issuer/client"
)

// VerifySigned checks a JWT that a client signed, with the keys it registered,
// and returns its payload. What the claims say is for the caller.
func (a *Authenticator) VerifySigned(ctx context.Context, c client.Client, compact string, accept jose.Accept) ([]byte, error) {
	header, err := jose.ParseHeader(compact)
	if err != nil {
		return nil, err
	}
	set, err := a.keys(ctx, c, header.KeyID)
	if err != nil {
		return nil, fmt.Errorf("loading the client's keys: %w", err)
	}
	_, payload, err := set.Verify(compact, accept)
	return payload, err
}
