package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"

	"github.com/tegata/tegata/revocation"
)

// querier is what a transaction needs of *sql.Tx.
type querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// tx is one transaction; it satisfies the View and Tx of every aggregate.
type tx struct {
	ctx     context.Context
	q       querier
	records []revoked // to be numbered and written at the end
	changed bool      // a realm or a client
}

// read runs f on one snapshot.
func (db *DB) read(ctx context.Context, f func(*tx) error) error {
	_, err := db.readers.transact(ctx, func(t *tx) (revocation.Revision, error) { return 0, f(t) })
	return err
}

// write runs f in one transaction, numbers what it revoked and commits.
func (db *DB) write(ctx context.Context, f func(*tx) error) (revocation.Revision, error) {
	var changed bool
	rev, err := db.writer.transact(ctx, func(t *tx) (revocation.Revision, error) {
		if err := f(t); err != nil {
			return 0, err
		}
		changed = t.changed || t.killsAll()
		return t.writeRecords(db.now())
	})
	// An error of a commit does not say for sure that nothing was committed.
	if changed {
		db.changes.Add(1)
	}
	if err != nil {
		return 0, err
	}
	if rev > 0 {
		select {
		case db.committed <- struct{}{}:
		default: // one is waiting already
		}
	}
	return rev, nil
}

// pool is connections to the database, with the statements that were prepared
// on them: preparing one costs more than running it.
type pool struct {
	db *sql.DB

	mu         sync.Mutex
	statements map[string]*sql.Stmt // by query; queries are constants, so they are few
}

func newPool(db *sql.DB) *pool { return &pool{db: db, statements: make(map[string]*sql.Stmt)} }

func (p *pool) close() error {
	if p == nil {
		return nil
	}
	return p.db.Close() // and the statements with it
}

// transact runs f in one transaction, commits unless f returns an error, and
// returns what f returned.
func (p *pool) transact(ctx context.Context, f func(*tx) (revocation.Revision, error)) (rev revocation.Revision, err error) {
	t, err := p.db.BeginTx(ctx, nil)
	if err != nil {
		return 0, fmt.Errorf("beginning a transaction: %w", err)
	}
	q := &prepared{pool: p, tx: t}
	defer func() {
		// After a commit this does nothing.
		if undo := t.Rollback(); undo != nil && !errors.Is(undo, sql.ErrTxDone) {
			err = errors.Join(err, fmt.Errorf("rolling back: %w", undo))
		}
		p.prepare(ctx, q.unknown)
	}()
	if rev, err = f(&tx{ctx: ctx, q: q}); err != nil {
		return 0, err
	}
	if err := t.Commit(); err != nil {
		return 0, fmt.Errorf("committing: %w", err)
	}
	return rev, nil
}

func (p *pool) statement(query string) *sql.Stmt {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.statements[query]
}

// prepare prepares queries for the next who run them. It is done between
// transactions, as within one a pool of one connection has none to spare. A
// query that cannot be prepared now runs as it is.
func (p *pool) prepare(ctx context.Context, queries []string) {
	for _, query := range queries {
		if p.statement(query) != nil {
			continue
		}
		s, err := p.db.PrepareContext(ctx, query)
		if err != nil {
			return
		}
		p.keep(query, s)
	}
}

// keep keeps the first statement of a query.
func (p *pool) keep(query string, s *sql.Stmt) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.statements[query] != nil {
		_ = s.Close() // somebody was faster
		return
	}
	p.statements[query] = s
}

// prepared runs queries in a transaction by their prepared statements.
type prepared struct {
	pool    *pool
	tx      *sql.Tx
	unknown []string // queries that have no statement yet
}

func (p *prepared) statement(ctx context.Context, query string) *sql.Stmt {
	if s := p.pool.statement(query); s != nil {
		return p.tx.StmtContext(ctx, s)
	}
	p.unknown = append(p.unknown, query)
	return nil
}

func (p *prepared) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	if s := p.statement(ctx, query); s != nil {
		return s.ExecContext(ctx, args...)
	}
	return p.tx.ExecContext(ctx, query, args...)
}

func (p *prepared) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if s := p.statement(ctx, query); s != nil {
		return s.QueryContext(ctx, args...)
	}
	return p.tx.QueryContext(ctx, query, args...)
}

func (p *prepared) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	if s := p.statement(ctx, query); s != nil {
		return s.QueryRowContext(ctx, args...)
	}
	return p.tx.QueryRowContext(ctx, query, args...)
}
