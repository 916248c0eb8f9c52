package sqlstore

import (
	"context"
	"database/sql"
)

// querier is what a transaction needs of *sql.Tx.
type querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// tx is one transaction; it satisfies the View and Tx of every aggregate.
type tx struct {
	ctx context.Context
	q   querier
}
