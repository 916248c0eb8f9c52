package sqlstore

import (
	"context"
	"fmt"
	"time"
)

// Lead takes, or renews, the lease of a task that one process does for all: who
// gets true does it until term has passed. A process that dies leads no more
// when its term is over.
//
// Terms are counted by the clock of who asks, so where clocks differ two may
// lead for a while: a task must bear that. One whose end is further away than
// any term is of a clock that was wrong, and counts for nothing.
func (db *DB) Lead(ctx context.Context, task string, term time.Duration) (leads bool, err error) {
	now := db.now()
	_, err = db.write(ctx, func(t *tx) error {
		done, err := t.q.ExecContext(t.ctx, `
			INSERT INTO lease (name, holder, until) VALUES ($1, $2, $3)
			ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until
			WHERE lease.holder = excluded.holder OR lease.until <= $4 OR lease.until > $5`,
			task, db.holder, now.Add(term).UnixMicro(), now.UnixMicro(), now.Add(2*term).UnixMicro())
		if err != nil {
			return err
		}
		n, err := done.RowsAffected()
		leads = n == 1
		return err
	})
	if err != nil {
		return false, fmt.Errorf("taking the lease of %s: %w", task, err)
	}
	return leads, nil
}
