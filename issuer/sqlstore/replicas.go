package sqlstore

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/tegata/tegata/revocation"
)

// Beat implements watch.Replicas.
func (db *DB) Beat(ctx context.Context, r revocation.Replica) error {
	below, err := json.Marshal(r.Below)
	if err != nil {
		return fmt.Errorf("writing replica: %w", err)
	}
	_, err = db.write(ctx, func(t *tx) error {
		_, err := t.q.ExecContext(t.ctx, `
			INSERT INTO replica (id, name, beat, lease, epoch, acked, below) VALUES ($1, $2, $3, $4, $5, $6, $7)
			ON CONFLICT (id) DO UPDATE SET name = excluded.name, beat = excluded.beat, lease = excluded.lease,
				epoch = excluded.epoch, acked = excluded.acked, below = excluded.below`,
			r.ID, r.Name, int64(r.Beat), r.Lease.Milliseconds(), string(r.Epoch), int64(r.Acked), string(below))
		return err
	})
	if err != nil {
		return fmt.Errorf("writing replica: %w", err)
	}
	return nil
}

// Replicas implements watch.Replicas.
func (db *DB) Replicas(ctx context.Context) (all []revocation.Replica, err error) {
	err = db.read(ctx, func(t *tx) error {
		all, err = list(t, scanReplica, `SELECT id, name, beat, lease, epoch, acked, below FROM replica ORDER BY id`)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("selecting replicas: %w", err)
	}
	return all, nil
}

func scanReplica(row scanner) (revocation.Replica, error) {
	var r revocation.Replica
	var lease int64
	var below string
	if err := row.Scan(&r.ID, &r.Name, &r.Beat, &lease, &r.Epoch, &r.Acked, &below); err != nil {
		return r, err
	}
	r.Lease = time.Duration(lease) * time.Millisecond
	return r, json.Unmarshal([]byte(below), &r.Below)
}

// Forget implements watch.Replicas.
func (db *DB) Forget(ctx context.Context, id string, beat uint64) error {
	_, err := db.write(ctx, func(t *tx) error {
		_, err := t.q.ExecContext(t.ctx, `DELETE FROM replica WHERE id = $1 AND beat = $2`, id, int64(beat))
		return err
	})
	if err != nil {
		return fmt.Errorf("deleting replica: %w", err)
	}
	return nil
}
