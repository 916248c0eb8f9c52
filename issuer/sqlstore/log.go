package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/tegata/tegata/revocation"
)

// begin begins the log of a new store under an epoch of its own.
func (db *DB) begin(ctx context.Context, rand io.Reader) error {
	epoch, err := newID(rand)
	if err != nil {
		return fmt.Errorf("naming an epoch: %w", err)
	}
	_, err = db.write(ctx, func(t *tx) error {
		done, err := t.q.ExecContext(t.ctx, `
			INSERT INTO log_head (one, epoch, revision, clock_high) VALUES (1, $1, 0, $2) ON CONFLICT (one) DO NOTHING`,
			epoch, db.now().UnixMicro())
		if err != nil {
			return err
		}
		n, err := done.RowsAffected()
		db.created = n == 1
		return err
	})
	if err != nil {
		return fmt.Errorf("beginning the log: %w", err)
	}
	return nil
}

// restoredJump is more than a log can have grown since a backup of it was made.
const restoredJump = 1_000_000_000

// Restored is told that the database is one from a backup, or from a standby
// that may lack what was answered. It begins a new epoch, so that watchers
// take nothing of the old one for granted, at a revision that no token carries
// yet: who kills what is older then kills all that was minted from what is
// lost.
func (db *DB) Restored(ctx context.Context, rand io.Reader) error {
	epoch, err := newID(rand)
	if err != nil {
		return fmt.Errorf("naming an epoch: %w", err)
	}
	_, err = db.write(ctx, func(t *tx) error {
		if err := t.takeTurn(); err != nil {
			return err
		}
		_, err := t.q.ExecContext(t.ctx, `UPDATE log_head SET epoch = $1, revision = revision + $2`, epoch, restoredJump)
		return err
	})
	if err != nil {
		return fmt.Errorf("beginning a new epoch: %w", err)
	}
	return nil
}

// revoked is a record that a transaction will write.
type revoked struct {
	realmID string
	revocation.Record
}

// Revoke implements session.Tx.
func (t *tx) Revoke(realmID string, r revocation.Record) error {
	r.Actor = t.actor
	t.records = append(t.records, revoked{realmID, r})
	return nil
}

// killsAll reports whether a realm or client is killed as a whole.
func (t *tx) killsAll() bool {
	return slices.ContainsFunc(t.records, func(r revoked) bool {
		return r.Target.Kind == revocation.KindIssuer || r.Target.Kind == revocation.KindClient
	})
}

// writeRecords numbers and writes what the transaction revokes, and returns
// the last revision. It comes last: the row of the head is then locked
// briefly, and until the commit, so that numbers are in the order of commits.
// (A sequence would not do: who takes a number first may commit last, and who
// follows the log has gone on by then.)
func (t *tx) writeRecords(now time.Time) (revocation.Revision, error) {
	if len(t.records) == 0 {
		return 0, nil
	}
	if err := t.takeTurn(); err != nil {
		return 0, fmt.Errorf("numbering records: %w", err)
	}
	var last revocation.Revision
	var committed int64
	err := t.q.QueryRowContext(t.ctx, `
		UPDATE log_head SET revision = revision + $1, clock_high = CASE WHEN clock_high < $2 THEN $2 ELSE clock_high END
		RETURNING revision, clock_high`,
		len(t.records), now.UnixMicro()).Scan(&last, &committed)
	if err != nil {
		return 0, fmt.Errorf("numbering records: %w", err)
	}
	for i, r := range t.records {
		r.Revision = last - revocation.Revision(len(t.records)-1-i)
		if err := t.writeRecord(r, committed); err != nil {
			return 0, fmt.Errorf("inserting record: %w", err)
		}
	}
	return last, nil
}

func (t *tx) writeRecord(r revoked, committed int64) error {
	_, err := t.q.ExecContext(t.ctx, `
		INSERT INTO revocation (revision, realm_id, issuer, kind, target, client, before_time, reason, committed, expires, actor)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
		r.Revision, r.realmID, r.Issuer, r.Target.Kind, r.Target.ID, r.Target.Client,
		micros(r.IssuedBefore), string(r.Reason), committed, micros(r.ExpiresAt), string(r.Actor))
	if err != nil {
		return err
	}
	since := seconds(r.IssuedBefore)
	switch r.Target.Kind {
	case revocation.KindIssuer:
		_, err = t.q.ExecContext(t.ctx, `UPDATE realm SET not_before_rev = $1, not_before_time = $2 WHERE id = $3`, r.Revision, since, r.realmID)
	case revocation.KindClient:
		_, err = t.q.ExecContext(t.ctx, `UPDATE client SET not_before_rev = $1, not_before_time = $2 WHERE realm_id = $3 AND client_id = $4`,
			r.Revision, since, r.realmID, r.Target.ID)
	case revocation.KindSubject:
		_, err = t.q.ExecContext(t.ctx, `UPDATE account SET not_before_rev = $1, not_before_time = $2 WHERE realm_id = $3 AND id = $4`,
			r.Revision, since, r.realmID, r.Target.ID)
	}
	return err
}

// Revision implements session.View.
func (t *tx) Revision() (revocation.Revision, error) {
	_, head, err := t.head()
	return head, err
}

func (t *tx) head() (epoch revocation.Epoch, head revocation.Revision, err error) {
	err = t.q.QueryRowContext(t.ctx, `SELECT epoch, revision FROM log_head`).Scan(&epoch, &head)
	if err != nil {
		return "", 0, fmt.Errorf("selecting the head: %w", err)
	}
	return epoch, head, nil
}

// Recorded implements session.View.
func (t *tx) Recorded(issuer string, target revocation.Target) (revocation.Revision, error) {
	var rev sql.Null[revocation.Revision]
	err := t.q.QueryRowContext(t.ctx, `
		SELECT max(revision) FROM revocation WHERE issuer = $1 AND kind = $2 AND target = $3 AND client = $4`,
		issuer, target.Kind, target.ID, target.Client).Scan(&rev)
	if err != nil {
		return 0, fmt.Errorf("selecting record: %w", err)
	}
	return rev.V, nil
}

// Head implements watch.Source.
func (db *DB) Head(ctx context.Context) (epoch revocation.Epoch, head revocation.Revision, err error) {
	err = db.read(ctx, func(t *tx) (err error) {
		epoch, head, err = t.head()
		return err
	})
	return epoch, head, err
}

// Since implements watch.Source. Records and head are of one snapshot.
func (db *DB) Since(ctx context.Context, after revocation.Revision, limit int) (records []revocation.Record, upTo revocation.Revision, err error) {
	if limit <= 0 {
		return nil, 0, errors.New("selecting records: the limit must be positive")
	}
	err = db.read(ctx, func(t *tx) error {
		_, head, err := t.head()
		if err != nil {
			return err
		}
		records, err = list(t, scanRecord, `
			SELECT revision, issuer, kind, target, client, before_time, reason, committed, expires, actor FROM revocation
			WHERE revision > $1 ORDER BY revision LIMIT $2`, after, limit)
		if err != nil {
			return fmt.Errorf("selecting records: %w", err)
		}
		upTo = max(after, head)
		if len(records) == limit {
			upTo = records[limit-1].Revision
		}
		return nil
	})
	return records, upTo, err
}

func scanRecord(row scanner) (revocation.Record, error) {
	var r revocation.Record
	var before, expires sql.NullInt64
	var committed int64
	err := row.Scan(&r.Revision, &r.Issuer, &r.Target.Kind, &r.Target.ID, &r.Target.Client, &before, &r.Reason, &committed, &expires, &r.Actor)
	r.IssuedBefore, r.CommittedAt, r.ExpiresAt = microsOf(before), time.UnixMicro(committed).UTC(), microsOf(expires)
	return r, err
}

// Committed implements watch.Source.
func (db *DB) Committed() <-chan struct{} { return db.committed }
