package sqlstore

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"path"
	"strings"

	"github.com/pressly/goose/v3"
)

//go:embed migrations
var migrations embed.FS

// ErrNewer means that a newer version of Tegata has migrated the database.
var ErrNewer = errors.New("the database is newer than this version of tegata")

// sqliteFiles and postgresFiles are the migrations of an engine.
func sqliteFiles() (fs.FS, error)   { return fs.Sub(migrations, "migrations/sqlite") }
func postgresFiles() (fs.FS, error) { return fs.Sub(migrations, "migrations/postgres") }

// withoutCollation is migrations for CockroachDB: it compares text by its bytes
// anyway, and columns of its tables cannot say so.
type withoutCollation struct{ fs.FS }

func (w withoutCollation) Open(name string) (fs.File, error) {
	if path.Ext(name) != ".sql" {
		return w.FS.Open(name)
	}
	content, err := fs.ReadFile(w.FS, name)
	if err != nil {
		return nil, err
	}
	file, err := w.FS.Open(name)
	return edited{file, strings.NewReader(strings.ReplaceAll(string(content), ` COLLATE "C"`, ""))}, err
}

// edited is a file with another content.
type edited struct {
	fs.File
	content io.Reader
}

func (e edited) Read(b []byte) (int, error) { return e.content.Read(b) }

// migrate brings the schema to the version of this package. A version, once
// released, is never edited: a change is a new file.
func migrate(ctx context.Context, dialect goose.Dialect, files fs.FS, db *sql.DB, logger *slog.Logger) error {
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
