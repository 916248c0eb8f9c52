package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

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
	actor   revocation.Actor
	turn    bool // no other transaction numbers records until this one has ended
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

// pool is connections to the database, and how to run transactions on them.
type pool struct {
	db      *sql.DB
	options *sql.TxOptions    // nil: the driver's own
	again   func(error) bool  // whether what failed so may succeed if it is run again; nil: nothing fails for others' sake
	turns   bool              // whether transactions can take turns
	clean   func([]any) []any // makes arguments what the engine can hold; nil: it holds all

	// Statements that were prepared, by query: preparing one costs more than
	// running it. Queries are constants, so they are few. nil: the driver sees
	// to it.
	mu         sync.Mutex
	statements map[string]*sql.Stmt

	queue []*waiting // for the turn; under mu too
	led   bool       // whether one of them has been told to run those that wait
}

func (p *pool) close() error {
	if p == nil {
		return nil
	}
	return p.db.Close() // and the statements with it
}

// tries bounds how often a transaction is run: who takes turns seldom needs
// more than two.
const tries = 50

// transact runs f in one transaction, commits unless f returns an error, and
// returns what f returned. Where transactions run at once, one that has met
// another is undone and run again, with f seeing the other's work.
//
// Those that number records all meet: each changes the row of the head. So
// numbering is done by turns, and who finds the turn taken, or whose snapshot
// has become too old for the row, runs again with the turn from its beginning
// on, when its snapshot cannot become too old any more. Nobody waits for a turn
// while others may wait for him.
func (p *pool) transact(ctx context.Context, f func(*tx) (revocation.Revision, error)) (rev revocation.Revision, err error) {
	if p.crowded() {
		return p.together(ctx, f)
	}
	for try := range tries {
		rev, err = p.try(ctx, false, f)
		switch {
		case err == nil || p.again == nil || !p.again(err):
			return rev, err
		case p.turns:
			return p.together(ctx, f)
		}
		if err := p.pause(ctx, try); err != nil {
			return 0, err
		}
	}
	return 0, fmt.Errorf("given up after %d tries: %w", tries, err)
}

// pause waits a little, longer each time. It is needed with turns too:
// PostgreSQL lets the next one have the turn a moment before it takes the one
// before for committed, and until then refuses whatever met that one.
func (p *pool) pause(ctx context.Context, try int) error {
	wait := time.NewTimer(rand.N(time.Millisecond << min(try, 6)))
	defer wait.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-wait.C:
		return nil
	}
}

// try runs f once, in its turn or, it may be, out of it.
func (p *pool) try(ctx context.Context, inTurn bool, f func(*tx) (revocation.Revision, error)) (rev revocation.Revision, err error) {
	t, err := p.db.BeginTx(ctx, p.options)
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
	turn := !p.turns // without turns, it is always ours
	if p.turns && inTurn {
		if _, err := t.ExecContext(ctx, awaitTurn); err != nil {
			return 0, fmt.Errorf("waiting for the turn: %w", err)
		}
		turn = true
	}
	if rev, err = f(&tx{ctx: ctx, q: q, turn: turn, actor: revocation.ActorOf(ctx)}); err != nil {
		return 0, err
	}
	if err := t.Commit(); err != nil {
		return 0, fmt.Errorf("committing: %w", err)
	}
	return rev, nil
}

// takeTurn takes the turn if nobody has it. It does not wait: others may wait
// for what this transaction has locked.
func (t *tx) takeTurn() error {
	if t.turn {
		return nil
	}
	_, err := t.q.ExecContext(t.ctx, tryTurn)
	t.turn = err == nil
	return err
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
	if p.pool.statements == nil {
		return nil
	}
	if s := p.pool.statement(query); s != nil {
		return p.tx.StmtContext(ctx, s)
	}
	p.unknown = append(p.unknown, query)
	return nil
}

func (p *prepared) clean(args []any) []any {
	if p.pool.clean == nil {
		return args
	}
	return p.pool.clean(args)
}

func (p *prepared) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	args = p.clean(args)
	if s := p.statement(ctx, query); s != nil {
		return s.ExecContext(ctx, args...)
	}
	return p.tx.ExecContext(ctx, query, args...)
}

func (p *prepared) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	args = p.clean(args)
	if s := p.statement(ctx, query); s != nil {
		return s.QueryContext(ctx, args...)
	}
	return p.tx.QueryContext(ctx, query, args...)
}

func (p *prepared) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	args = p.clean(args)
	if s := p.statement(ctx, query); s != nil {
		return s.QueryRowContext(ctx, args...)
	}
	return p.tx.QueryRowContext(ctx, query, args...)
}
