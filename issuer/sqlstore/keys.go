package sqlstore

import (
	"fmt"
	"time"

	"github.com/tegata/tegata/issuer/keys"
)

var _ keys.Tx = (*tx)(nil)

// Keys implements keys.View.
func (t *tx) Keys(realmID string) ([]keys.Sealed, error) {
	all, err := list(t, scanKey, `
		SELECT id, realm_id, algorithm, status, created, private FROM signing_key
		WHERE realm_id = $1 ORDER BY created DESC, id`, realmID)
	if err != nil {
		return nil, fmt.Errorf("selecting keys: %w", err)
	}
	return all, nil
}

func scanKey(row scanner) (keys.Sealed, error) {
	var k keys.Sealed
	var created int64
	if err := row.Scan(&k.ID, &k.RealmID, &k.Algorithm, &k.Status, &created, &k.Private); err != nil {
		return keys.Sealed{}, err
	}
	k.Created = time.UnixMicro(created).UTC()
	return k, nil
}

// PutKey implements keys.Tx. Of a key that is there only the status changes:
// another realm's key of the same kid is an error, and nothing else of a key
// has a reason to change.
func (t *tx) PutKey(k keys.Sealed) error {
	done, err := t.q.ExecContext(t.ctx, `
		INSERT INTO signing_key (id, realm_id, algorithm, status, created, private) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (id) DO UPDATE SET status = excluded.status WHERE signing_key.realm_id = excluded.realm_id`,
		k.ID, k.RealmID, string(k.Algorithm), string(k.Status), k.Created.UnixMicro(), k.Private)
	if err != nil {
		return fmt.Errorf("upserting key: %w", err)
	}
	n, err := done.RowsAffected()
	if err != nil {
		return fmt.Errorf("upserting key: %w", err)
	}
	if n != 1 {
		return fmt.Errorf("upserting key %s: another realm has a key of that id", k.ID)
	}
	return nil
}
