package sqlstore

import (
	"fmt"
	"time"

	"github.com/tegata/tegata/issuer/session"
)

// Notified implements session.View.
func (t *tx) Notified(realmID, sid string) ([]string, error) {
	ids, err := list(t, scanID, `
		SELECT s.client_id FROM client_session s JOIN client c ON c.realm_id = $1 AND c.client_id = s.client_id
		WHERE s.sid = $2 AND c.notified = 1 ORDER BY s.client_id`, realmID, sid)
	if err != nil {
		return nil, fmt.Errorf("selecting clients to notify: %w", err)
	}
	return ids, nil
}

// DueNotices implements session.View.
func (t *tx) DueNotices(now time.Time, limit int) ([]session.Notice, error) {
	due, err := list(t, scanNotice, `
		SELECT realm_id, sid, client_id, account_id, due, tries, expires FROM logout_notice
		WHERE due <= $1 ORDER BY due LIMIT $2`, now.UnixMicro(), limit)
	if err != nil {
		return nil, fmt.Errorf("selecting notices: %w", err)
	}
	return due, nil
}

func scanNotice(row scanner) (session.Notice, error) {
	var n session.Notice
	var due, expires int64
	err := row.Scan(&n.RealmID, &n.SessionID, &n.ClientID, &n.UserID, &due, &n.Tries, &expires)
	n.Due, n.Expires = time.UnixMicro(due).UTC(), time.UnixMicro(expires).UTC()
	return n, err
}

// PutNotice implements session.Tx.
func (t *tx) PutNotice(n session.Notice) error {
	_, err := t.q.ExecContext(t.ctx, `
		INSERT INTO logout_notice (sid, client_id, realm_id, account_id, due, tries, expires) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (sid, client_id) DO UPDATE SET realm_id = excluded.realm_id, account_id = excluded.account_id,
			due = excluded.due, tries = excluded.tries, expires = excluded.expires`,
		n.SessionID, n.ClientID, n.RealmID, n.UserID, n.Due.UnixMicro(), n.Tries, n.Expires.UnixMicro())
	if err != nil {
		return fmt.Errorf("upserting notice: %w", err)
	}
	return nil
}

// DeleteNotice implements session.Tx.
func (t *tx) DeleteNotice(sid, clientID string) error {
	_, err := t.q.ExecContext(t.ctx, `DELETE FROM logout_notice WHERE sid = $1 AND client_id = $2`, sid, clientID)
	if err != nil {
		return fmt.Errorf("deleting notice: %w", err)
	}
	return nil
}

// TakeNotice implements session.Tx: one statement that compares and sets.
func (t *tx) TakeNotice(n session.Notice, until time.Time) (bool, error) {
	done, err := t.q.ExecContext(t.ctx, `UPDATE logout_notice SET due = $1 WHERE sid = $2 AND client_id = $3 AND due = $4`,
		until.UnixMicro(), n.SessionID, n.ClientID, n.Due.UnixMicro())
	if err != nil {
		return false, fmt.Errorf("taking notice: %w", err)
	}
	rows, err := done.RowsAffected()
	if err != nil {
		return false, fmt.Errorf("taking notice: %w", err)
	}
	return rows == 1, nil
}
