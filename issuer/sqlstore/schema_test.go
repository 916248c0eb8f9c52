package sqlstore_test

import (
	"database/sql"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"

	"github.com/tegata/tegata/internal/pgtest"
	"github.com/tegata/tegata/issuer/sqlstore"
)

// TestBothEnginesHaveOneSchema: the same tables with the same columns, the same
// ones of them NOT NULL, and the same columns indexed. A migration of one
// engine that the other lacks is found here.
func TestBothEnginesHaveOneSchema(t *testing.T) {
	t.Parallel()
	path, url := filepath.Join(t.TempDir(), "tegata.db"), pgtest.URL(t)
	open(t, path)
	openURL(t, url)
	sqlite := describe(t, "sqlite", path, `
		SELECT m.name || '.' || c.name || ' ' || CASE WHEN c."notnull" OR c.pk > 0 THEN 'set' ELSE 'may be null' END
		FROM sqlite_schema m JOIN pragma_table_info(m.name) c WHERE m.type = 'table'
		UNION ALL
		SELECT m.name || ' indexed by ' || (SELECT group_concat(name, ',') FROM (SELECT name FROM pragma_index_info(i.name) ORDER BY seqno))
		FROM sqlite_schema m JOIN pragma_index_list(m.name) i WHERE m.type = 'table'
		UNION ALL
		SELECT m.name || ' indexed by ' || c.name FROM sqlite_schema m JOIN pragma_table_info(m.name) c
		WHERE m.type = 'table' AND c.pk = 1 AND c.type = 'INTEGER'`) // the row's own number
	postgres := describe(t, "pgx", url, `
		SELECT table_name || '.' || column_name || ' ' || CASE is_nullable WHEN 'NO' THEN 'set' ELSE 'may be null' END
		FROM information_schema.columns WHERE table_schema = current_schema()
		UNION ALL
		SELECT c.relname || ' indexed by ' || (
			SELECT string_agg(a.attname, ',' ORDER BY k.n) FROM unnest(i.indkey) WITH ORDINALITY k (attnum, n)
			JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum)
		FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
		WHERE c.relnamespace = current_schema()::regnamespace`)
	if len(sqlite) < 100 {
		t.Errorf("only %d lines: the test shows nothing", len(sqlite))
	}
	if diff := cmp.Diff(sqlite, postgres); diff != "" {
		t.Errorf("-SQLite +PostgreSQL:\n%s", diff)
	}
}

// describe reads lines about a schema, in order, without what is of one engine.
func describe(t *testing.T, driver, source, query string) []string {
	t.Helper()
	db, err := sql.Open(driver, source)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.QueryContext(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var lines []string
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			t.Fatal(err)
		}
		own := slices.ContainsFunc([]string{"goose_", "sqlite_", "migrating", "turn"}, func(p string) bool { return strings.HasPrefix(line, p) })
		if !own {
			lines = append(lines, line)
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	slices.Sort(lines)
	return lines
}

// TestMigrationsForCockroachDB have no collation of a column, which it does not
// know, and are the same else.
func TestMigrationsForCockroachDB(t *testing.T) {
	t.Parallel()
	files, err := sqlstore.MigrationsWithoutCollation()
	if err != nil {
		t.Fatal(err)
	}
	names, err := fs.Glob(files, "*.sql")
	if err != nil || len(names) < 2 {
		t.Fatalf("%v, %v", names, err)
	}
	for _, name := range names {
		edited, err := fs.ReadFile(files, name)
		if err != nil {
			t.Fatal(err)
		}
		plain, err := os.ReadFile("migrations/postgres/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if want := strings.ReplaceAll(string(plain), ` COLLATE "C"`, ""); string(edited) != want {
			t.Errorf("%s: %s", name, cmp.Diff(want, string(edited)))
		}
	}
}
