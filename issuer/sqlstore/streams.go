package sqlstore

import (
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/tegata/tegata/issuer/stream"
	"github.com/tegata/tegata/revocation/ssf"
)

// Streams is the store of event streams.
func (db *DB) Streams() stream.Store { return aggregate[stream.View, stream.Tx]{db} }

// Announce implements session.Tx and user.Tx: one event for each stream that
// wants it. All have one jti: it is one happening.
func (t *tx) Announce(realmID string, e ssf.Event) error {
	body, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("announcing: %w", err)
	}
	_, err = t.q.ExecContext(t.ctx, `
		INSERT INTO event_queue (stream_id, id, realm_id, type, body, created, due, tries, expires)
		SELECT s.id, CAST($1 AS TEXT), s.realm_id, w.type, CAST($3 AS TEXT), CAST($4 AS BIGINT), CAST($4 AS BIGINT), 0, CAST($5 AS BIGINT) FROM event_stream s
		JOIN event_wanted w ON w.stream_id = s.id AND w.type = $2 WHERE s.realm_id = $6 AND s.status <> $7`,
		rand.Text(), e.Type, string(body), e.At.UnixMicro(), e.At.Add(stream.Life).UnixMicro(), realmID, stream.Disabled)
	if err != nil {
		return fmt.Errorf("announcing: %w", err)
	}
	return nil
}

const selectStream = `SELECT id, realm_id, client_id, method, status, body FROM event_stream`

// StreamOf implements stream.View.
func (t *tx) StreamOf(realmID, clientID string) (stream.Stream, error) {
	return t.stream(selectStream+` WHERE realm_id = $1 AND client_id = $2`, realmID, clientID)
}

// Stream implements stream.View.
func (t *tx) Stream(id string) (stream.Stream, error) {
	return t.stream(selectStream+` WHERE id = $1`, id)
}

func (t *tx) stream(query string, args ...any) (stream.Stream, error) {
	var columns stream.Stream
	var body string
	err := t.q.QueryRowContext(t.ctx, query, args...).Scan(
		&columns.ID, &columns.RealmID, &columns.ClientID, &columns.Method, &columns.Status, &body)
	if errors.Is(err, sql.ErrNoRows) {
		return stream.Stream{}, stream.ErrNotFound
	}
	if err != nil {
		return stream.Stream{}, fmt.Errorf("selecting stream: %w", err)
	}
	var s stream.Stream
	if err := json.Unmarshal([]byte(body), &s); err != nil {
		return stream.Stream{}, fmt.Errorf("body of stream %s: %w", columns.ID, err)
	}
	s.ID, s.RealmID, s.ClientID, s.Method, s.Status = columns.ID, columns.RealmID, columns.ClientID, columns.Method, columns.Status
	return s, nil
}

// PutStream implements stream.Tx.
func (t *tx) PutStream(s stream.Stream) error {
	body, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("upserting stream: %w", err)
	}
	_, err = t.q.ExecContext(t.ctx, `
		INSERT INTO event_stream (id, realm_id, client_id, method, status, body) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (id) DO UPDATE SET method = excluded.method, status = excluded.status, body = excluded.body`,
		s.ID, s.RealmID, s.ClientID, s.Method, s.Status, string(body))
	if err == nil {
		_, err = t.q.ExecContext(t.ctx, `DELETE FROM event_wanted WHERE stream_id = $1`, s.ID)
	}
	for _, wanted := range s.Wanted() {
		if err != nil {
			break
		}
		_, err = t.q.ExecContext(t.ctx, `INSERT INTO event_wanted (stream_id, type) VALUES ($1, $2)`, s.ID, wanted)
	}
	if err != nil {
		return fmt.Errorf("upserting stream: %w", err)
	}
	return nil
}

// DeleteStream implements stream.Tx.
func (t *tx) DeleteStream(id string) error {
	for _, query := range []string{
		`DELETE FROM event_queue WHERE stream_id = $1`, `DELETE FROM event_wanted WHERE stream_id = $1`, `DELETE FROM event_stream WHERE id = $1`,
	} {
		if _, err := t.q.ExecContext(t.ctx, query, id); err != nil {
			return fmt.Errorf("deleting stream: %w", err)
		}
	}
	return nil
}

const selectEvent = `SELECT q.stream_id, q.id, q.realm_id, q.body, q.created, q.due, q.tries, q.expires FROM event_queue q`

// DueEvents implements stream.View.
func (t *tx) DueEvents(now time.Time, limit int) ([]stream.Event, error) {
	due, err := list(t, scanEvent, selectEvent+` JOIN event_stream s ON s.id = q.stream_id AND s.method = $1 AND s.status = $2
		WHERE q.due <= $3 ORDER BY q.due LIMIT $4`, ssf.DeliveryPush, stream.Enabled, now.UnixMicro(), limit)
	if err != nil {
		return nil, fmt.Errorf("selecting events: %w", err)
	}
	return due, nil
}

// Queued implements stream.View.
func (t *tx) Queued(streamID string, limit int) ([]stream.Event, error) {
	all, err := list(t, scanEvent, selectEvent+` WHERE q.stream_id = $1 ORDER BY q.created, q.id LIMIT $2`, streamID, limit)
	if err != nil {
		return nil, fmt.Errorf("selecting events: %w", err)
	}
	return all, nil
}

func scanEvent(row scanner) (stream.Event, error) {
	var e stream.Event
	var body string
	var created, due, expires int64
	if err := row.Scan(&e.StreamID, &e.ID, &e.RealmID, &body, &created, &due, &e.Tries, &expires); err != nil {
		return e, err
	}
	e.Created, e.Due, e.Expires = time.UnixMicro(created).UTC(), time.UnixMicro(due).UTC(), time.UnixMicro(expires).UTC()
	if err := json.Unmarshal([]byte(body), &e.Event); err != nil {
		return e, fmt.Errorf("body of event %s: %w", e.ID, err)
	}
	return e, nil
}

// PutEvent implements stream.Tx.
func (t *tx) PutEvent(e stream.Event) error {
	body, err := json.Marshal(e.Event)
	if err != nil {
		return fmt.Errorf("upserting event: %w", err)
	}
	_, err = t.q.ExecContext(t.ctx, `
		INSERT INTO event_queue (stream_id, id, realm_id, type, body, created, due, tries, expires) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
		ON CONFLICT (stream_id, id) DO UPDATE SET body = excluded.body, due = excluded.due, tries = excluded.tries, expires = excluded.expires`,
		e.StreamID, e.ID, e.RealmID, e.Event.Type, string(body), e.Created.UnixMicro(), e.Due.UnixMicro(), e.Tries, e.Expires.UnixMicro())
	if err != nil {
		return fmt.Errorf("upserting event: %w", err)
	}
	return nil
}

// TakeEvent implements stream.Tx: one statement that compares and sets.
func (t *tx) TakeEvent(e stream.Event, until time.Time) (bool, error) {
	done, err := t.q.ExecContext(t.ctx, `UPDATE event_queue SET due = $1 WHERE stream_id = $2 AND id = $3 AND due = $4`,
		until.UnixMicro(), e.StreamID, e.ID, e.Due.UnixMicro())
	if err != nil {
		return false, fmt.Errorf("taking event: %w", err)
	}
	rows, err := done.RowsAffected()
	if err != nil {
		return false, fmt.Errorf("taking event: %w", err)
	}
	return rows == 1, nil
}

// DeleteEvent implements stream.Tx.
func (t *tx) DeleteEvent(streamID, id string) error {
	if _, err := t.q.ExecContext(t.ctx, `DELETE FROM event_queue WHERE stream_id = $1 AND id = $2`, streamID, id); err != nil {
		return fmt.Errorf("deleting event: %w", err)
	}
	return nil
}

// DeleteEventsOf implements stream.Tx.
func (t *tx) DeleteEventsOf(streamID, eventType string) error {
	_, err := t.q.ExecContext(t.ctx, `DELETE FROM event_queue WHERE stream_id = $1 AND ($2 = '' OR type = $2)`, streamID, eventType)
	if err != nil {
		return fmt.Errorf("deleting events: %w", err)
	}
	return nil
}
