package sqlstore

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/tegata/tegata/issuer/realm"
)

var _ realm.Tx = (*tx)(nil)

const selectRealm = `SELECT id, name, enabled, settings, version FROM realm`

// RealmByName implements realm.View.
func (t *tx) RealmByName(name string) (realm.Realm, error) {
	r, err := scanRealm(t.q.QueryRowContext(t.ctx, selectRealm+` WHERE name = $1`, name))
	if errors.Is(err, sql.ErrNoRows) {
		return realm.Realm{}, realm.ErrNotFound
	}
	if err != nil {
		return realm.Realm{}, fmt.Errorf("selecting realm: %w", err)
	}
	return r, nil
}

// Realms implements realm.View.
func (t *tx) Realms() ([]realm.Realm, error) {
	all, err := list(t, scanRealm, selectRealm+` ORDER BY name`)
	if err != nil {
		return nil, fmt.Errorf("selecting realms: %w", err)
	}
	return all, nil
}

func scanRealm(row scanner) (realm.Realm, error) {
	var r realm.Realm
	var settings string
	if err := row.Scan(&r.ID, &r.Name, &r.Enabled, &settings, &r.Version); err != nil {
		return realm.Realm{}, err
	}
	if err := json.Unmarshal([]byte(settings), &r.Settings); err != nil {
		return realm.Realm{}, fmt.Errorf("settings of realm %s: %w", r.Name, err)
	}
	return r, nil
}

// PutRealm implements realm.Tx. What revocation has written to the row stays.
func (t *tx) PutRealm(r realm.Realm) error {
	t.changed = true
	settings, err := json.Marshal(r.Settings)
	if err != nil {
		return fmt.Errorf("encoding settings: %w", err)
	}
	_, err = t.q.ExecContext(t.ctx, `
		INSERT INTO realm (id, name, enabled, settings, version) VALUES ($1, $2, $3, $4, 1)
		ON CONFLICT (name) DO UPDATE SET
			enabled = excluded.enabled, settings = excluded.settings, version = realm.version + 1`,
		r.ID, r.Name, boolean(r.Enabled), string(settings))
	if err != nil {
		return fmt.Errorf("upserting realm: %w", err)
	}
	return nil
}
