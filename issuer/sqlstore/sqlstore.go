// Package sqlstore keeps the aggregates and the revocation log in SQL, in
// commit order. It must not know doors, tokens or HTTP.
//
// The engine is SQLite (sqlite.go), whose one writer needs no server, or
// PostgreSQL (postgres.go), which several processes share; the statements are
// the same. On both a transaction sees nothing change under it, and revisions
// are handed out in the order of commits without a gap: the records that a
// transaction revokes are numbered and written last, and a rollback gives
// their numbers back. What Write has returned for is on the disk.
package sqlstore

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/tegata/tegata/issuer/client"
	"github.com/tegata/tegata/issuer/keys"
	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/issuer/user"
	"github.com/tegata/tegata/revocation"
)

// Config configures a DB.
type Config struct {
	Path     string           // SQLite: database file; made, for its owner alone, if it is not there
	Postgres Postgres         // in place of Path, if its URL is not empty
	Now      func() time.Time // default time.Now
	Rand     io.Reader        // names the epoch of a new store; default crypto/rand.Reader
	Logger   *slog.Logger     // default: discard
}

// DB is an open store. It is a watch.Source.
type DB struct {
	writer    *pool
	readers   *pool
	now       func() time.Time
	committed chan struct{}
	changes   atomic.Uint64
	created   bool
	holder    string // of leases: this DB
}

// Open opens the database and migrates it. A database that a newer version of
// Tegata has migrated is refused, and left as it is.
func Open(ctx context.Context, c Config) (_ *DB, err error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	db := &DB{now: c.Now, committed: make(chan struct{}, 1)}
	if db.holder, err = newID(c.Rand); err != nil {
		return nil, fmt.Errorf("opening store: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, db.Close())
		}
	}()
	open := openSQLite
	if c.Postgres.URL != "" {
		open = openPostgres
	}
	if err := open(ctx, db, c); err != nil {
		return nil, err
	}
	return db, db.begin(ctx, c.Rand)
}

// newID is 128 random bits.
func newID(rand io.Reader) (string, error) {
	var id [16]byte
	if _, err := io.ReadFull(rand, id[:]); err != nil {
		return "", fmt.Errorf("making an id: %w", err)
	}
	return hex.EncodeToString(id[:]), nil
}

// Changes counts the commits of this process that changed a realm or a client,
// or killed all of one. It rises after the commit, before its writer goes on.
func (db *DB) Changes() uint64 { return db.changes.Load() }

// Created reports whether this DB was the one that began the store's log.
func (db *DB) Created() bool { return db.created }

// Close closes the database. Transactions that run are waited for.
func (db *DB) Close() error { return errors.Join(db.readers.close(), db.writer.close()) }

// Realms is the store of realms.
func (db *DB) Realms() realm.Store { return aggregate[realm.View, realm.Tx]{db} }

// Clients is the store of clients.
func (db *DB) Clients() client.Store { return aggregate[client.View, client.Tx]{db} }

// Users is the store of users.
func (db *DB) Users() user.Store { return aggregate[user.View, user.Tx]{db} }

// Keys is the store of keys.
func (db *DB) Keys() keys.Store { return signingKeys{db} }

// Sessions is the store of sessions, the one that revokes.
func (db *DB) Sessions() session.Store { return sessions{db} }

// aggregate is the store of one aggregate. V and T are satisfied by *tx.
type aggregate[V, T any] struct{ db *DB }

func (a aggregate[V, T]) Read(ctx context.Context, f func(V) error) error {
	return a.db.read(ctx, func(t *tx) error { return f(any(t).(V)) })
}

func (a aggregate[V, T]) Write(ctx context.Context, f func(T) error) error {
	_, err := a.db.write(ctx, func(t *tx) error { return f(any(t).(T)) })
	return err
}

// signingKeys is the store of keys, which revokes too.
type signingKeys struct{ db *DB }

func (s signingKeys) Read(ctx context.Context, f func(keys.View) error) error {
	return s.db.read(ctx, func(t *tx) error { return f(t) })
}

func (s signingKeys) Write(ctx context.Context, f func(keys.Tx) error) (revocation.Revision, error) {
	return s.db.write(ctx, func(t *tx) error { return f(t) })
}

type sessions struct{ db *DB }

func (s sessions) Read(ctx context.Context, f func(session.View) error) error {
	return s.db.read(ctx, func(t *tx) error { return f(t) })
}

func (s sessions) Write(ctx context.Context, f func(session.Tx) error) (revocation.Revision, error) {
	return s.db.write(ctx, func(t *tx) error { return f(t) })
}
