package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

// Postgres is a PostgreSQL database, or one that speaks its protocol and has
// serializable transactions. Several processes may have it open.
type Postgres struct {
	// URL is postgres://user@host:port/database?…, with the parameters of
	// libpq (sslmode, sslrootcert, target_session_attrs, search_path …).
	URL      string
	Password string // wins over one in URL; default: that, PGPASSWORD, or the file that PGPASSFILE names

	Connections      int           // at most; default 16
	StatementTimeout time.Duration // of one statement, waiting for others included; default 10 s
}

// What a connection is told unless its URL says otherwise.
const (
	defaultConnections      = 16
	defaultStatementTimeout = 10 * time.Second
	defaultConnectTimeout   = 5 * time.Second
	// idleTimeout is how long the server keeps the locks of a process that has
	// stopped in the middle of a transaction.
	idleTimeout = 10 * time.Second
	// Connections are renewed, so that who moves the database behind its name
	// need not stop us.
	connectionLife = 30 * time.Minute
	connectionIdle = 5 * time.Minute
)

// ErrURL means that the URL of a PostgreSQL database cannot be used.
var ErrURL = errors.New("not the URL of a PostgreSQL database")

// UnreachableError means that a PostgreSQL server did not let us in. Hint says
// what to look at.
type UnreachableError struct {
	Where string // host:port, or the path of a socket
	Err   error
	Hint  string
}

func (e *UnreachableError) Error() string {
	return fmt.Sprintf("cannot reach PostgreSQL at %s: %v", e.Where, e.Err)
}

func (e *UnreachableError) Unwrap() error { return e.Err }

// openPostgres opens a PostgreSQL database. Transactions that write are
// serializable there: like with one writer, each sees nothing change under it,
// and one that would have runs again (see pool.transact).
func openPostgres(ctx context.Context, db *DB, c Config) error {
	config, err := c.Postgres.config()
	if err != nil {
		return fmt.Errorf("opening store: %w", err)
	}
	conns := stdlib.OpenDB(*config, stdlib.OptionAfterConnect(durable))
	size := c.Postgres.Connections
	conns.SetMaxOpenConns(size)
	conns.SetMaxIdleConns(size)
	conns.SetConnMaxLifetime(connectionLife)
	conns.SetConnMaxIdleTime(connectionIdle)
	db.writer = &pool{db: conns, options: &sql.TxOptions{Isolation: sql.LevelSerializable}, again: again, clean: cleanText}
	db.readers = &pool{db: conns, options: &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true}, again: again, clean: cleanText}
	if err := settle(ctx, db, c); err != nil {
		return fmt.Errorf("opening store: %w", reached(config, err))
	}
	return nil
}

// config reads the URL and fills in what it leaves open. No error of it has
// the password.
func (c *Postgres) config() (*pgx.ConnConfig, error) {
	u, err := url.Parse(c.URL)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return nil, fmt.Errorf("%w: want postgres://user@host:5432/database?sslmode=verify-full", ErrURL)
	}
	config, err := pgx.ParseConfig(c.URL)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrURL, err)
	}
	if c.Password != "" {
		config.Password = c.Password
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = defaultConnectTimeout
	}
	if c.Connections <= 0 {
		c.Connections = defaultConnections
	}
	if c.StatementTimeout <= 0 {
		c.StatementTimeout = defaultStatementTimeout
	}
	for name, value := range map[string]string{
		"application_name":                    "tegata",
		"statement_timeout":                   milliseconds(c.StatementTimeout),
		"idle_in_transaction_session_timeout": milliseconds(idleTimeout),
	} {
		if _, said := config.RuntimeParams[name]; !said {
			config.RuntimeParams[name] = value
		}
	}
	return config, nil
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// durable makes what is committed on a new connection be on the disk before the
// commit is answered, also where the server was told not to care. Stronger
// settings (remote_apply) stay.
func durable(ctx context.Context, conn *pgx.Conn) error {
	var was string
	if err := conn.QueryRow(ctx, `SHOW synchronous_commit`).Scan(&was); err != nil {
		return err
	}
	if was != "off" {
		return nil
	}
	_, err := conn.Exec(ctx, `SET synchronous_commit = on`)
	return err
}

// settle checks the server and migrates the schema.
func settle(ctx context.Context, db *DB, c Config) error {
	conns := db.writer.db
	var encoding, readOnly, version string
	for query, into := range map[string]*string{
		`SHOW server_encoding`: &encoding, `SHOW transaction_read_only`: &readOnly, `SELECT version()`: &version,
	} {
		if err := conns.QueryRowContext(ctx, query).Scan(into); err != nil {
			return err
		}
	}
	if encoding != "UTF8" {
		return fmt.Errorf("the database has encoding %s: create it with ENCODING 'UTF8'", encoding)
	}
	if readOnly == "on" {
		return errors.New("the server is read-only, a standby perhaps: name the primary, or all servers with target_session_attrs=read-write")
	}
	files, err := postgresFiles()
	if err != nil {
		return err
	}
	if strings.Contains(version, "CockroachDB") {
		files = withoutCollation{files}
	}
	err = alone(ctx, conns, func() error { return migrate(ctx, goose.DialectPostgres, files, conns, c.Logger) })
	if err != nil {
		return err
	}
	db.writer.turns, err = hasTurns(ctx, conns)
	return err
}

// alone runs f while no other process does: a transaction of its own holds a
// row. If this process dies, the server gives the row up with its connection.
func alone(ctx context.Context, conns *sql.DB, f func() error) (err error) {
	for _, query := range []string{
		`CREATE TABLE IF NOT EXISTS migrating (one BIGINT PRIMARY KEY)`,
		`INSERT INTO migrating (one) VALUES (1) ON CONFLICT (one) DO NOTHING`,
	} {
		if err := insist(ctx, conns, query); err != nil {
			return fmt.Errorf("preparing to migrate: %w", err)
		}
	}
	t, err := conns.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Rollback()) }()
	// Others may take long, and so may we: no time is too long for a migration
	// that runs.
	for _, query := range []string{
		`SET LOCAL statement_timeout = 0`,
		`SET LOCAL idle_in_transaction_session_timeout = 0`,
		`SELECT one FROM migrating WHERE one = 1 FOR UPDATE`,
	} {
		if _, err := t.ExecContext(ctx, query); err != nil {
			return fmt.Errorf("waiting for others to migrate: %w", err)
		}
	}
	return f()
}

// insist runs a statement that may meet itself in another process: CREATE
// TABLE IF NOT EXISTS is no protection from that.
func insist(ctx context.Context, conns *sql.DB, query string) (err error) {
	for range 10 {
		_, err = conns.ExecContext(ctx, query)
		if err == nil || !again(err) && !coded(err, "23505", "42P07") { // unique_violation, duplicate_table
			return err
		}
	}
	return err
}

// The statements by which transactions take turns. The table is empty, and
// LOCK takes no snapshot: what the transaction sees begins when its turn does.
const (
	awaitTurn = `LOCK TABLE turn IN EXCLUSIVE MODE`
	tryTurn   = `LOCK TABLE turn IN EXCLUSIVE MODE NOWAIT`
)

// hasTurns reports whether the server has locks of tables. Without them
// (CockroachDB) nothing but speed is lost.
func hasTurns(ctx context.Context, conns *sql.DB) (_ bool, err error) {
	t, err := conns.BeginTx(ctx, nil)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, t.Rollback()) }()
	_, err = t.ExecContext(ctx, tryTurn)
	switch {
	case coded(err, "0A000", "42601"): // feature_not_supported, syntax_error
		return false, nil
	case coded(err, "55P03"): // lock_not_available: somebody has it
		return true, nil
	default:
		return err == nil, err
	}
}

// again reports whether a transaction that failed with err can succeed if it is
// run once more, and has had no effect: it met another (serialization_failure,
// deadlock_detected, lock_not_available of tryTurn), or nothing of it was sent.
func again(err error) bool {
	return coded(err, "40001", "40P01", "55P03") || pgconn.SafeToRetry(err)
}

func coded(err error, codes ...string) bool {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return false
	}
	for _, code := range codes {
		if pg.Code == code {
			return true
		}
	}
	return false
}

// cleanText replaces what PostgreSQL's text cannot hold, a zero byte and what
// is not UTF-8, as no name or note needs either: looked up, it is not found.
func cleanText(args []any) []any {
	for i, arg := range args {
		switch v := arg.(type) {
		case string:
			if !plain(v) {
				args[i] = replace(v)
			}
		case sql.NullString:
			if !plain(v.String) {
				args[i] = sql.NullString{String: replace(v.String), Valid: v.Valid}
			}
		}
	}
	return args
}

func plain(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }

func replace(s string) string {
	const replacement = string(utf8.RuneError)
	return strings.ReplaceAll(strings.ToValidUTF8(s, replacement), "\x00", replacement)
}

// reached makes an error of connecting one that says where to and what to do.
func reached(config *pgx.ConnConfig, err error) error {
	var connecting *pgconn.ConnectError
	if !errors.As(err, &connecting) {
		return err
	}
	where := net.JoinHostPort(config.Host, strconv.Itoa(int(config.Port)))
	if strings.HasPrefix(config.Host, "/") {
		where = config.Host
	}
	return &UnreachableError{Where: where, Err: connecting.Unwrap(), Hint: hint(err)}
}

// hint says what an operator may look at.
func hint(err error) string {
	switch {
	case coded(err, "28P01"): // invalid_password
		return "the server refuses the user or the password: see issuer.store.password_file"
	case coded(err, "28000"): // invalid_authorization_specification
		return "the server's pg_hba.conf has no line for this user, database and address, or wants TLS (sslmode=verify-full)"
	case coded(err, "3D000"): // invalid_catalog_name
		return "create the database first: CREATE DATABASE … ENCODING 'UTF8'"
	case coded(err, "53300"): // too_many_connections
		return "raise the server's max_connections, or lower issuer.store.connections of each replica"
	case coded(err, "57P03"): // cannot_connect_now
		return "it is starting or stopping: try again in a while"
	default:
		return "does it run, listen there, and let this machine in? does sslmode suit it?"
	}
}
