// Package pgtest starts a real PostgreSQL for the tests of a package, and gives
// each test a place of its own in it. It must not know what is kept there.
//
// There is one server for each test binary, started by the first test that asks
// and stopped by Main. It listens on a Unix socket alone, in a folder of its
// own, so that no port is taken; and it hangs on a pipe to the test binary, so
// that it ends also when that is killed.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// BinVariable names the environment variable with the folder of initdb and
// postgres. Without it they are looked for in .tools/postgres of the project,
// then on PATH.
const BinVariable = "TEGATA_POSTGRES_BIN"

// Main runs the tests of a package and stops the server that they started. It
// is called from TestMain.
func Main(m *testing.M) int {
	code := m.Run()
	if err := shared.stop(); err != nil {
		fmt.Fprintln(os.Stderr, "stopping PostgreSQL:", err)
		return 1
	}
	return code
}

// shared is the server that the tests of a package share.
var shared = &lazy{}

type lazy struct {
	once   sync.Once
	server *Server
	err    error
	places atomic.Int64
}

func (l *lazy) get() (*Server, error) {
	// What is lost in a crash of the machine does not matter here, so nothing
	// waits for the disk. Crashes of processes lose nothing all the same.
	l.once.Do(func() { l.server, l.err = Start(nil, "-c", "fsync=off") })
	return l.server, l.err
}

func (l *lazy) stop() error {
	l.once.Do(func() { l.err = errors.New("no test asked for it") })
	if l.server == nil {
		return nil
	}
	return l.server.Stop()
}

// URL is the URL of an empty schema, which no other test uses. Without
// PostgreSQL the test is skipped, but in CI it fails.
func URL(t testing.TB) string {
	t.Helper()
	s, err := shared.get()
	need(t, err)
	schema := fmt.Sprintf("t%d", shared.places.Add(1))
	if err := s.Run(t.Context(), "CREATE SCHEMA "+schema); err != nil {
		t.Fatal(err)
	}
	return s.URL(url.Values{"search_path": {schema}})
}

// need skips the test if there is no PostgreSQL to start, and fails it for
// every other error.
func need(t testing.TB, err error) {
	t.Helper()
	if errors.Is(err, exec.ErrNotFound) && os.Getenv("CI") == "" {
		t.Skipf("%v; make test fetches one", err)
	}
	if err != nil {
		t.Fatalf("starting PostgreSQL: %v", err)
	}
}

// New starts a server for one test, see Start, and stops it when that ends.
func New(t testing.TB, files map[string][]byte, options ...string) *Server {
	t.Helper()
	s, err := Start(files, options...)
	need(t, err)
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// Run runs statements in the server of URL, as its superuser and outside of
// every schema.
func Run(t testing.TB, statements string) {
	t.Helper()
	s, err := shared.get()
	if err == nil {
		err = s.Run(t.Context(), statements)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Server is a running PostgreSQL.
type Server struct {
	bin, dir string
	as       *user // whom it runs as; nil: who runs the tests
	hold     io.Closer
	process  *exec.Cmd
	log      string
}

// Start makes a database cluster in a temporary folder and starts a server on
// it, with further options of postgres. Files are put where the server
// runs, so that options name them as they are. That there is no PostgreSQL is
// exec.ErrNotFound.
func Start(files map[string][]byte, options ...string) (_ *Server, err error) {
	bin, err := find()
	if err != nil {
		return nil, err
	}
	s := &Server{bin: bin}
	// Not t.TempDir: the path of a socket has 107 bytes at most.
	if s.dir, err = os.MkdirTemp("", "tegata-pg"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(s.dir))
		}
	}()
	if s.as, err = unprivileged(); err != nil {
		return nil, err
	}
	if err := s.as.own(s.dir); err != nil {
		return nil, err
	}
	s.log = filepath.Join(s.dir, "log")
	initdb := s.command(context.Background(), "initdb", "--pgdata", s.data(), "--username", "tegata", "--auth", "trust",
		"--encoding", "UTF8", "--no-locale", "--no-sync", "--no-instructions")
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	for name, content := range files {
		path := filepath.Join(s.dir, name)
		if err := errors.Join(os.WriteFile(path, content, 0o600), s.as.own(path)); err != nil {
			return nil, err
		}
	}
	return s, s.start(options)
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

func (s *Server) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, program), args...)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "PGHOST="+s.dir, "PGUSER=tegata", "PGDATABASE=postgres", "HOME="+s.dir)
	s.as.run(cmd)
	return cmd
}

// keeper runs a server for as long as somebody holds the other end of its
// standard input.
const keeper = `"$@" </dev/null & server=$!; cat >/dev/null; kill -INT $server; wait $server`

func (s *Server) start(options []string) error {
	args := append([]string{
		"-c", keeper, "sh", filepath.Join(s.bin, "postgres"), "-D", s.data(), "-k", s.dir,
		"-c", "listen_addresses=", "-c", "max_connections=300", "-c", "logging_collector=off",
	}, options...)
	s.process = s.command(context.Background(), "postgres")
	s.process.Path, s.process.Args = "/bin/sh", append([]string{"sh"}, args...)
	log, err := os.Create(s.log)
	if err != nil {
		return err
	}
	defer log.Close()
	s.process.Stdout, s.process.Stderr = log, log
	hold, err := s.process.StdinPipe()
	if err != nil {
		return err
	}
	s.hold = hold
	if err := s.process.Start(); err != nil {
		return err
	}
	return s.await()
}

// await waits until the server answers.
func (s *Server) await() error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for s.Run(ctx, "SELECT 1") != nil {
		if ctx.Err() != nil {
			said, _ := os.ReadFile(s.log)
			return errors.Join(fmt.Errorf("postgres does not answer:\n%s", said), s.Stop())
		}
	}
	return nil
}

// URL is how the server is reached, with further parameters.
func (s *Server) URL(parameters url.Values) string {
	query := url.Values{"host": {s.dir}}
	for k, v := range parameters {
		query[k] = v
	}
	return "postgres://tegata@/postgres?" + query.Encode()
}

// Socket is the path of its Unix socket.
func (s *Server) Socket() string { return filepath.Join(s.dir, ".s.PGSQL.5432") }

// Run runs statements.
func (s *Server) Run(ctx context.Context, statements string) error {
	out, err := s.command(ctx, "psql", "--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", "--command", statements).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", statements, err, out)
	}
	return nil
}

// Stop stops the server and removes what it kept.
func (s *Server) Stop() error {
	if s.hold != nil {
		_ = s.hold.Close()
		_ = s.process.Wait() // the shell passes on how the server ended, which is by our signal
	}
	return os.RemoveAll(s.dir)
}

// find returns the folder of the programs.
func find() (string, error) {
	if dir := os.Getenv(BinVariable); dir != "" {
		return dir, nil
	}
	if root, err := projectRoot(); err == nil {
		fetched := filepath.Join(root, ".tools", "postgres", "bin")
		if _, err := os.Stat(filepath.Join(fetched, "initdb")); err == nil {
			return filepath.EvalSymlinks(fetched)
		}
	}
	path, err := exec.LookPath("initdb")
	if err == nil {
		path, err = filepath.EvalSymlinks(path) // the others are where it really is
	}
	if err == nil {
		_, err = exec.LookPath(filepath.Join(filepath.Dir(path), "psql"))
	}
	if err != nil {
		return "", fmt.Errorf("PostgreSQL is missing (set %s to the folder of initdb and psql, or put initdb on PATH): %w", BinVariable, errors.Join(err, exec.ErrNotFound))
	}
	return filepath.Dir(path), nil
}

// projectRoot is the folder of go.mod above the test.
func projectRoot() (string, error) {
	dir, err := os.Getwd()
	for err == nil {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir || strings.HasSuffix(dir, string(filepath.Separator)) {
			break
		}
		dir = up
	}
	return "", errors.Join(errors.New("no go.mod above the test"), err)
}
