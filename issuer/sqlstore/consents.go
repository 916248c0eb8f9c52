package sqlstore

import (
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/tegata/tegata/issuer/session"
)

const selectConsent = `SELECT realm_id, account_id, client_id, scope, created, updated FROM consent WHERE realm_id = $1 AND account_id = $2`

// Consent implements session.View.
func (t *tx) Consent(realmID, userID, clientID string) (session.Consent, error) {
	c, err := scanConsent(t.q.QueryRowContext(t.ctx, selectConsent+` AND client_id = $3`, realmID, userID, clientID))
	if errors.Is(err, sql.ErrNoRows) {
		return session.Consent{}, session.ErrNotFound
	}
	if err != nil {
		return session.Consent{}, fmt.Errorf("selecting consent: %w", err)
	}
	return c, nil
}

// ConsentsOf implements session.View.
func (t *tx) ConsentsOf(realmID, userID string) ([]session.Consent, error) {
	all, err := list(t, scanConsent, selectConsent+` ORDER BY client_id`, realmID, userID)
	if err != nil {
		return nil, fmt.Errorf("selecting consents: %w", err)
	}
	return all, nil
}

func scanConsent(row scanner) (session.Consent, error) {
	var c session.Consent
	var created, updated int64
	err := row.Scan(&c.RealmID, &c.UserID, &c.ClientID, &c.Scope, &created, &updated)
	c.Created, c.Updated = time.UnixMicro(created).UTC(), time.UnixMicro(updated).UTC()
	return c, err
}

// PutConsent implements session.Tx.
func (t *tx) PutConsent(c session.Consent) error {
	_, err := t.q.ExecContext(t.ctx, `
		INSERT INTO consent (realm_id, account_id, client_id, scope, created, updated) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (realm_id, account_id, client_id) DO UPDATE SET
			scope = excluded.scope, created = excluded.created, updated = excluded.updated`,
		c.RealmID, c.UserID, c.ClientID, c.Scope, c.Created.UnixMicro(), c.Updated.UnixMicro())
	if err != nil {
		return fmt.Errorf("upserting consent: %w", err)
	}
	return nil
}

// DeleteConsent implements session.Tx.
func (t *tx) DeleteConsent(realmID, userID, clientID string) error {
	_, err := t.q.ExecContext(t.ctx, `DELETE FROM consent WHERE realm_id = $1 AND account_id = $2 AND client_id = $3`,
		realmID, userID, clientID)
	if err != nil {
		return fmt.Errorf("deleting consent: %w", err)
	}
	return nil
}
