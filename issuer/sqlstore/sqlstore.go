// Package sqlstore keeps the aggregates and the revocation log in SQL, in
// commit order. It must not know doors, tokens or HTTP.
package sqlstore

import (
	"context"
	"log/slog"

	"github.com/tegata/tegata/issuer/client"
	"github.com/tegata/tegata/issuer/keys"
	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/issuer/user"
	"github.com/tegata/tegata/revocation"
)

// Config configures a DB.
type Config struct {
	Path   string       // database file; made if it is not there
	Logger *slog.Logger // default: discard
}

// DB is an open store. It is a watch.Source.
type DB struct{}

// Open opens the database and migrates it.
func Open(ctx context.Context, c Config) (*DB, error) { panic("unbuilt") }

// Close closes the database.
func (db *DB) Close() error { panic("unbuilt") }

// Realms is the store of realms.
func (db *DB) Realms() realm.Store { panic("unbuilt") }

// Clients is the store of clients.
func (db *DB) Clients() client.Store { panic("unbuilt") }

// Users is the store of users.
func (db *DB) Users() user.Store { panic("unbuilt") }

// Sessions is the store of sessions.
func (db *DB) Sessions() session.Store { panic("unbuilt") }

// Keys is the store of keys.
func (db *DB) Keys() keys.Store { panic("unbuilt") }

// Head implements watch.Source.
func (db *DB) Head(ctx context.Context) (revocation.Epoch, revocation.Revision, error) {
	panic("unbuilt")
}

// Since implements watch.Source.
func (db *DB) Since(ctx context.Context, after revocation.Revision, limit int) ([]revocation.Record, revocation.Revision, error) {
	panic("unbuilt")
}

// Committed implements watch.Source.
func (db *DB) Committed() <-chan struct{} { panic("unbuilt") }
