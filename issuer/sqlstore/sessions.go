package sqlstore

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/tegata/tegata/issuer/client"
	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/revocation"
)

var _ session.Tx = (*tx)(nil)

// RealmStanding implements session.View.
func (t *tx) RealmStanding(realmID string) (session.Standing, error) {
	return t.standing(`SELECT enabled, not_before_rev, not_before_time, max_access_exp FROM realm WHERE id = $1`, realmID)
}

// ClientStanding implements session.View.
func (t *tx) ClientStanding(realmID, clientID string) (session.Standing, error) {
	return t.standing(`SELECT enabled, not_before_rev, not_before_time, max_access_exp FROM client WHERE realm_id = $1 AND client_id = $2`,
		realmID, clientID)
}

// UserStanding implements session.View.
func (t *tx) UserStanding(realmID, userID string) (session.Standing, error) {
	return t.standing(`SELECT enabled, not_before_rev, not_before_time, 0 FROM account WHERE realm_id = $1 AND id = $2`, realmID, userID)
}

func (t *tx) standing(query string, args ...any) (session.Standing, error) {
	var st session.Standing
	var mark int64
	var notBefore sql.NullInt64
	err := t.q.QueryRowContext(t.ctx, query, args...).Scan(&st.Enabled, &st.NotBefore, &notBefore, &mark)
	if errors.Is(err, sql.ErrNoRows) {
		return session.Standing{}, nil
	}
	if err != nil {
		return session.Standing{}, fmt.Errorf("selecting a standing: %w", err)
	}
	st.NotBeforeTime = timeOf(notBefore)
	if mark > 0 {
		st.MaxAccessExp = time.UnixMicro(mark).UTC()
	}
	return st, nil
}

// ServiceAccount implements session.View: it has the client's id.
func (t *tx) ServiceAccount(realmID, clientID string) (string, error) {
	c, err := t.ClientByClientID(realmID, clientID)
	if errors.Is(err, client.ErrNotFound) || err == nil && !c.ServiceAccountsEnabled {
		return "", nil
	}
	return c.ID, err
}

// Disable implements session.Tx.
func (t *tx) Disable(realmID string, target revocation.Target) error {
	var err error
	switch target.Kind {
	case revocation.KindIssuer:
		_, err = t.q.ExecContext(t.ctx, `UPDATE realm SET enabled = 0, version = version + 1 WHERE id = $1`, realmID)
	case revocation.KindClient:
		_, err = t.q.ExecContext(t.ctx, `UPDATE client SET enabled = 0, version = version + 1 WHERE realm_id = $1 AND client_id = $2`, realmID, target.ID)
	case revocation.KindSubject:
		_, err = t.q.ExecContext(t.ctx, `UPDATE account SET enabled = 0, version = version + 1 WHERE realm_id = $1 AND id = $2`, realmID, target.ID)
	default:
		return fmt.Errorf("disabling: nothing of kind %d can be", target.Kind)
	}
	if err != nil {
		return fmt.Errorf("disabling: %w", err)
	}
	t.changed = true
	return nil
}

// MarkMinted implements session.Tx.
func (t *tx) MarkMinted(realmID, clientID string, maxAccessExp time.Time) error {
	mark := maxAccessExp.UnixMicro()
	_, err := t.q.ExecContext(t.ctx, `UPDATE realm SET max_access_exp = $1 WHERE id = $2 AND max_access_exp < $1`, mark, realmID)
	if err != nil {
		return fmt.Errorf("marking realm: %w", err)
	}
	_, err = t.q.ExecContext(t.ctx, `
		UPDATE client SET max_access_exp = $1 WHERE realm_id = $2 AND client_id = $3 AND max_access_exp < $1`,
		mark, realmID, clientID)
	if err != nil {
		return fmt.Errorf("marking client: %w", err)
	}
	return nil
}

const selectUserSession = `
	SELECT id, realm_id, issuer, account_id, offline, origin, cookie_hash, started, auth_time, last_seen, idle, expires,
		remember, acr, amr, ip, agent, opened_rev, max_access_exp
	FROM user_session`

// UserSession implements session.View.
func (t *tx) UserSession(realmID, sid string) (session.UserSession, error) {
	return t.userSession(selectUserSession+` WHERE id = $1 AND realm_id = $2`, sid, realmID)
}

// UserSessionByCookie implements session.View.
func (t *tx) UserSessionByCookie(realmID string, hash []byte) (session.UserSession, error) {
	return t.userSession(selectUserSession+` WHERE cookie_hash = $1 AND realm_id = $2`, hash, realmID)
}

func (t *tx) userSession(query string, args ...any) (session.UserSession, error) {
	return one("user session", scanUserSession, t.q.QueryRowContext(t.ctx, query, args...))
}

// one reads a row of sessions, session.ErrNotFound if there is none.
func one[T any](what string, scan func(scanner) (T, error), row *sql.Row) (T, error) {
	v, err := scan(row)
	if errors.Is(err, sql.ErrNoRows) {
		return v, session.ErrNotFound
	}
	if err != nil {
		return v, fmt.Errorf("selecting %s: %w", what, err)
	}
	return v, nil
}

// UserSessionsOf implements session.View.
func (t *tx) UserSessionsOf(realmID, userID string) ([]session.UserSession, error) {
	all, err := list(t, scanUserSession, selectUserSession+` WHERE realm_id = $1 AND account_id = $2 ORDER BY id`, realmID, userID)
	if err != nil {
		return nil, fmt.Errorf("selecting the sessions of a user: %w", err)
	}
	return all, nil
}

// EndedSessions implements session.View.
func (t *tx) EndedSessions(now time.Time, limit int) ([]session.UserSession, error) {
	all, err := list(t, scanUserSession, selectUserSession+` WHERE ends < $1 ORDER BY ends, id LIMIT $2`, now.UnixMicro(), limit)
	if err != nil {
		return nil, fmt.Errorf("selecting ended sessions: %w", err)
	}
	return all, nil
}

func scanUserSession(row scanner) (session.UserSession, error) {
	var u session.UserSession
	var started, authTime, lastSeen, idle, expires, mark sql.NullInt64
	var amr string
	err := row.Scan(&u.ID, &u.RealmID, &u.Issuer, &u.UserID, &u.Offline, &u.Origin, &u.CookieHash, &started, &authTime, &lastSeen, &idle, &expires,
		&u.RememberMe, &u.ACR, &amr, &u.IP, &u.Agent, &u.Rev, &mark)
	if err != nil {
		return session.UserSession{}, err
	}
	if err := json.Unmarshal([]byte(amr), &u.AMR); err != nil {
		return session.UserSession{}, fmt.Errorf("amr of session %s: %w", u.ID, err)
	}
	u.Started, u.AuthTime, u.LastSeen = microsOf(started), microsOf(authTime), microsOf(lastSeen)
	u.Idle, u.Expires, u.MaxAccessExp = microsOf(idle), microsOf(expires), microsOf(mark)
	return u, nil
}

// PutUserSession implements session.Tx.
func (t *tx) PutUserSession(u session.UserSession) error {
	amr, err := json.Marshal(u.AMR)
	if err != nil {
		return fmt.Errorf("encoding amr: %w", err)
	}
	_, err = t.q.ExecContext(t.ctx, `
		INSERT INTO user_session (id, realm_id, issuer, account_id, offline, origin, cookie_hash, started, auth_time, last_seen, idle, expires, ends,
			remember, acr, amr, ip, agent, opened_rev, max_access_exp)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)
		ON CONFLICT (id) DO UPDATE SET realm_id = excluded.realm_id, issuer = excluded.issuer, account_id = excluded.account_id,
			offline = excluded.offline, origin = excluded.origin, cookie_hash = excluded.cookie_hash, started = excluded.started, auth_time = excluded.auth_time,
			last_seen = excluded.last_seen, idle = excluded.idle, expires = excluded.expires, ends = excluded.ends,
			remember = excluded.remember, acr = excluded.acr, amr = excluded.amr, ip = excluded.ip, agent = excluded.agent,
			opened_rev = excluded.opened_rev, max_access_exp = excluded.max_access_exp`,
		u.ID, u.RealmID, u.Issuer, u.UserID, boolean(u.Offline), u.Origin, u.CookieHash, micros(u.Started), micros(u.AuthTime),
		micros(u.LastSeen), micros(u.Idle), micros(u.Expires), micros(u.End()),
		boolean(u.RememberMe), u.ACR, string(amr), u.IP, u.Agent, u.Rev, micros(u.MaxAccessExp))
	if err != nil {
		return fmt.Errorf("upserting user session: %w", err)
	}
	return nil
}

// DeleteUserSession implements session.Tx.
func (t *tx) DeleteUserSession(sid string) error {
	return t.exec("deleting user session", sid,
		`DELETE FROM refresh_family WHERE sid = $1`,
		`DELETE FROM client_session WHERE sid = $1`,
		`DELETE FROM user_session WHERE id = $1`)
}

// DeleteUserSessionsOf implements session.Tx.
func (t *tx) DeleteUserSessionsOf(realmID, userID string) error {
	ids, err := list(t, scanID, `SELECT id FROM user_session WHERE realm_id = $1 AND account_id = $2`, realmID, userID)
	if err != nil {
		return fmt.Errorf("selecting the sessions of a user: %w", err)
	}
	for _, sid := range ids {
		if err := t.DeleteUserSession(sid); err != nil {
			return err
		}
	}
	return nil
}

func scanID(row scanner) (id string, err error) {
	err = row.Scan(&id)
	return id, err
}

// exec runs queries that have one argument, the same.
func (t *tx) exec(doing string, arg any, queries ...string) error {
	for _, query := range queries {
		if _, err := t.q.ExecContext(t.ctx, query, arg); err != nil {
			return fmt.Errorf("%s: %w", doing, err)
		}
	}
	return nil
}

const selectClientSession = `
	SELECT sid, client_id, started, last_seen, idle, expires, scope, opened_rev, max_access_exp FROM client_session`

// ClientSession implements session.View.
func (t *tx) ClientSession(sid, clientID string) (session.ClientSession, error) {
	return one("client session", scanClientSession,
		t.q.QueryRowContext(t.ctx, selectClientSession+` WHERE sid = $1 AND client_id = $2`, sid, clientID))
}

// ClientSessions implements session.View.
func (t *tx) ClientSessions(sid string) ([]session.ClientSession, error) {
	all, err := list(t, scanClientSession, selectClientSession+` WHERE sid = $1 ORDER BY client_id`, sid)
	if err != nil {
		return nil, fmt.Errorf("selecting client sessions: %w", err)
	}
	return all, nil
}

func scanClientSession(row scanner) (session.ClientSession, error) {
	var c session.ClientSession
	var started, lastSeen, idle, expires, mark sql.NullInt64
	err := row.Scan(&c.SessionID, &c.ClientID, &started, &lastSeen, &idle, &expires, &c.Scope, &c.Rev, &mark)
	c.Started, c.LastSeen, c.Idle = microsOf(started), microsOf(lastSeen), microsOf(idle)
	c.Expires, c.MaxAccessExp = microsOf(expires), microsOf(mark)
	return c, err
}

// PutClientSession implements session.Tx.
func (t *tx) PutClientSession(c session.ClientSession) error {
	_, err := t.q.ExecContext(t.ctx, `
		INSERT INTO client_session (sid, client_id, started, last_seen, idle, expires, scope, opened_rev, max_access_exp)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
		ON CONFLICT (sid, client_id) DO UPDATE SET started = excluded.started, last_seen = excluded.last_seen, idle = excluded.idle, expires = excluded.expires,
			scope = excluded.scope, opened_rev = excluded.opened_rev, max_access_exp = excluded.max_access_exp`,
		c.SessionID, c.ClientID, micros(c.Started), micros(c.LastSeen), micros(c.Idle), micros(c.Expires), c.Scope, c.Rev, micros(c.MaxAccessExp))
	if err != nil {
		return fmt.Errorf("upserting client session: %w", err)
	}
	return nil
}

// DeleteClientSession implements session.Tx.
func (t *tx) DeleteClientSession(sid, clientID string) error {
	_, err := t.q.ExecContext(t.ctx, `DELETE FROM refresh_family WHERE sid = $1 AND client_id = $2`, sid, clientID)
	if err != nil {
		return fmt.Errorf("deleting families: %w", err)
	}
	_, err = t.q.ExecContext(t.ctx, `DELETE FROM client_session WHERE sid = $1 AND client_id = $2`, sid, clientID)
	if err != nil {
		return fmt.Errorf("deleting client session: %w", err)
	}
	return nil
}

// Family implements session.View.
func (t *tx) Family(id string) (session.Family, error) {
	return one("family", scanFamily, t.q.QueryRowContext(t.ctx, `
		SELECT id, sid, client_id, scope, generation, rotated, reuses, expires, asked, binding FROM refresh_family WHERE id = $1`, id))
}

func scanFamily(row scanner) (session.Family, error) {
	var f session.Family
	var rotated, expires sql.NullInt64
	var asked, binding sql.NullString
	err := row.Scan(&f.ID, &f.SessionID, &f.ClientID, &f.Scope, &f.Generation, &rotated, &f.Reuses, &expires, &asked, &binding)
	f.Rotated, f.Expires = microsOf(rotated), microsOf(expires)
	if err == nil && asked.Valid {
		err = json.Unmarshal([]byte(asked.String), &f.Asked)
	}
	if err == nil && binding.Valid {
		err = json.Unmarshal([]byte(binding.String), &f.Binding)
	}
	return f, err
}

// PutFamily implements session.Tx.
func (t *tx) PutFamily(f session.Family) error {
	asked, err := document(f.Asked, f.Asked.IsZero())
	if err != nil {
		return fmt.Errorf("encoding what a family was asked for: %w", err)
	}
	binding, err := document(f.Binding, f.Binding == session.Binding{})
	if err != nil {
		return fmt.Errorf("encoding the binding of a family: %w", err)
	}
	_, err = t.q.ExecContext(t.ctx, `
		INSERT INTO refresh_family (id, sid, client_id, scope, generation, rotated, reuses, expires, asked, binding)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
		ON CONFLICT (id) DO UPDATE SET sid = excluded.sid, client_id = excluded.client_id, scope = excluded.scope,
			generation = excluded.generation, rotated = excluded.rotated, reuses = excluded.reuses, expires = excluded.expires,
			asked = excluded.asked, binding = excluded.binding`,
		f.ID, f.SessionID, f.ClientID, f.Scope, f.Generation, micros(f.Rotated), f.Reuses, micros(f.Expires), asked, binding)
	if err != nil {
		return fmt.Errorf("upserting family: %w", err)
	}
	return nil
}

// RotateFamily implements session.Tx: one statement that compares and swaps.
func (t *tx) RotateFamily(id string, presented uint64, now time.Time) (bool, error) {
	done, err := t.q.ExecContext(t.ctx, `
		UPDATE refresh_family SET generation = generation + 1, rotated = $1, reuses = 0 WHERE id = $2 AND generation = $3`,
		now.UnixMicro(), id, presented)
	if err != nil {
		return false, fmt.Errorf("rotating family: %w", err)
	}
	n, err := done.RowsAffected()
	if err != nil {
		return false, fmt.Errorf("rotating family: %w", err)
	}
	return n == 1, nil
}

// SingleUse implements session.View.
func (t *tx) SingleUse(hash []byte) (session.SingleUse, error) {
	return one("single-use value", scanSingleUse,
		t.q.QueryRowContext(t.ctx, `SELECT hash, kind, body, used, expires FROM single_use WHERE hash = $1`, hash))
}

func scanSingleUse(row scanner) (session.SingleUse, error) {
	var u session.SingleUse
	var expires sql.NullInt64
	err := row.Scan(&u.Hash, &u.Kind, &u.Body, &u.Used, &expires)
	u.Expires = microsOf(expires)
	return u, err
}

// PutSingleUse implements session.Tx.
func (t *tx) PutSingleUse(u session.SingleUse) error {
	_, err := t.q.ExecContext(t.ctx, `
		INSERT INTO single_use (hash, kind, body, used, expires) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (hash) DO UPDATE SET kind = excluded.kind, body = excluded.body, used = excluded.used, expires = excluded.expires`,
		u.Hash, u.Kind, u.Body, boolean(u.Used), micros(u.Expires))
	if err != nil {
		return fmt.Errorf("upserting single-use value: %w", err)
	}
	return nil
}

// Sweep implements session.Tx.
func (t *tx) Sweep(now time.Time, limit int) (int, error) {
	total := 0
	for _, query := range []string{
		`DELETE FROM single_use WHERE hash IN (SELECT hash FROM single_use WHERE expires < $1 LIMIT $2)`,
		`DELETE FROM refresh_family WHERE id IN (SELECT id FROM refresh_family WHERE expires < $1 LIMIT $2)`,
		`DELETE FROM event_queue WHERE (stream_id, id) IN (SELECT stream_id, id FROM event_queue WHERE expires < $1 LIMIT $2)`,
		`DELETE FROM revocation WHERE revision IN (SELECT revision FROM revocation WHERE expires < $1 LIMIT $2)`,
	} {
		done, err := t.q.ExecContext(t.ctx, query, now.UnixMicro(), limit)
		if err != nil {
			return 0, fmt.Errorf("sweeping: %w", err)
		}
		n, err := done.RowsAffected()
		if err != nil {
			return 0, fmt.Errorf("sweeping: %w", err)
		}
		total += int(n)
	}
	return total, nil
}
