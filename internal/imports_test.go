// Package internal_test holds the house rules that the compiler cannot: which
// package may import which, with the reason.
package internal_test

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/tegata/tegata/"

// ground is what every package of issuer may stand on: the realm a request is
// in, the words of the protocol, the vocabulary of revocation.
var ground = []string{"issuer/realm", "issuer/oauth", "revocation"}

// aggregates own a small store interface each.
var aggregates = []string{"issuer/client", "issuer/user", "issuer/session", "issuer/keys", "issuer/realm", "issuer/stream"}

// doors are issuer's endpoints: HTTP in, words out.
var doors = []string{
	"issuer/grant", "issuer/login", "issuer/logout", "issuer/introspect", "issuer/revoke",
	"issuer/userinfo", "issuer/discovery", "issuer/register", "issuer/receiver", "issuer/signals",
}

// table is what each package may import of ours; docs/ARCHITECTURE.md draws
// it. A package that is not here may not exist: adding one is a decision.
var table = map[string][]string{
	"revocation":              nil,
	"revocation/revocationpb": nil,
	"revocation/watch":        {"revocation", "revocation/revocationpb"},
	"revocation/ssf":          {"revocation", "internal/jose"}, // reads what outsiders write, as strictly as tokens

	"internal":        nil,
	"internal/jose":   {"internal/p256"},
	"internal/p256":   nil,
	"internal/jwks":   {"internal/jose"},
	"internal/stack":  nil,
	"internal/pgtest": nil,

	"issuer/oauth":      nil,
	"issuer/recent":     nil,
	"issuer/realm":      {"issuer/recent", "internal/jose"},
	"issuer/client":     {"issuer/realm", "issuer/recent", "revocation", "internal/jose"},
	"issuer/user":       {"issuer/realm", "revocation", "revocation/ssf"}, // the events that others are told of begin where they happen
	"issuer/session":    {"issuer/realm", "issuer/recent", "revocation", "revocation/ssf"},
	"issuer/stream":     {"issuer/realm", "issuer/seal", "revocation/ssf"},
	"issuer/keys":       {"issuer/realm", "revocation", "internal/jose", "issuer/seal"},
	"issuer/token":      {"issuer/realm", "issuer/keys", "issuer/session", "revocation", "revocation/ssf", "internal/jose"},
	"issuer/claims":     {"issuer/realm", "issuer/client", "issuer/user"},
	"issuer/clientauth": {"issuer/realm", "issuer/client", "issuer/oauth", "internal/jose", "internal/jwks", "issuer/seal"},
	"issuer/userauth":   {"issuer/realm", "issuer/user"},
	"issuer/dpop":       {"issuer/realm", "issuer/oauth", "internal/jose"},
	"issuer/seal":       nil,
	"issuer/theme":      {"issuer/realm"},

	"issuer/grant":      with(ground, "issuer/claims", "issuer/client", "issuer/clientauth", "issuer/dpop", "issuer/user", "issuer/userauth", "issuer/session", "issuer/token"),
	"issuer/login":      with(ground, "internal/jose", "issuer/claims", "issuer/client", "issuer/clientauth", "issuer/dpop", "issuer/user", "issuer/userauth", "issuer/session", "issuer/token", "issuer/theme"),
	"issuer/logout":     with(ground, "issuer/client", "issuer/clientauth", "issuer/session", "issuer/token", "issuer/theme"),
	"issuer/introspect": with(ground, "internal/jose", "issuer/claims", "issuer/client", "issuer/clientauth", "issuer/user", "issuer/session", "issuer/token"), // says what is released now
	"issuer/revoke":     with(ground, "issuer/client", "issuer/clientauth", "issuer/session", "issuer/token"),
	"issuer/userinfo":   with(ground, "issuer/claims", "issuer/client", "issuer/clientauth", "issuer/dpop", "issuer/user", "issuer/session", "issuer/token", "internal/jose"), // the algorithm of signed answers
	"issuer/discovery":  with(ground, "issuer/keys", "internal/jose"),
	"issuer/register":   with(ground, "issuer/client", "issuer/clientauth", "issuer/token"),

	// What others say is verified with their keys, and becomes records, never sessions.
	"issuer/receiver":    {"issuer/session", "issuer/oauth", "revocation", "revocation/ssf", "internal/jose", "internal/jwks"},
	"issuer/signals":     {"issuer/realm", "issuer/claims", "issuer/client", "issuer/delivery", "issuer/oauth", "issuer/stream", "issuer/token", "revocation/ssf", "internal/jose", "internal/jwks"},
	"issuer/delivery":    {"issuer/realm"},
	"issuer/backchannel": {"issuer/realm", "issuer/claims", "issuer/client", "issuer/delivery", "issuer/session", "issuer/token"},

	"issuer/sqlstore":  with(aggregates, "revocation", "revocation/ssf"),
	"issuer/storetest": with(aggregates, "revocation", "revocation/ssf", "internal/jose"),

	"authz/credential":    nil,
	"authz/turns":         nil,
	"authz/verify":        {"authz/turns", "internal/jose", "internal/jwks", "revocation"},
	"authz/policy/reads":  nil,
	"authz/policy":        {"authz/policy/reads"},
	"authz/policy/author": {"authz/check", "authz/input", "authz/verify", "authz/policy", "authz/policy/reads", "revocation"},
	"authz/check":         {"authz/credential", "authz/turns", "authz/verify", "authz/policy", "authz/policy/reads", "revocation"},
	"authz/decisionlog":   nil,
	"authz/input":         nil,
	"authz/extauthz":      {"authz/check", "authz/input", "authz/policy", "authz/policy/reads"},
	"authz/extproc":       {"authz/check", "authz/extauthz", "authz/verify"},
	"authz/forwardauth":   {"authz/check", "authz/input", "authz/policy/reads"},

	"policies":        nil,
	"manifests/envoy": nil,
}

// families may import every package below a prefix, but for what never allows.
var families = map[string][]string{
	"issuer":     {"issuer/", "revocation", "internal/jose", "internal/jwks"},
	"authz":      {"authz/", "revocation", "internal/jose", "internal/jwks"},
	"cmd/tegata": {""},
	// The contract, because the benchmark revokes a million tokens, which no issuer will do for it.
	"e2e": {"internal/stack", "manifests/", "e2e/", "policies", "revocation"},
}

// never are the walls that no line of the table may break.
var never = []struct {
	from, to, why string
	except        []string
}{
	{"authz", "issuer", "the two halves share only the contract and standard tokens, so each can be replaced or released alone", nil},
	{"issuer", "authz", "the two halves share only the contract and standard tokens, so each can be replaced or released alone", nil},
	{"revocation", "issuer", "the contract belongs to neither side", nil},
	{"revocation", "authz", "the contract belongs to neither side", nil},
	{"issuer", "issuer/sqlstore", "a door or aggregate that sees SQL cannot be tested or moved without it; cmd alone chooses the store", nil},
	{"", "github.com/lestrrat-go/jwx", "its successor must be one package's work; the benchmark's reference server is what others do", []string{"internal/jose", "e2e/bench"}},
	{"", "filippo.io/nistec", "arithmetic on curves is for one small package, tested against crypto/ecdsa", []string{"internal/p256"}},
	{"", "github.com/open-policy-agent/opa", "Rego is authz's engine; nobody else evaluates, but for the benchmark's reference server", []string{"authz", "e2e/bench"}},
	{"", "modernc.org/sqlite", "SQL stays in one package", []string{"issuer/sqlstore"}},
	{"", "database/sql", "SQL stays in one package", []string{"issuer/sqlstore"}},
	{"", "github.com/jackc/pgx", "SQL stays in one package", []string{"issuer/sqlstore"}},
	{"internal/stack", "github.com/tegata/tegata/", "it runs the built binary, as an operator does", nil},
}

func with(list []string, more ...string) []string { return append(slices.Clone(list), more...) }

// pkg is what `go list -json` tells.
type pkg struct {
	ImportPath string
	Imports    []string
}

// short is the path inside the module.
func short(path string) string { return strings.TrimPrefix(path, module) }

// depend makes the test's result depend on the sources: go test keeps a result
// until a file changes that the test itself has opened, and others read here.
func depend(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != ".." && strings.HasPrefix(d.Name(), "."):
			return fs.SkipDir
		case filepath.Ext(path) == ".go":
			_, err = os.Stat(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func list(t *testing.T) []pkg {
	t.Helper()
	depend(t)
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Imports", "./...")
	cmd.Dir = ".."
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pkgs []pkg
	for d := json.NewDecoder(out); ; {
		var p pkg
		err := d.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("reading go list: %v", err)
		}
		pkgs = append(pkgs, p)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("go list: %v", err)
	}
	return pkgs
}

func TestPackagesImportOnlyWhatTheirJobNeeds(t *testing.T) {
	t.Parallel()
	for _, p := range list(t) {
		from := short(p.ImportPath)
		allowed, prefixes, known := allowance(from)
		if !known {
			t.Errorf("%s is not in the import table: say what it may import, and why it exists, in internal/imports_test.go", from)
			continue
		}
		for _, path := range p.Imports {
			to := short(path)
			if to == path { // not ours
				continue
			}
			if !slices.Contains(allowed, to) && !hasAnyPrefix(to, prefixes) {
				t.Errorf("%s imports %s, which is not on its line of the import table", from, to)
			}
		}
	}
}

// allowance is what a package may import: exact paths, and prefixes.
func allowance(from string) (exact, prefixes []string, known bool) {
	if exact, known = table[from]; known {
		return exact, nil, true
	}
	for f, p := range families {
		if from == f || (f == "e2e" && strings.HasPrefix(from, "e2e/")) {
			return nil, p, true
		}
	}
	return nil, nil, false
}

func hasAnyPrefix(s string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(s, p) })
}

func TestWallsHold(t *testing.T) {
	t.Parallel()
	for _, p := range list(t) {
		from := short(p.ImportPath)
		for _, path := range p.Imports {
			for _, wall := range never {
				if broken(wall.from, wall.to, wall.except, from, path) {
					t.Errorf("%s imports %s: never, because %s", from, path, wall.why)
				}
			}
			if slices.Contains(doors, from) && slices.Contains(doors, short(path)) {
				t.Errorf("door %s imports door %s: what two doors need belongs below both", from, short(path))
			}
			if slices.Contains(aggregates, from) && slices.Contains(aggregates, short(path)) && short(path) != "issuer/realm" {
				t.Errorf("aggregate %s imports aggregate %s: they know each other by id", from, short(path))
			}
		}
	}
}

// broken reports whether the import from → path breaks a wall.
func broken(wallFrom, wallTo string, except []string, from, path string) bool {
	inside := func(p, room string) bool { return p == room || strings.HasPrefix(p, strings.TrimSuffix(room, "/")+"/") }
	if wallFrom != "" && !inside(from, wallFrom) {
		return false
	}
	if slices.ContainsFunc(except, func(e string) bool { return inside(from, e) }) {
		return false
	}
	return inside(short(path), wallTo) || inside(path, wallTo)
}

// TestTheTableHasNoCircle: arrows point downwards only.
func TestTheTableHasNoCircle(t *testing.T) {
	t.Parallel()
	const visiting, done = 1, 2
	state := map[string]int{}
	var visit func(string, []string)
	visit = func(p string, path []string) {
		switch state[p] {
		case visiting:
			t.Errorf("circle: %s", strings.Join(append(path, p), " → "))
			return
		case done:
			return
		}
		state[p] = visiting
		for _, to := range table[p] {
			visit(to, append(path, p))
		}
		state[p] = done
	}
	for p := range table {
		visit(p, nil)
	}
}

// TestOnlyCommandsReadTheEnvironment: configuration comes in as parameters.
func TestOnlyCommandsReadTheEnvironment(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("git", "grep", "-nE", `os\.(Getenv|LookupEnv|Environ)\(|flag\.(Parse|String|Int|Bool)\(`, "--", "*.go", ":!*_test.go", ":!cmd", ":!e2e", ":!internal/stack", ":!internal/pgtest")
	cmd.Dir = ".."
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 1 { // nothing found
		return
	}
	if err != nil {
		t.Skipf("git grep: %v (not a checkout?)", err)
	}
	t.Errorf("only cmd/ reads the environment and flags:\n%s", out)
}
