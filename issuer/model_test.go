package issuer_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/argon2"
	"pgregory.net/rapid"

	"github.com/tegata/tegata/issuer"
	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/issuer/sqlstore"
	"github.com/tegata/tegata/issuer/user"
	"github.com/tegata/tegata/revocation"
)

// TestWhatEndedIsDeadEverywhere goes through any interleaving of logins,
// refreshes (raced ones too), revocations, logouts, switches of user, client
// and realm, sweeps, restarts and clock steps, also backwards. After each, a
// small model says of every token whether it is dead, and introspection,
// UserInfo and a set fed by the revocation log must say the same.
func TestWhatEndedIsDeadEverywhere(t *testing.T) {
	t.Parallel()
	template := importedStore(t)
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue {
		_ = f.Value.Set("40") // of some 30 steps; make test-long does more
	}
	rapid.Check(t, func(rt *rapid.T) {
		m := newModel(t, rt, template)
		defer m.close()
		rt.Repeat(map[string]func(*rapid.T){
			"login":          func(*rapid.T) { m.login(false) },
			"go offline":     func(*rapid.T) { m.login(true) },
			"refresh":        func(*rapid.T) { m.refresh(1) },
			"race":           func(*rapid.T) { m.refresh(rapid.IntRange(2, 6).Draw(rt, "at once")) },
			"revoke access":  func(*rapid.T) { m.revokeAccess() },
			"revoke refresh": func(*rapid.T) { m.revokeRefresh() },
			"logout":         func(*rapid.T) { m.logout() },
			"clock":          func(*rapid.T) { m.step() },
			"switch":         func(*rapid.T) { m.toggle() },
			"sweep":          func(*rapid.T) { m.sweep() },
			"restart":        func(*rapid.T) { m.restart() },
			"":               func(*rapid.T) { m.check() },
		})
	})
}

// Settings of the realm; those that it does not set are their defaults.
const (
	modelIdle    = 30 * time.Minute
	modelMax     = 10 * time.Hour
	modelOffline = 30 * 24 * time.Hour // idle
	modelTouch   = time.Minute         // how late a use may be written
	modelGrace   = 10 * time.Second
	modelReuses  = 3
	modelBase    = "http://issuer.test"
)

// modelNow is when every run begins: ahead of the real clock, by which the
// revocation set forgets.
var modelNow = time.Now().Add(48 * time.Hour).Truncate(time.Second)

func modelRealm() issuer.Realm {
	r := demoRealm()
	r.Clients[0].OptionalClientScopes = append(r.Clients[0].OptionalClientScopes, "offline_access")
	r.Clients[1].OptionalClientScopes = []string{"offline_access"}
	r.Users = r.Users[:1]
	return r
}

// importedStore is a database with the realm in it, for each run to copy:
// keys are slow to make.
func importedStore(t testing.TB) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tegata.db")
	now := func() time.Time { return modelNow }
	iss, db := openIssuer(t, path, now)
	if err := iss.Import(t.Context(), modelRealm()); err != nil {
		t.Fatal(err)
	}
	cheapen(t, db)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// cheapen replaces the hash of alice's password by one at the least cost.
func cheapen(t testing.TB, db *sqlstore.DB) {
	t.Helper()
	b64, salt := base64.RawStdEncoding.EncodeToString, []byte("8 or more")
	hash := fmt.Sprintf("$argon2id$v=%d$m=8,t=1,p=1$%s$%s", argon2.Version, b64(salt), b64(argon2.IDKey([]byte("pw"), salt, 1, 8, 1, 32)))
	var r realm.Realm
	err := db.Realms().Read(t.Context(), func(v realm.View) (err error) {
		r, err = v.RealmByName("demo")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Users().Write(t.Context(), func(tx user.Tx) error {
		u, err := tx.UserByUsername(r.ID, "alice")
		u.PasswordHash = hash
		return errors.Join(err, tx.PutUser(u))
	})
	if err != nil {
		t.Fatal(err)
	}
}

func openIssuer(t testing.TB, path string, now func() time.Time) (*issuer.Issuer, *sqlstore.DB) {
	t.Helper()
	return openIssuerOn(t, sqlstore.Config{Path: path}, now)
}

// openIssuerOn does so on any store.
func openIssuerOn(t testing.TB, store sqlstore.Config, now func() time.Time) (*issuer.Issuer, *sqlstore.DB) {
	t.Helper()
	store.Now = now
	db, err := sqlstore.Open(context.Background(), store)
	if err != nil {
		t.Fatal(err)
	}
	iss, err := issuer.New(issuer.Config{
		BaseURL: modelBase, WatchSource: db, Changes: db.Changes, Seal: bytes.Repeat([]byte{1}, 32), NewStore: true, RevokeWait: -1, Now: now,
		Stores: storesOf(db),
	})
	if err != nil {
		t.Fatal(err)
	}
	return iss, db
}

// model is the real thing, and beside it what should be true of it.
type model struct {
	t     *testing.T
	rt    *rapid.T
	dir   string
	iss   *issuer.Issuer
	db    *sqlstore.DB
	set   *revocation.Set
	now   time.Time
	file  issuer.Realm
	alice issuer.User

	off      map[string]bool // user, client or realm that is disabled, by name
	sessions []*modelSession
	tokens   []*modelToken // the latest few
	calls    atomic.Uint32
}

// modelSession is a user session. Ended: by a revocation. Swept: by its time.
type modelSession struct {
	browser         *browser // nil: offline
	seen, idle, max time.Time
	ended, swept    bool
	parts           map[string]*modelPart // by client, those that have a row
}

// modelPart is a client session.
type modelPart struct {
	client string
	ended  bool
	// again: the client was ended in this session before. The set may refuse
	// its tokens until that record expires.
	again bool
}

type modelFamily struct {
	generation int
	rotated    time.Time
	reuses     int
}

// modelToken is an access token and the refresh token beside it.
type modelToken struct {
	access, refresh string
	claims          revocation.Token
	session         *modelSession
	part            *modelPart
	family          *modelFamily
	generation      int
	exp, refreshExp time.Time
	revoked         bool // the access token alone
	forgotten       bool // the log may have dropped what killed the access token, as it was past its time
}

func newModel(t *testing.T, rt *rapid.T, template []byte) *model {
	dir, err := os.MkdirTemp("", "tegata-model-*")
	if err != nil {
		t.Fatal(err)
	}
	file := modelRealm()
	alice := file.Users[0]
	file.Users = nil
	m := &model{t: t, rt: rt, dir: dir, set: revocation.NewSet(), now: modelNow, file: file, alice: alice, off: map[string]bool{}}
	if err := os.WriteFile(m.path(), template, 0o600); err != nil {
		t.Fatal(err)
	}
	m.iss, m.db = openIssuer(t, m.path(), m.clock)
	return m
}

func (m *model) path() string     { return filepath.Join(m.dir, "tegata.db") }
func (m *model) clock() time.Time { return m.now }

func (m *model) close() {
	if err := m.db.Close(); err != nil {
		m.t.Error(err)
	}
	_ = os.RemoveAll(m.dir)
}

// RoundTrip serves browsers and clients without a network.
func (m *model) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body == nil {
		req.Body = http.NoBody
	}
	w := httptest.NewRecorder()
	m.iss.Handler().ServeHTTP(w, req)
	answer := w.Result()
	answer.Request = req
	return answer, nil
}

// post is a client's call.
func (m *model) post(path, client string, form url.Values) (int, map[string]any) {
	req := httptest.NewRequest(http.MethodPost, modelBase+"/realms/demo/protocol/openid-connect/"+path, strings.NewReader(form.Encode()))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if client != "" {
		req.SetBasicAuth(client, client+"-secret")
	}
	// Each from an address of its own: what a disabled client fails at here is
	// no guessing of its secret.
	n := m.calls.Add(1)
	req.RemoteAddr = fmt.Sprintf("10.%d.%d.%d:1", n>>16&255, n>>8&255, n&255)
	w := httptest.NewRecorder()
	m.iss.Handler().ServeHTTP(w, req)
	var answer map[string]any
	_ = json.Unmarshal(w.Body.Bytes(), &answer) // some answers are empty
	return w.Code, answer
}

// pick draws a token, newer ones first; the step is skipped without any.
func (m *model) pick() *modelToken {
	if len(m.tokens) == 0 {
		m.rt.Skip("no token yet")
	}
	return m.tokens[len(m.tokens)-1-rapid.IntRange(0, len(m.tokens)-1).Draw(m.rt, "token")]
}

func (m *model) allowed(client string) bool { return !m.off["realm"] && !m.off[client] }

func (m *model) login(offline bool) {
	client := rapid.SampledFrom([]string{"app", "app2"}).Draw(m.rt, "client")
	if !m.allowed(client) || m.off["alice"] {
		m.rt.Skip("disabled")
	}
	var s *modelSession
	if at := slices.IndexFunc(m.sessions, func(s *modelSession) bool { return s.browser != nil && m.live(s) }); at >= 0 && rapid.Bool().Draw(m.rt, "same browser") {
		s = m.sessions[at]
	} else {
		s = &modelSession{browser: newBrowser(m.t, &server{t: m.t, base: modelBase}), max: m.now.Add(modelMax), parts: map[string]*modelPart{}}
		s.browser.Transport = m
		m.sessions = append(m.sessions, s)
	}
	scope := "openid"
	if offline {
		scope += " offline_access"
	}
	code := s.browser.login(client, "alice", scope)
	s.use(m.now)
	status, answer := m.post("token", client, url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {callback}, "code_verifier": {verifier},
	})
	if status != http.StatusOK {
		m.rt.Fatalf("code not redeemed: %d %v", status, answer)
	}
	if offline {
		s = &modelSession{parts: map[string]*modelPart{}}
		m.sessions = append(m.sessions, s)
	}
	s.use(m.now)
	m.keep(answer, s, s.join(client), &modelFamily{generation: 1, rotated: m.now})
}

// use notes a use.
func (s *modelSession) use(now time.Time) {
	if !s.seen.IsZero() && now.Sub(s.seen) < modelTouch {
		return
	}
	idle := modelIdle
	if s.browser == nil {
		idle = modelOffline
	}
	s.seen = now
	if end := now.Add(idle + modelTouch); end.After(s.idle) {
		s.idle = end
	}
}

// join is the client's part of the session, a new one if there is none.
func (s *modelSession) join(client string) *modelPart {
	old := s.parts[client]
	if old == nil || old.ended {
		_, was := s.parts[client]
		s.parts[client] = &modelPart{client: client, again: was}
	}
	return s.parts[client]
}

// end ends a client's part, and the session with its last one.
func (s *modelSession) end(client string) {
	p := s.parts[client]
	if p == nil || s.ended || s.swept {
		return
	}
	p.ended = true
	s.parts[client] = nil // known, but no row
	for _, p := range s.parts {
		if p != nil {
			return
		}
	}
	s.ended = true
}

func (m *model) keep(answer map[string]any, s *modelSession, p *modelPart, f *modelFamily) {
	tok := &modelToken{
		access: answer["access_token"].(string), refresh: answer["refresh_token"].(string),
		session: s, part: p, family: f, generation: f.generation,
	}
	var claims struct {
		Issuer string              `json:"iss"`
		ID     string              `json:"jti"`
		SID    string              `json:"sid"`
		Sub    string              `json:"sub"`
		AZP    string              `json:"azp"`
		Rev    revocation.Revision `json:"rev"`
		Exp    int64               `json:"exp"`
	}
	payload(m.rt, tok.access, &claims)
	tok.exp = time.Unix(claims.Exp, 0)
	tok.claims = revocation.Token{
		Issuer: claims.Issuer, ID: claims.ID, Session: claims.SID, Subject: claims.Sub, Client: claims.AZP, Rev: claims.Rev, HasRev: true,
	}
	claims.Exp = 0
	payload(m.rt, tok.refresh, &claims)
	if claims.Exp > 0 {
		tok.refreshExp = time.Unix(claims.Exp, 0)
	}
	m.tokens = append(m.tokens, tok)
	const most = 8
	m.tokens = m.tokens[max(0, len(m.tokens)-most):]
}

func payload(rt *rapid.T, compact string, into any) {
	b, err := base64.RawURLEncoding.DecodeString(strings.Split(compact, ".")[1])
	if err == nil {
		err = json.Unmarshal(b, into)
	}
	if err != nil {
		rt.Fatal(err)
	}
}

// refresh presents one refresh token so many times at once.
func (m *model) refresh(times int) {
	tok := m.pick()
	answers := make([]map[string]any, times)
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() {
			status, answer := m.post("token", tok.part.client, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {tok.refresh}})
			if status == http.StatusOK {
				answers[i] = answer
			}
		})
	}
	all.Wait()
	answers = slices.DeleteFunc(answers, func(a map[string]any) bool { return a == nil })
	want := 0
	for range times {
		if m.rotate(tok) {
			want++
		}
	}
	if len(answers) != want {
		m.rt.Fatalf("of %d refreshes at once %d were answered, want %d", times, len(answers), want)
	}
	for _, a := range answers {
		m.keep(a, tok.session, tok.part, tok.family)
	}
}

// rotate is one refresh, and whether it is answered.
func (m *model) rotate(tok *modelToken) bool {
	if !m.allowed(tok.part.client) || !m.liveRefresh(tok) && !m.isReuse(tok) {
		return false
	}
	f := tok.family
	switch {
	case m.isReuse(tok):
		tok.session.end(tok.part.client)
		return false
	case tok.generation == f.generation:
		f.generation, f.rotated, f.reuses = f.generation+1, m.now, 0
	default:
		f.reuses++
	}
	tok.session.use(m.now)
	return true
}

// isReuse: the session is alive, and the token is one of before.
func (m *model) isReuse(tok *modelToken) bool {
	if !m.livePart(tok) || !tok.refreshExp.IsZero() && !m.now.Before(tok.refreshExp) {
		return false
	}
	f := tok.family
	return tok.generation != f.generation &&
		(tok.generation+1 != f.generation || m.now.Sub(f.rotated) > modelGrace || f.reuses >= modelReuses)
}

func (m *model) revokeAccess() {
	tok := m.pick()
	m.post("revoke", tok.part.client, url.Values{"token": {tok.access}})
	if m.allowed(tok.part.client) && m.now.Before(tok.exp) {
		tok.revoked = true
	}
}

func (m *model) revokeRefresh() {
	tok := m.pick()
	m.post("revoke", tok.part.client, url.Values{"token": {tok.refresh}})
	over := !tok.refreshExp.IsZero() && !m.now.Before(tok.refreshExp)
	if m.allowed(tok.part.client) && !over && tok.session.parts[tok.part.client] == tok.part { // not one of its lives before
		tok.session.end(tok.part.client)
	}
}

func (m *model) logout() {
	tok := m.pick()
	m.post("logout", tok.part.client, url.Values{"refresh_token": {tok.refresh}})
	if m.allowed(tok.part.client) && !tok.session.swept {
		tok.session.ended = true
	}
}

func (m *model) step() {
	m.now = m.now.Add(rapid.SampledFrom([]time.Duration{
		time.Second, 5 * time.Second, 20 * time.Second, 70 * time.Second, 4 * time.Minute, 6 * time.Minute, 40 * time.Minute, 11 * time.Hour,
		-time.Second, -2 * time.Minute, -time.Hour,
	}).Draw(m.rt, "by"))
}

// toggle switches something off or on; what is switched off is dead for good.
func (m *model) toggle() {
	name := rapid.SampledFrom([]string{"alice", "app", "realm"}).Draw(m.rt, "what")
	m.off[name] = !m.off[name]
	on := !m.off[name]
	file := m.file // without users: their passwords are slow to compare
	switch name {
	case "alice":
		file.Users = []issuer.User{m.alice}
		file.Users[0].Enabled, file.Users[0].Credentials = &on, nil
	case "app":
		m.file.Clients[0].Enabled = &on
	default:
		m.file.Enabled, file.Enabled = &on, &on
	}
	if err := m.iss.Import(m.t.Context(), file); err != nil {
		m.rt.Fatal(err)
	}
	for _, s := range m.sessions {
		switch {
		case on:
		case name == "app":
			if p := s.parts[name]; p != nil {
				p.ended = true
			}
		case !s.swept:
			s.ended = true
		}
	}
}

func (m *model) sweep() {
	if err := m.iss.Sweep(m.t.Context()); err != nil {
		m.rt.Fatal(err)
	}
	for _, s := range m.sessions {
		s.swept = s.swept || m.timedOut(s)
	}
	for _, tok := range m.tokens {
		tok.forgotten = tok.forgotten || !m.now.Before(tok.exp)
	}
}

func (m *model) restart() {
	if err := m.db.Close(); err != nil {
		m.rt.Fatal(err)
	}
	m.iss, m.db = openIssuer(m.t, m.path(), m.clock)
}

func (m *model) timedOut(s *modelSession) bool {
	return !m.now.Before(s.idle) || !s.max.IsZero() && !m.now.Before(s.max)
}

func (m *model) live(s *modelSession) bool {
	return !s.ended && !s.swept && !m.timedOut(s) && !m.off["alice"] && !m.off["realm"]
}

func (m *model) livePart(tok *modelToken) bool {
	return m.live(tok.session) && !tok.part.ended && m.allowed(tok.part.client)
}

func (m *model) liveRefresh(tok *modelToken) bool {
	return m.livePart(tok) && !m.isReuse(tok) && (tok.refreshExp.IsZero() || m.now.Before(tok.refreshExp))
}

// check asks everybody about every token.
func (m *model) check() {
	records, head, err := m.db.Since(m.t.Context(), m.set.Revision(), 1000)
	if err != nil {
		m.rt.Fatal(err)
	}
	m.set.Apply(records, head)
	for i, tok := range m.tokens {
		if !tok.forgotten {
			m.checkAccess(i, tok)
		}
		_, about := m.post("token/introspect", tok.part.client, url.Values{"token": {tok.refresh}, "token_type_hint": {"refresh_token"}})
		if got, want := about["active"] == true, m.liveRefresh(tok); got != want {
			m.rt.Fatalf("%s: refresh token active: %t, want %t", m.describe(i), got, want)
		}
	}
}

func (m *model) checkAccess(i int, tok *modelToken) {
	want := m.livePart(tok) && !tok.revoked && m.now.Before(tok.exp)
	_, about := m.post("token/introspect", "gw", url.Values{"token": {tok.access}})
	if got := about["active"] == true; got != want {
		m.rt.Fatalf("%s: access token active: %t, want %t", m.describe(i), got, want)
	}
	if status, _ := m.post("userinfo", "", url.Values{"access_token": {tok.access}}); (status == http.StatusOK) != want {
		m.rt.Fatalf("%s: userinfo answers %d, alive: %t", m.describe(i), status, want)
	}
	view := m.set.Begin()
	defer view.End()
	_, dead := view.Revoked(tok.claims)
	killed := tok.session.ended || tok.part.ended || tok.revoked
	if killed && !dead {
		m.rt.Fatalf("%s: was ended, and the set does not know", m.describe(i))
	}
	if want && dead && !tok.part.again {
		m.rt.Fatalf("%s: is alive, and the set refuses it", m.describe(i))
	}
}

func (m *model) describe(i int) string {
	tok := m.tokens[i]
	return fmt.Sprintf("token %d of %s (generation %d of %d, offline %t, session ended %t swept %t, part ended %t, off %v)",
		i, tok.part.client, tok.generation, tok.family.generation, tok.session.browser == nil,
		tok.session.ended, tok.session.swept, tok.part.ended, m.off)
}
