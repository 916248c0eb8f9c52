package sqlstore

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/tegata/tegata/issuer/user"
)

var _ user.Tx = (*tx)(nil)

// The table is called account because user is a word of SQL.
const selectUser = `SELECT id, realm_id, username, enabled, body FROM account`

// userBody is a user in the body column: the password hash, which no JSON
// that leaves the process has, is kept beside the rest.
type userBody struct {
	user.User
	PasswordHash string `json:"passwordHash,omitempty"`
}

// UserByUsername implements user.View.
func (t *tx) UserByUsername(realmID, username string) (user.User, error) {
	return t.user(selectUser+` WHERE realm_id = $1 AND username = $2`, realmID, username)
}

// UserByID implements user.View.
func (t *tx) UserByID(realmID, id string) (user.User, error) {
	return t.user(selectUser+` WHERE realm_id = $1 AND id = $2`, realmID, id)
}

func (t *tx) user(query string, args ...any) (user.User, error) {
	u, err := scanUser(t.q.QueryRowContext(t.ctx, query, args...))
	if errors.Is(err, sql.ErrNoRows) {
		return user.User{}, user.ErrNotFound
	}
	if err != nil {
		return user.User{}, fmt.Errorf("selecting user: %w", err)
	}
	return u, nil
}

// scanUser reads the body first: where a column says the same, the column is
// right.
func scanUser(row scanner) (user.User, error) {
	var body userBody
	var columns user.User
	var encoded string
	if err := row.Scan(&columns.ID, &columns.RealmID, &columns.Username, &columns.Enabled, &encoded); err != nil {
		return user.User{}, err
	}
	if err := json.Unmarshal([]byte(encoded), &body); err != nil {
		return user.User{}, fmt.Errorf("body of user %s: %w", columns.ID, err)
	}
	u := body.User
	u.PasswordHash = body.PasswordHash
	u.ID, u.RealmID, u.Username, u.Enabled = columns.ID, columns.RealmID, columns.Username, columns.Enabled
	return u, nil
}

// PutUser implements user.Tx. What revocation has written to the row stays.
func (t *tx) PutUser(u user.User) error {
	body, err := json.Marshal(userBody{User: u, PasswordHash: u.PasswordHash})
	if err != nil {
		return fmt.Errorf("encoding user: %w", err)
	}
	_, err = t.q.ExecContext(t.ctx, `
		INSERT INTO account (id, realm_id, username, enabled, body, version) VALUES ($1, $2, $3, $4, $5, 1)
		ON CONFLICT (realm_id, username) DO UPDATE SET
			enabled = excluded.enabled, body = excluded.body, version = account.version + 1`,
		u.ID, u.RealmID, u.Username, boolean(u.Enabled), string(body))
	if err != nil {
		return fmt.Errorf("upserting user: %w", err)
	}
	return nil
}
