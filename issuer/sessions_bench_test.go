package issuer_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tegata/tegata/issuer/userauth"
)

// BenchmarkBesideSessions is what an issuer does with an empty store and, turn
// by turn in the same minute, with one that holds so many sessions more
// (TEGATA_SESSIONS, or 10,000). It must not matter: read the ratios, of the
// CPU and of the time. The client is in both.
//
// The sessions that are used were opened by real logins before, and lie
// anywhere among the others. A login's password costs next to nothing here;
// what one costs otherwise is BenchmarkPassword.
func BenchmarkBesideSessions(b *testing.B) {
	const used = 300
	many := 10_000
	if n := os.Getenv("TEGATA_SESSIONS"); n != "" {
		if _, err := fmt.Sscan(n, &many); err != nil {
			b.Fatal(err)
		}
	}
	empty, full := newBeside(b, used, 0), newBeside(b, used, many)
	for _, op := range []struct {
		name string
		do   func(*beside)
	}{
		{"client credentials", (*beside).clientCredentials},
		{"introspection", (*beside).introspection},
		{"refresh", (*beside).refresh},
		{"login", (*beside).login},
	} {
		b.Run(op.name, func(b *testing.B) { compare(b, empty, full, op.do) })
	}
}

// BenchmarkPassword is a check of a password, as each login has one.
func BenchmarkPassword(b *testing.B) {
	hash, err := userauth.Hash(rand.Reader, "pw")
	if err != nil {
		b.Fatal(err)
	}
	before := cpu(b)
	for b.Loop() {
		if right, err := userauth.Verify(hash, "pw"); !right || err != nil {
			b.Fatal("refused", err)
		}
	}
	b.ReportMetric(float64((cpu(b)-before).Nanoseconds())/1e3/float64(b.N), "cpu-µs/op")
}

// compare does b.N operations on both sides, some on one and then as many on
// the other, and reports each side and the median of the ratios.
func compare(b *testing.B, empty, full *beside, do func(*beside)) {
	const atOnce = 50
	empty.b, full.b = b, b
	for _, side := range []*beside{empty, full} {
		side.renew()
		do(side)
	}
	var sides [2]spent
	var cpuRatios, ratios []float64
	b.ResetTimer()
	for done := 0; done < b.N; done += atOnce {
		n := min(atOnce, b.N-done)
		var one, two spent
		if done/atOnce%2 == 0 { // who comes first changes, too
			one = measure(b, n, func() { do(empty) })
		}
		two = measure(b, n, func() { do(full) })
		if done/atOnce%2 == 1 {
			one = measure(b, n, func() { do(empty) })
		}
		sides[0], sides[1] = sides[0].plus(one), sides[1].plus(two)
		cpuRatios = append(cpuRatios, float64(two.cpu)/float64(one.cpu))
		ratios = append(ratios, float64(two.wall)/float64(one.wall))
	}
	b.ReportMetric(0, "ns/op") // of both together: says nothing
	for i, name := range []string{"empty", "full"} {
		b.ReportMetric(float64(sides[i].cpu.Nanoseconds())/1e3/float64(b.N), name+"-cpu-µs")
		b.ReportMetric(float64(b.N)/sides[i].wall.Seconds(), name+"/s")
	}
	slices.Sort(cpuRatios)
	slices.Sort(ratios)
	b.ReportMetric(cpuRatios[len(cpuRatios)/2], "cpu-ratio")
	b.ReportMetric(ratios[len(ratios)/2], "time-ratio")
}

// spent is what something took.
type spent struct{ wall, cpu time.Duration }

func (s spent) plus(o spent) spent { return spent{s.wall + o.wall, s.cpu + o.cpu} }

func measure(b *testing.B, n int, do func()) spent {
	began, before := time.Now(), cpu(b)
	for range n {
		do()
	}
	return spent{time.Since(began), cpu(b) - before}
}

// beside is an issuer behind HTTP, with people who have logged in at client app.
type beside struct {
	b      testing.TB
	web    *httptest.Server
	close  func()
	access []string // of client app's sessions
	chains []string // their refresh tokens
	next   int
}

func newBeside(b *testing.B, used, others int) *beside {
	b.Helper()
	path := filepath.Join(b.TempDir(), "tegata.db")
	if err := os.WriteFile(path, importedStore(b), 0o600); err != nil {
		b.Fatal(err)
	}
	side := &beside{b: b, access: make([]string, used), chains: make([]string, used)}
	side.open(path)
	for i := range used {
		side.keep(i, side.redeem())
	}
	if others > 0 {
		side.close() // the file is filled faster by one alone
		multiply(b, path, others)
		side.open(path)
	}
	b.Cleanup(side.close)
	return side
}

// open starts an issuer over a store.
func (s *beside) open(path string) {
	ahead := time.Until(modelNow)
	iss, db := openIssuer(s.b, path, func() time.Time { return time.Now().Add(ahead) })
	web := httptest.NewServer(iss.Handler())
	s.web, s.close = web, func() {
		web.Close()
		_ = db.Close()
	}
}

// multiply copies a session with its client's part and its chain of refresh
// tokens, under ids of their own and for other people, in one transaction.
func multiply(b *testing.B, path string, n int) {
	b.Helper()
	began := time.Now()
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=locking_mode(EXCLUSIVE)&_pragma=journal_mode(OFF)&_pragma=synchronous(OFF)&_pragma=cache_size(-2000000)")
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	const id = `lower(hex(randomblob(4))||'-'||hex(randomblob(2))||'-'||hex(randomblob(2))||'-'||hex(randomblob(2))||'-'||hex(randomblob(6)))`
	for _, statement := range []string{
		`BEGIN`,
		`CREATE TEMP TABLE fresh (sid TEXT PRIMARY KEY) WITHOUT ROWID`, // in the order of the tables' keys, so that they grow at their ends
		fmt.Sprintf(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < %d) INSERT INTO fresh SELECT %s FROM n`, n, id),
		copied(b, db, "user_session", map[string]string{"id": "sid", "account_id": "substr(sid, 10)", "cookie_hash": "randomblob(32)"}),
		copied(b, db, "client_session", map[string]string{"sid": "fresh.sid"}),
		copied(b, db, "refresh_family", map[string]string{"sid": "fresh.sid", "id": id}),
		`COMMIT`,
	} {
		if _, err := db.ExecContext(context.Background(), statement); err != nil {
			b.Fatalf("%.60s: %v", statement, err)
		}
	}
	b.Logf("%d sessions in %v", n, time.Since(began).Round(time.Second))
}

// copied inserts a row of a table for each fresh session, with some columns
// changed.
func copied(b *testing.B, db *sql.DB, table string, change map[string]string) string {
	b.Helper()
	rows, err := db.Query(`SELECT name FROM pragma_table_info('` + table + `')`)
	if err != nil {
		b.Fatal(err)
	}
	defer rows.Close()
	var columns, values []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			b.Fatal(err)
		}
		columns = append(columns, name)
		if v, ok := change[name]; ok {
			values = append(values, v)
		} else {
			values = append(values, "old."+name)
		}
	}
	if err := rows.Err(); err != nil {
		b.Fatal(err)
	}
	return fmt.Sprintf(`INSERT INTO %s (%s) SELECT %s FROM fresh, (SELECT * FROM %s LIMIT 1) old ORDER BY fresh.sid`,
		table, strings.Join(columns, ", "), strings.Join(values, ", "), table)
}

// post is a client's call; the answer is read to its end.
func (s *beside) post(path, client string, form url.Values) *http.Response {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, s.web.URL+"/realms/demo/protocol/openid-connect/"+path, strings.NewReader(form.Encode()))
	if err != nil {
		s.b.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(client, client+"-secret")
	resp, err := s.web.Client().Do(req)
	if err != nil {
		s.b.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(resp.Body)
		s.b.Fatalf("%s: %d %s", path, resp.StatusCode, body)
	}
	return resp
}

func (s *beside) clientCredentials() {
	drop(s.post("token", "svc", url.Values{"grant_type": {"client_credentials"}}))
}

func (s *beside) introspection() {
	resp := s.post("token/introspect", "rs", url.Values{"token": {s.access[s.turn()]}})
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || !bytes.Contains(body, []byte(`"active":true`)) {
		s.b.Fatalf("not active: %s, %v", body, err)
	}
}

func (s *beside) refresh() {
	i := s.turn()
	resp := s.post("token", "app", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {s.chains[i]}})
	s.keep(i, resp)
}

// turn is the next session's.
func (s *beside) turn() int {
	s.next++
	return s.next % len(s.chains)
}

// renew refreshes every session, so that its access token is young.
func (s *beside) renew() {
	for range s.chains {
		s.refresh()
	}
}

func (s *beside) login() { drop(s.redeem()) }

// redeem logs alice in, in a new browser, and redeems her code.
func (s *beside) redeem() *http.Response {
	code := newBrowser(s.b, &server{t: s.b, base: s.web.URL}).login("app", "alice", "openid")
	return s.post("token", "app", codeForm(code))
}

// keep takes the tokens of an answer.
func (s *beside) keep(i int, resp *http.Response) {
	defer resp.Body.Close()
	var tokens struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&tokens); err != nil {
		s.b.Fatal(err)
	}
	s.access[i], s.chains[i] = tokens.Access, tokens.Refresh
}

// drop reads an answer to its end, so that the connection is used again.
func drop(resp *http.Response) {
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
}
