package sqlstore

import "io/fs"

// MigrationsWithoutCollation are what CockroachDB is given.
func MigrationsWithoutCollation() (fs.FS, error) {
	files, err := postgresFiles()
	return withoutCollation{files}, err
}

// Waiting is how many transactions wait for the turn in this process.
func (db *DB) Waiting() int {
	db.writer.mu.Lock()
	defer db.writer.mu.Unlock()
	return len(db.writer.queue)
}

// WithoutTurns makes a store do without locks of tables, as on CockroachDB.
func (db *DB) WithoutTurns() *DB {
	db.writer.turns = false
	return db
}
