package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"

	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the driver "sqlite"
)

// openSQLite opens a database file. It has one writer at a time, so that a
// transaction sees nothing change under it and never has to run again.
func openSQLite(ctx context.Context, db *DB, c Config) error {
	if err := create(c.Path); err != nil {
		return fmt.Errorf("opening store: %w", err)
	}
	err := openFile(ctx, db, c)
	if err != nil {
		return fmt.Errorf("opening store %s: %w", c.Path, err)
	}
	return nil
}

func openFile(ctx context.Context, db *DB, c Config) (err error) {
	if db.writer, err = openPool(c.Path, 1, url.Values{
		// A write transaction takes its lock at the start: it never reads what
		// another is about to change, and never fails half way.
		"_txlock": {"immediate"},
		"_pragma": {"busy_timeout(5000)", "journal_mode(WAL)", "synchronous(FULL)"},
	}); err != nil {
		return err
	}
	files, err := sqliteFiles()
	if err != nil {
		return err
	}
	if err := migrate(ctx, goose.DialectSQLite3, files, db.writer.db, c.Logger); err != nil {
		return err
	}
	db.readers, err = openPool(c.Path, max(4, runtime.GOMAXPROCS(0)), url.Values{
		"_pragma": {"busy_timeout(5000)", "query_only(1)"},
	})
	return err
}

// create makes the file, so that it is its owner's alone; SQLite gives the
// files beside it the same mode.
func create(path string) error {
	if path == "" {
		return errors.New("no path")
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return file.Close()
}

// openPool opens up to size connections.
func openPool(path string, size int, options url.Values) (*pool, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	name := url.URL{Scheme: "file", Path: path, OmitHost: true, RawQuery: options.Encode()}
	db, err := sql.Open("sqlite", name.String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(size)
	db.SetMaxIdleConns(size)
	return &pool{db: db, statements: make(map[string]*sql.Stmt)}, nil
}
