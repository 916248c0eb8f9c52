package sqlstore

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/tegata/tegata/issuer/client"
)

var _ client.Tx = (*tx)(nil)

const selectClient = `SELECT id, realm_id, client_id, enabled, body, secret_hash, old_secret_hash, old_secret_until, secret_sealed, version FROM client`

// ClientByClientID implements client.View.
func (t *tx) ClientByClientID(realmID, clientID string) (client.Client, error) {
	c, err := scanClient(t.q.QueryRowContext(t.ctx, selectClient+` WHERE realm_id = $1 AND client_id = $2`, realmID, clientID))
	if errors.Is(err, sql.ErrNoRows) {
		return client.Client{}, client.ErrNotFound
	}
	if err != nil {
		return client.Client{}, fmt.Errorf("selecting client: %w", err)
	}
	return c, nil
}

// Clients implements client.View.
func (t *tx) Clients(realmID string) ([]client.Client, error) {
	all, err := list(t, scanClient, selectClient+` WHERE realm_id = $1 ORDER BY client_id`, realmID)
	if err != nil {
		return nil, fmt.Errorf("selecting clients: %w", err)
	}
	return all, nil
}

// scanClient reads the body first: where a column says the same, the column
// is right.
func scanClient(row scanner) (client.Client, error) {
	var c, columns client.Client
	var body string
	var secret, oldSecret sql.NullString
	var oldUntil sql.NullInt64
	if err := row.Scan(&columns.ID, &columns.RealmID, &columns.ClientID, &columns.Enabled, &body, &secret, &oldSecret, &oldUntil, &columns.SecretSealed, &c.Version); err != nil {
		return client.Client{}, err
	}
	if err := json.Unmarshal([]byte(body), &c); err != nil {
		return client.Client{}, fmt.Errorf("body of client %s: %w", columns.ClientID, err)
	}
	c.ID, c.RealmID, c.ClientID, c.Enabled = columns.ID, columns.RealmID, columns.ClientID, columns.Enabled
	c.SecretHash, c.OldSecretHash, c.OldSecretUntil = secret.String, oldSecret.String, timeOf(oldUntil)
	c.SecretSealed = columns.SecretSealed
	return c, nil
}

// PutClient implements client.Tx. What revocation has written to the row stays.
func (t *tx) PutClient(c client.Client) error {
	t.changed = true
	body, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("encoding client: %w", err)
	}
	_, notified := c.BackLogout()
	_, err = t.q.ExecContext(t.ctx, `
		INSERT INTO client (id, realm_id, client_id, enabled, body, secret_hash, old_secret_hash, old_secret_until, notified, secret_sealed, origin, version)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 0, 1)
		ON CONFLICT (realm_id, client_id) DO UPDATE SET
			enabled = excluded.enabled, body = excluded.body, secret_hash = excluded.secret_hash,
			old_secret_hash = excluded.old_secret_hash, old_secret_until = excluded.old_secret_until, notified = excluded.notified,
			secret_sealed = excluded.secret_sealed,
			version = client.version + 1`,
		c.ID, c.RealmID, c.ClientID, boolean(c.Enabled), string(body),
		text(c.SecretHash), text(c.OldSecretHash), seconds(c.OldSecretUntil), boolean(notified), c.SecretSealed)
	if err != nil {
		return fmt.Errorf("upserting client: %w", err)
	}
	return nil
}
