package sqlstore

// Waiting is how many transactions wait for the turn in this process.
func (db *DB) Waiting() int {
	db.writer.mu.Lock()
	defer db.writer.mu.Unlock()
	return len(db.writer.queue)
}
