package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/tegata/tegata/issuer"
	"github.com/tegata/tegata/issuer/sqlstore"
)

// openStore opens the store, or says what to look at.
func openStore(ctx context.Context, c storeConfig, log *slog.Logger) (*sqlstore.DB, error) {
	if c.Postgres != "" {
		return openPostgres(ctx, c, log)
	}
	db, err := sqlstore.Open(ctx, sqlstore.Config{Path: c.SQLite, Logger: log})
	if err != nil {
		return nil, withHint(fmt.Errorf("issuer.store.sqlite: %w", err), "is its directory there, and writable for tegata?")
	}
	return db, nil
}

func openPostgres(ctx context.Context, c storeConfig, log *slog.Logger) (*sqlstore.DB, error) {
	password, err := secretOf("issuer.store.password_file", c.Password, c.PasswordFile)
	if err != nil {
		return nil, err
	}
	db, err := sqlstore.Open(ctx, sqlstore.Config{Logger: log, Postgres: sqlstore.Postgres{
		URL: c.Postgres, Password: password, Connections: c.Connections, StatementTimeout: c.StatementTimeout,
	}})
	if err == nil {
		return db, nil
	}
	err = fmt.Errorf("issuer.store.postgres: %w", err)
	var away *sqlstore.UnreachableError
	switch {
	case errors.As(err, &away):
		return nil, withHint(err, away.Hint)
	case errors.Is(err, sqlstore.ErrURL):
		return nil, withHint(err, "see docs/operating.md, PostgreSQL")
	default:
		return nil, err
	}
}

// stores hands out the aggregates' stores of one database.
func stores(db *sqlstore.DB) issuer.Stores {
	return issuer.Stores{Realms: db.Realms(), Clients: db.Clients(), Users: db.Users(), Sessions: db.Sessions(), Keys: db.Keys(), Streams: db.Streams()}
}
