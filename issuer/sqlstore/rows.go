package sqlstore

import (
	"database/sql"
	"encoding/json"
	"errors"
	"time"
)

// scanner is a row to read: *sql.Row or *sql.Rows.
type scanner interface{ Scan(into ...any) error }

// list reads every row of a query.
func list[T any](t *tx, scan func(scanner) (T, error), query string, args ...any) (all []T, err error) {
	rows, err := t.q.QueryContext(t.ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, rows.Err()
}

// boolean is b as both engines keep it.
func boolean(b bool) int {
	if b {
		return 1
	}
	return 0
}

// seconds is t as unix seconds, NULL for the zero time.
func seconds(t time.Time) sql.NullInt64 {
	return sql.NullInt64{Int64: t.Unix(), Valid: !t.IsZero()}
}

// timeOf reads what seconds wrote.
func timeOf(s sql.NullInt64) time.Time {
	if !s.Valid {
		return time.Time{}
	}
	return time.Unix(s.Int64, 0).UTC()
}

// text is s, NULL for the empty string.
func text(s string) sql.NullString { return sql.NullString{String: s, Valid: s != ""} }

// micros is t as unix microseconds, NULL for the zero time.
func micros(t time.Time) sql.NullInt64 {
	return sql.NullInt64{Int64: t.UnixMicro(), Valid: !t.IsZero()}
}

// microsOf reads what micros wrote.
func microsOf(m sql.NullInt64) time.Time {
	if !m.Valid {
		return time.Time{}
	}
	return time.UnixMicro(m.Int64).UTC()
}

// document is v as JSON, NULL if there is nothing in it.
func document(v any, empty bool) (sql.NullString, error) {
	if empty {
		return sql.NullString{}, nil
	}
	b, err := json.Marshal(v)
	return sql.NullString{String: string(b), Valid: true}, err
}
