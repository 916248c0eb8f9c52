package sqlstore

import (
	"database/sql"
	"fmt"
	"time"

	"github.com/tegata/tegata/issuer/keys"
)

var _ keys.Tx = (*tx)(nil)

// Keys implements keys.View.
func (t *tx) Keys(realmID string) ([]keys.Sealed, error) {
	all, err := list(t, scanKey, `
		SELECT id, realm_id, algorithm, status, created, signs_from, ended, private FROM signing_key
		WHERE realm_id = $1 ORDER BY created DESC, id`, realmID)
	if err != nil {
		return nil, fmt.Errorf("selecting keys: %w", err)
	}
	return all, nil
}

func scanKey(row scanner) (keys.Sealed, error) {
	var k keys.Sealed
	var created, from int64
	var ended sql.NullInt64
	if err := row.Scan(&k.ID, &k.RealmID, &k.Algorithm, &k.Status, &created, &from, &ended, &k.Private); err != nil {
		return keys.Sealed{}, err
	}
	k.Created, k.SignsFrom, k.Ended = time.UnixMicro(created).UTC(), time.UnixMicro(from).UTC(), microsOf(ended)
	return k, nil
}

// PutKey implements keys.Tx. Of a key that is there only status and end change:
// another realm's key of the same kid is an error, and nothing else of a key
// has a reason to change.
func (t *tx) PutKey(k keys.Sealed) error {
	return t.oneKey(k, "another realm has a key of that id", `
		INSERT INTO signing_key (id, realm_id, algorithm, status, created, signs_from, ended, private)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (id) DO UPDATE SET status = excluded.status, ended = excluded.ended
		WHERE signing_key.realm_id = excluded.realm_id`,
		k.ID, k.RealmID, string(k.Algorithm), string(k.Status), k.Created.UnixMicro(), k.SignsFrom.UnixMicro(), micros(k.Ended), k.Private)
}

// ResealKey implements keys.Tx.
func (t *tx) ResealKey(k keys.Sealed) error {
	return t.oneKey(k, "it is not there", `UPDATE signing_key SET private = $1 WHERE id = $2 AND realm_id = $3`, k.Private, k.ID, k.RealmID)
}

// oneKey runs a statement that must change one key.
func (t *tx) oneKey(k keys.Sealed, otherwise, query string, args ...any) error {
	done, err := t.q.ExecContext(t.ctx, query, args...)
	if err != nil {
		return fmt.Errorf("writing key: %w", err)
	}
	n, err := done.RowsAffected()
	if err != nil {
		return fmt.Errorf("writing key: %w", err)
	}
	if n != 1 {
		return fmt.Errorf("writing key %s: %s", k.ID, otherwise)
	}
	return nil
}

// MaxAccessExp implements keys.Tx.
func (t *tx) MaxAccessExp(realmID string) (time.Time, error) {
	st, err := t.RealmStanding(realmID)
	return st.MaxAccessExp, err
}
