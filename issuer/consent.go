package issuer

import (
	"context"
	"fmt"

	"github.com/tegata/tegata/revocation"
)

// WithdrawConsent takes back what a user of a realm has let a client have: the
// client's sessions with the user end, offline ones too, its tokens with them,
// and the user is asked again next time.
func (i *Issuer) WithdrawConsent(ctx context.Context, realmName, userID, clientID string) error {
	r, err := i.realms.ByName(ctx, realmName)
	if err != nil {
		return fmt.Errorf("withdrawing a consent: %w", err)
	}
	rev, err := i.sessions.EndConsent(ctx, r, userID, clientID)
	if err != nil {
		return fmt.Errorf("withdrawing a consent: %w", err)
	}
	if rev > 0 {
		i.metrics.revoke(revocation.ReasonConsent)
	}
	return nil
}
