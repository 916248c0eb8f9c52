package sqlstore

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"

	"github.com/pressly/goose/v3"
)

//go:embed migrations
var migrations embed.FS

// ErrNewer means that a newer version of Tegata has migrated the database.
var ErrNewer = errors.New("the database is newer than this version of tegata")

// migrate brings the schema to the version of this package. A version, once
// released, is never edited: a change is a new file.
func migrate(ctx context.Context, dialect goose.Dialect, folder string, db *sql.DB, logger *slog.Logger) error {
	files, err := fs.Sub(migrations, "migrations/"+folder)
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(dialect, db, files, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("reading migrations: %w", err)
	}
	current, target, err := provider.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("reading the schema's version: %w", err)
	}
	if current > target {
		return fmt.Errorf("%w: its schema is version %d, this tegata knows %d; run the newer tegata or restore a backup", ErrNewer, current, target)
	}
	done, err := provider.Up(ctx)
	if err != nil {
		return fmt.Errorf("migrating: %w", err)
	}
	for _, m := range done {
		logger.InfoContext(ctx, "migrated the store", "version", m.Source.Version)
	}
	return nil
}
