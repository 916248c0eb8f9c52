package main

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tegata/tegata/authz/verify"
	"github.com/tegata/tegata/internal/jose"
)

func noEnv(string) (string, bool) { return "", false }

// TestBadConfigsSayWhere holds each testdata/config/*.bad.yml to the message
// in its first comment line: file position, key, what is wrong.
func TestBadConfigsSayWhere(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/config/*.bad.yml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no bad configurations: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			want := wanted(t, file)
			_, err := loadConfig(file, noEnv, nil)
			if err == nil {
				t.Fatalf("accepted; want %q", want)
			}
			got := strings.TrimPrefix(err.Error(), file+":")
			if got = strings.TrimSpace(got); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			var bad *configError
			if !errors.As(err, &bad) {
				t.Errorf("%T is not a configError: the exit code would be wrong", err)
			}
		})
	}
}

// wanted reads "# want: …".
func wanted(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want, ok := strings.CutPrefix(firstLine(string(b)), "# want: ")
	if !ok {
		t.Fatalf("%s does not begin with # want:", file)
	}
	return want
}

func TestGoodConfig(t *testing.T) {
	t.Parallel()
	c, err := loadConfig("testdata/config/good.yml", noEnv, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := c.Issuer.Store.SQLite, filepath.Join("testdata", "config", "data", "tegata.db"); got != want {
		t.Errorf("store.sqlite = %q, want %q: relative to the file", got, want)
	}
	if got, want := c.Issuer.Watch.Lease, 7*time.Second; got != want {
		t.Errorf("watch.lease = %v, want %v", got, want)
	}
	if got, want := c.Authz.Management, "127.0.0.1:9192"; got != want {
		t.Errorf("authz.management = %q, want the default %q", got, want)
	}
	if got, want := c.Authz.Issuers[0].Algorithms, []string{"ES256", "RS256"}; !reflect.DeepEqual(got, want) {
		t.Errorf("algorithms = %v, want %v", got, want)
	}
}

// TestIssuersWithoutRevocations: where no issuer pushes any, no stream is
// asked for, and no connection is made.
func TestIssuersWithoutRevocations(t *testing.T) {
	t.Parallel()
	c, err := loadConfig("testdata/config/foreign.yml", noEnv, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, conn, err := authzServerConfig(*c.Authz, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if conn != nil || got.Watch != nil {
		t.Errorf("a connection to %q", c.Authz.Revocations.Address)
	}
	if want := []string{"https://sso.example.com/realms/main", "https://opaque.example.com"}; !slices.Equal(got.WithoutRevocations, want) {
		t.Errorf("without revocations: %q, want %q", got.WithoutRevocations, want)
	}
	if want := []jose.Algorithm{jose.ES256, jose.EdDSA}; !slices.Equal(got.DPoP.Algorithms, want) || got.DPoP.Proofs != 100_000 {
		t.Errorf("DPoP: %+v", got.DPoP)
	}
	if want := []jose.Algorithm{jose.RS256, jose.PS384, jose.ES512}; !slices.Equal(got.Issuers[0].Algorithms, want) {
		t.Errorf("algorithms: %q", got.Issuers[0].Algorithms)
	}
	for _, name := range algorithms() { // what the file may say is what can be done
		c.Authz.DPoP.Algorithms, c.Authz.Issuers[0].Algorithms = []string{name}, []string{name}
		got, _, err := authzServerConfig(*c.Authz, nil, slog.New(slog.DiscardHandler))
		if err == nil {
			_, err = verify.New(verify.Config{Issuers: got.Issuers, DPoP: got.DPoP})
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOverrides(t *testing.T) {
	t.Parallel()
	environment := map[string]string{
		"TEGATA_AUTHZ_LISTEN":       "127.0.0.1:1",
		"TEGATA_AUTHZ_MANAGEMENT":   "127.0.0.1:2",
		"TEGATA_ISSUER_REVOKE_WAIT": "250ms",
		"TEGATA_ISSUER_PORT":        "tcp://10.0.0.1:80", // what Kubernetes sets for a service of that name
	}
	lookup := func(k string) (string, bool) { v, ok := environment[k]; return v, ok }
	c, err := loadConfig("testdata/config/good.yml", lookup, []string{"authz.listen=127.0.0.1:3", "authz.gc_percent=50", "issuer.behind_proxy=true"})
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		what      string
		got, want any
	}{
		{"a flag beats the environment", c.Authz.Listen, "127.0.0.1:3"},
		{"the environment beats the file", c.Authz.Management, "127.0.0.1:2"},
		{"a duration", c.Issuer.RevokeWait, 250 * time.Millisecond},
		{"a number", c.Authz.GCPercent, 50},
		{"true or false", c.Issuer.BehindProxy, true},
	} {
		if row.got != row.want {
			t.Errorf("%s: got %v, want %v", row.what, row.got, row.want)
		}
	}
}

func TestBadOverridesNameThemselves(t *testing.T) {
	t.Parallel()
	none := map[string]string{}
	for _, row := range []struct {
		name string
		env  map[string]string
		set  string
		want string
	}{
		{"unknown key", none, "authz.lisen=x", "--set: authz.lisen: unknown key, or one that is a list or section"},
		{"a list", none, "issuer.realms=x", "--set: issuer.realms: unknown key, or one that is a list or section"},
		{"no value", none, "authz.listen", `--set wants key=value, got "authz.listen"`},
		{"wrong type", none, "authz.gc_percent=lots", `--set: authz.gc_percent: wants a whole number, got "lots"`},
		{"wrong value", none, "authz.on_stale=hope", `--set: authz.on_stale: "hope" is not one of deny, serve`},
		{"from the environment", map[string]string{"TEGATA_AUTHZ_DRAIN": "soon"}, "", `TEGATA_AUTHZ_DRAIN: authz.drain: wants a duration such as "5s", got "soon"`},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			var sets []string
			if row.set != "" {
				sets = []string{row.set}
			}
			lookup := func(k string) (string, bool) { v, ok := row.env[k]; return v, ok }
			_, err := loadConfig("testdata/config/good.yml", lookup, sets)
			if err == nil || err.Error() != row.want {
				t.Errorf("got %v, want %s", err, row.want)
			}
		})
	}
}

// TestEnvNamesAreUnambiguous: two keys must not share a variable.
func TestEnvNamesAreUnambiguous(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, key := range scalarKeys(reflect.TypeFor[config](), "") {
		if other, ok := seen[envName(key)]; ok {
			t.Errorf("%s and %s share %s", key, other, envName(key))
		}
		seen[envName(key)] = key
	}
}

// TestEveryKeyIsDocumented holds docs/operating.md to the structs.
func TestEveryKeyIsDocumented(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range allKeys(reflect.TypeFor[config](), "") {
		if !strings.Contains(string(b), "`"+key+"`") {
			t.Errorf("docs/operating.md does not mention `%s`", key)
		}
	}
}

// allKeys lists every key that holds a value, lists and their items' keys too.
func allKeys(typ reflect.Type, path string) []string {
	var keys []string
	for f := range fields(typ) {
		key := join(path, keyOf(f))
		s := structOf(f.Type)
		if s == nil {
			keys = append(keys, key)
			continue
		}
		if f.Type.Kind() == reflect.Slice {
			key += "[]"
		}
		keys = append(keys, allKeys(s, key)...)
	}
	return keys
}

func TestParseBytes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{"1B": 1, "64KiB": 65536, "512MiB": 512 << 20, "2GiB": 2 << 30, "off": 0} {
		if got, err := parseBytes(text); err != nil || got != want {
			t.Errorf("parseBytes(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "512", "512MB", "-1MiB", "0B", "99999999999GiB", "MiB"} {
		if got, err := parseBytes(text); err == nil {
			t.Errorf("parseBytes(%q) = %d, want an error", text, got)
		}
	}
}

// FuzzDecodeStrict: whatever a file holds, the answer is a decoded document or
// a complaint about a place in it, never a panic.
func FuzzDecodeStrict(f *testing.F) {
	for _, pattern := range []string{"testdata/config/*.yml", "../../internal/stack/*.yaml"} {
		files, _ := filepath.Glob(pattern)
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var c config
		if _, err := decodeStrict("f.yml", b, &c); err != nil {
			var bad *configError
			if !errors.As(err, &bad) || !strings.HasPrefix(err.Error(), "f.yml") || strings.Contains(err.Error(), "\n") {
				t.Errorf("complaint without a place, or on several lines: %v", err)
			}
		}
	})
}
