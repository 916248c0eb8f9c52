package receiver_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tegata/tegata/internal/jose"
	"github.com/tegata/tegata/issuer/oauth"
	"github.com/tegata/tegata/issuer/receiver"
	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/issuer/sqlstore"
	"github.com/tegata/tegata/revocation"
	"github.com/tegata/tegata/revocation/ssf"
)

const life = 10 * time.Minute

var noon = time.Date(2030, 1, 2, 12, 0, 0, 0, time.UTC)

// world is another issuer with its keys, and us, who hear it.
type world struct {
	t      *testing.T
	db     *sqlstore.DB
	web    *httptest.Server // us
	idp    *httptest.Server
	issuer string
	key    jose.Signer
	rs     *receiver.Receivers

	mu      sync.Mutex
	down    bool // its keys are not to be had
	answers []string
	polls   chan string // the bodies of polls
	counted map[string]int
	waited  []revocation.Revision
}

func newWorld(t *testing.T, change func(*world, *receiver.Source)) *world {
	t.Helper()
	db, err := sqlstore.Open(t.Context(), sqlstore.Config{Path: filepath.Join(t.TempDir(), "tegata.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	w := &world{t: t, db: db, key: signer(t, "k1"), counted: map[string]int{}, polls: make(chan string, 100)}
	w.idp = httptest.NewServer(http.HandlerFunc(w.serve))
	t.Cleanup(w.idp.Close)
	w.issuer = w.idp.URL + "/realms/main"
	source := receiver.Source{Name: "sso", Issuer: w.issuer, ClientIDs: []string{"tegata", "app"}, MaxTokenLifetime: life, Realm: "demo"}
	if change != nil {
		change(w, &source)
	}
	w.rs, err = receiver.New(w.config(source))
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/receivers/{receiver}/backchannel-logout", w.rs.Logout)
	mux.HandleFunc("/receivers/{receiver}/events", w.rs.Push)
	mux.HandleFunc("/receivers/{receiver}/revocations", w.rs.Call)
	w.web = httptest.NewServer(mux)
	t.Cleanup(w.web.Close)
	return w
}

func (w *world) config(sources ...receiver.Source) receiver.Config {
	sessions, err := session.New(session.Config{Store: w.db.Sessions(), Now: func() time.Time { return noon }, Rand: rand.Reader})
	if err != nil {
		w.t.Fatal(err)
	}
	return receiver.Config{
		Sources: sources, Sessions: sessions, HTTP: http.DefaultClient, Now: func() time.Time { return noon }, Logger: slog.New(slog.DiscardHandler),
		Authorize: func(req *http.Request, realm, scope string) (string, error) {
			if req.Header.Get("Authorization") != "Bearer "+realm+" "+scope {
				return "", &oauth.Error{Code: "invalid_token", Status: http.StatusUnauthorized}
			}
			return "operator", nil
		},
		Revoked: func(rw http.ResponseWriter, _ *http.Request, rev revocation.Revision, _ revocation.Reason) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.waited = append(w.waited, rev)
			if rw != nil {
				rw.Header().Set("Revision", fmt.Sprint(rev))
			}
		},
		Counted: func(source string, by receiver.By, result receiver.Result) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.counted[fmt.Sprint(source, " ", by, " ", result)]++
		},
	}
}

func signer(t *testing.T, kid string) jose.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return jose.Signer{ID: kid, Algorithm: jose.ES256, Key: key}
}

// serve is the other issuer: discovery, keys, and a queue of events to poll.
func (w *world) serve(rw http.ResponseWriter, req *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case req.URL.Path == "/poll":
		body, _ := io.ReadAll(req.Body)
		w.polls <- string(body)
		answer := `{"sets":{}}`
		if len(w.answers) > 0 {
			answer, w.answers = w.answers[0], w.answers[1:]
		}
		if answer == "500" {
			rw.WriteHeader(http.StatusInternalServerError)
		}
		_, _ = io.WriteString(rw, answer)
	case w.down:
		rw.WriteHeader(http.StatusBadGateway)
	case strings.HasSuffix(req.URL.Path, "/.well-known/openid-configuration"):
		_ = json.NewEncoder(rw).Encode(map[string]string{"issuer": w.issuer, "jwks_uri": w.idp.URL + "/certs"})
	default:
		set, _ := jose.NewKeySet(jose.PublicKey{ID: w.key.ID, Algorithm: jose.ES256, Key: w.key.Key.Public()})
		_ = json.NewEncoder(rw).Encode(set)
	}
}

func (w *world) sign(typ string, claims map[string]any) string {
	w.t.Helper()
	payload, err := json.Marshal(claims)
	if err != nil {
		w.t.Fatal(err)
	}
	signed, err := w.key.Sign(typ, payload)
	if err != nil {
		w.t.Fatal(err)
	}
	return signed
}

// claims are those of a good logout token, changed; nil takes one out.
func (w *world) claims(changes map[string]any) map[string]any {
	c := map[string]any{
		"iss": w.issuer, "aud": []string{"other", "tegata"}, "iat": noon.Unix() - 1, "exp": noon.Unix() + 119, "jti": rand.Text(),
		"sub": "U", "sid": "S", "typ": "Logout", "events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}},
	}
	maps.Copy(c, changes)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

func (w *world) post(path, media, body string, header ...string) (int, http.Header, map[string]string) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.web.URL+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Content-Type", media)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer map[string]string
	text, _ := io.ReadAll(resp.Body)
	if len(text) > 0 {
		if err := json.Unmarshal(text, &answer); err != nil {
			w.t.Fatalf("%s: %s", err, text)
		}
	}
	return resp.StatusCode, resp.Header, answer
}

func (w *world) logout(token string) (int, http.Header, map[string]string) {
	w.t.Helper()
	return w.post("/receivers/sso/backchannel-logout", "application/x-www-form-urlencoded", url.Values{"logout_token": {token}}.Encode())
}

// log is the log, as text.
func (w *world) log() string {
	w.t.Helper()
	records, _, err := w.db.Since(w.t.Context(), 0, 100)
	if err != nil {
		w.t.Fatal(err)
	}
	var all []string
	for _, r := range records {
		if r.Issuer != w.issuer || !r.ExpiresAt.Equal(noon.Add(life+2*time.Minute)) {
			w.t.Errorf("a record of %s until %v", r.Issuer, r.ExpiresAt)
		}
		all = append(all, strings.TrimSpace(fmt.Sprint(uint8(r.Target.Kind), " ", r.Target.ID, " ", r.Target.Client, " ", r.IssuedBefore.Sub(noon), " ", r.Reason)))
	}
	return strings.Join(all, "\n")
}

func (w *world) wantLog(what, want string) {
	w.t.Helper()
	if got := w.log(); got != want {
		w.t.Errorf("%s: the log is\n%s\nwant\n%s", what, got, want)
	}
}

func (w *world) wantCounted(want map[string]int) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !maps.Equal(w.counted, want) {
		w.t.Errorf("counted %v, want %v", w.counted, want)
	}
}

// TestALogoutElsewhereBecomesARecord: OpenID Connect Back-Channel Logout 1.0
// §2.7, §2.8.
func TestALogoutElsewhereBecomesARecord(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		typ     string
		changes map[string]any
		source  func(*world, *receiver.Source)
		want    string
	}{
		"a session":                    {"logout+jwt", nil, nil, "2 S  -1s logout"},
		"of an issuer that is older":   {"JWT", map[string]any{"sub": nil}, nil, "2 S  -1s logout"},
		"all of a person":              {"logout+jwt", map[string]any{"sid": nil}, nil, "4 U  -1s logout"},
		"for us alone":                 {"logout+jwt", map[string]any{"aud": "tegata"}, nil, "2 S  -1s logout"},
		"for another client":           {"logout+jwt", map[string]any{"aud": "app"}, nil, "2 S  -1s logout"},
		"of tokens that have no sid":   {"logout+jwt", nil, func(_ *world, s *receiver.Source) { s.SessionAsSubject = true }, "4 U  -1s logout"},
		"by a clock that is ahead":     {"logout+jwt", map[string]any{"iat": noon.Unix() + 50}, nil, "2 S  50s logout"},
		"with keys where we were told": {"logout+jwt", nil, func(w *world, s *receiver.Source) { s.JWKSURL = w.idp.URL + "/certs" }, "2 S  -1s logout"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, tt.source)
			status, header, answer := w.logout(w.sign(tt.typ, w.claims(tt.changes)))
			if status != http.StatusOK || answer != nil || header.Get("Cache-Control") != "no-store" || header.Get("Revision") != "1" {
				t.Errorf("%d %v %v", status, header, answer)
			}
			w.wantLog(name, tt.want)
			w.wantCounted(map[string]int{"sso backchannel_logout revoked": 1})
		})
	}
}

// TestALogoutTokenIsVerified: each line of §2.6, and what RFC 8725 says of
// tokens that are confused with it.
func TestALogoutTokenIsVerified(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	const event = "http://schemas.openid.net/event/backchannel-logout"
	for name, changes := range map[string]map[string]any{
		"another issuer":       {"iss": w.issuer + "2"},
		"another audience":     {"aud": "other"},
		"no audience":          {"aud": nil},
		"an odd audience":      {"aud": 1},
		"no iat":               {"iat": nil},
		"of the future":        {"iat": noon.Unix() + 61},
		"no exp":               {"exp": nil},
		"expired":              {"exp": noon.Unix()},
		"exp a text":           {"exp": "tomorrow"},
		"no jti":               {"jti": nil},
		"no events":            {"events": nil},
		"an ID token":          {"events": nil, "nonce": "n"},
		"another event":        {"events": map[string]any{"other": map[string]any{}}},
		"an event of no kind":  {"events": map[string]any{event: true}},
		"a nonce":              {"nonce": "n"},
		"neither sub nor sid":  {"sub": nil, "sid": nil},
		"an endless sid":       {"sid": strings.Repeat("x", 513)},
		"a sid that is a list": {"sid": []string{"S"}},
		"a NUL in sub":         {"sub": "x\x00"},
	} {
		status, header, answer := w.logout(w.sign("logout+jwt", w.claims(changes)))
		if status != http.StatusBadRequest || answer["error"] != "invalid_request" || header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %v", name, status, answer)
		}
	}
	good := w.sign("logout+jwt", w.claims(nil))
	thief := signer(t, "k1")
	ours := w.key
	w.key = thief
	stolen := w.sign("logout+jwt", w.claims(nil))
	w.key = ours
	for name, token := range map[string]string{
		"an access token's type":  w.sign("at+jwt", w.claims(nil)),
		"a security event's type": w.sign(ssf.Type, w.claims(nil)),
		"somebody else's key":     stolen,
		"no signature":            good[:strings.LastIndexByte(good, '.')+1],
		"no token":                "x",
		"nothing":                 "",
	} {
		if status, _, answer := w.logout(token); status != http.StatusBadRequest || answer["error"] != "invalid_request" {
			t.Errorf("%s: %d %v", name, status, answer)
		}
	}
	w.wantLog("refused", "")
	if status, _, _ := w.logout(good); status != http.StatusOK {
		t.Errorf("the good one: %d", status)
	}
	if status, _, answer := w.logout(good); status != http.StatusBadRequest || answer["error"] != "invalid_request" {
		t.Errorf("used twice: %d %v", status, answer)
	}
	w.wantLog("used twice", "2 S  -1s logout")
	w.wantCounted(map[string]int{"sso backchannel_logout revoked": 1, "sso backchannel_logout repeated": 1, "sso backchannel_logout refused": 25})
}

// TestWithoutItsKeysAnIssuerIsAskedToComeAgain: our trouble is not its fault.
func TestWithoutItsKeysAnIssuerIsAskedToComeAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world, s *receiver.Source) {
		w.down, s.Events = true, &receiver.Events{Audience: "tegata"}
	})
	if status, header, _ := w.logout(w.sign("logout+jwt", w.claims(nil))); status != http.StatusServiceUnavailable || header.Get("Retry-After") == "" {
		t.Errorf("logout: %d", status)
	}
	if status, header, _ := w.push(w.event(ssf.SessionRevoked, nil)); status != http.StatusServiceUnavailable || header.Get("Retry-After") == "" {
		t.Errorf("event: %d", status)
	}
	w.wantCounted(map[string]int{"sso backchannel_logout failed": 1, "sso event failed": 1})
}

// event is a SET about session S of person U, changed.
func (w *world) event(kind string, changes map[string]any) string {
	w.t.Helper()
	c := map[string]any{
		"iss": w.issuer, "aud": "tegata", "iat": noon.Unix() - 1, "jti": rand.Text(), "events": map[string]any{kind: map[string]any{}},
		"sub_id": map[string]any{
			"format": "complex", "session": map[string]any{"format": "opaque", "id": "S"}, "user": map[string]any{"format": "iss_sub", "iss": w.issuer, "sub": "U"},
		},
	}
	maps.Copy(c, changes)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return w.sign(ssf.Type, c)
}

func (w *world) push(set string, header ...string) (int, http.Header, map[string]string) {
	w.t.Helper()
	return w.post("/receivers/sso/events", "application/"+ssf.Type, set, header...)
}

// TestPushedEvents: RFC 8935 §2.
func TestPushedEvents(t *testing.T) {
	t.Parallel()
	const authorization = "Bearer agreed-upon-for-a-test"
	w := newWorld(t, func(_ *world, s *receiver.Source) {
		s.Events = &receiver.Events{Audience: "tegata", Authorization: authorization}
	})
	twice := w.event(ssf.SessionRevoked, nil)
	for _, tt := range []struct {
		what, set string
		status    int
		err       string
	}{
		{"a session", twice, 202, ""},
		{"the same again: it had not heard our answer", twice, 202, ""},
		{"a person", w.event(ssf.AccountDisabled, nil), 202, ""},
		{"unknown", w.event("https://example.com/new", nil), 202, ""},
		{"verification", w.event(ssf.Verification, map[string]any{"sub_id": nil}), 202, ""},
		{"nobody we know", w.event(ssf.SessionRevoked, map[string]any{"sub_id": map[string]any{"format": "email", "email": "a@example.com"}}), 202, ""},
		{"another issuer", w.event(ssf.SessionRevoked, map[string]any{"iss": "https://other.example"}), 400, "invalid_issuer"},
		{"another audience", w.event(ssf.SessionRevoked, map[string]any{"aud": []string{"other"}}), 400, "invalid_audience"},
		{"no audience", w.event(ssf.SessionRevoked, map[string]any{"aud": nil}), 400, "invalid_audience"},
		{"of the future", w.event(ssf.SessionRevoked, map[string]any{"iat": noon.Unix() + 61}), 400, "invalid_request"},
		{"expired", w.event(ssf.SessionRevoked, map[string]any{"exp": noon.Unix()}), 400, "invalid_request"},
		{"no events", w.event(ssf.SessionRevoked, map[string]any{"events": nil}), 400, "invalid_request"},
		{"a logout token", w.sign("logout+jwt", w.claims(nil)), 400, "invalid_request"},
		{"a broken signature", w.event(ssf.SessionRevoked, nil)[:300] + "AAAA", 400, "invalid_key"},
		{"no token", "x", 400, "invalid_request"},
		{"too much", strings.Repeat("x", jose.MaxCompact+1), 400, "invalid_request"},
	} {
		if tt.what == "a broken signature" {
			whole := w.event(ssf.SessionRevoked, nil)
			tt.set = whole[:strings.LastIndexByte(whole, '.')+1] + strings.Repeat("A", 86)
		}
		status, _, answer := w.push(tt.set, "Authorization", authorization)
		if status != tt.status || answer["err"] != tt.err || (tt.err != "") != (answer["description"] != "") {
			t.Errorf("%s: %d %v, want %d %s", tt.what, status, answer, tt.status, tt.err)
		}
	}
	if status, _, answer := w.push(w.event(ssf.SessionRevoked, nil), "Authorization", authorization+"!"); status != http.StatusUnauthorized || answer["err"] != "authentication_failed" {
		t.Errorf("not as agreed: %d %v", status, answer)
	}
	if status, _, answer := w.post("/receivers/sso/events", "text/plain", w.event(ssf.SessionRevoked, nil), "Authorization", authorization); status != 400 || answer["err"] != "invalid_request" {
		t.Errorf("another type: %d %v", status, answer)
	}
	w.wantLog("pushed", "2 S  -1s logout\n4 U  -1s disabled")
	w.wantCounted(map[string]int{
		"sso event revoked": 2, "sso event repeated": 1, "sso event ignored": 1, "sso event control": 1, "sso event unmapped": 1, "sso event refused": 12,
	})
}

// TestEventsOfAnotherSender: who sends events may have a name and keys of its
// own; the tokens are the issuer's.
func TestEventsOfAnotherSender(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world, s *receiver.Source) {
		s.Events = &receiver.Events{Issuer: "https://events.example", JWKSURL: w.idp.URL + "/certs", Audience: "tegata"}
	})
	set := w.event(ssf.SessionRevoked, map[string]any{
		"iss": "https://events.example", "sub_id": map[string]any{"format": "iss_sub", "iss": "https://events.example", "sub": "U"},
	})
	if status, _, answer := w.push(set); status != http.StatusAccepted {
		t.Errorf("%d %v", status, answer)
	}
	w.wantLog("the sender's", "4 U  -1s logout")
}

// TestPolledEventsAreAcknowledgedWhenTheyAreCommitted: RFC 8936 §2.
func TestPolledEventsAreAcknowledgedWhenTheyAreCommitted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world, s *receiver.Source) {
		s.Events = &receiver.Events{Audience: "tegata", Poll: &receiver.Poll{URL: w.idp.URL + "/poll", HTTP: http.DefaultClient}}
	})
	answer, err := json.Marshal(map[string]any{"sets": map[string]string{
		"a": w.event(ssf.SessionRevoked, nil),
		"b": w.event(ssf.SessionRevoked, map[string]any{"aud": "other"}),
	}})
	if err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	w.answers = []string{"500", "nonsense", string(answer)}
	w.mu.Unlock()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.rs.Run(ctx) }()
	var polls []string
	for range 4 {
		select {
		case body := <-w.polls:
			polls = append(polls, body)
		case <-time.After(20 * time.Second):
			t.Fatalf("no poll after %q", polls)
		}
	}
	const wait = `{"maxEvents":100,"returnImmediately":false}`
	const told = `{"maxEvents":100,"returnImmediately":true,"ack":["a"],"setErrs":{"b":{"err":"invalid_audience","description":"The SET is for somebody else"}}}`
	for i, want := range []string{wait, wait, wait, told} {
		if polls[i] != want {
			t.Errorf("poll %d: %s, want %s", i, polls[i], want)
		}
	}
	w.wantLog("polled", "2 S  -1s logout")
	if status, _, _ := w.push(w.event(ssf.SessionRevoked, nil)); status != http.StatusNotFound {
		t.Errorf("pushed to one who polls: %d", status)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
}

// TestCalls: what a client of ours may revoke.
func TestCalls(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	for _, tt := range []struct {
		body, want string // the record; "": refused
	}{
		{`{"kind":"token","id":"J"}`, "1 J  0s admin"},
		{`{"kind":"session","id":"S"}`, "2 S  0s admin"},
		{`{"kind":"client_session","id":"S","client":"app"}`, "3 S app 0s admin"},
		{`{"kind":"subject","id":"U"}`, "4 U  0s admin"},
		{`{"kind":"subject","id":"U","issued_before":` + fmt.Sprint(noon.Unix()-60) + `}`, "4 U  -1m0s admin"},
		{`{"kind":"client","id":"app"}`, "5 app  0s admin"},
		{`{"kind":"issuer"}`, "6   0s admin"},
		{`{"kind":"key","id":"k1"}`, "7 k1  0s admin"},
		{`{"kind":"issuer","id":"x"}`, ""},
		{`{"kind":"subject"}`, ""},
		{`{"kind":"subject","id":"U","client":"app"}`, ""},
		{`{"kind":"client_session","id":"S"}`, ""},
		{`{"kind":"realm"}`, ""},
		{`{"kind":"subject","id":"U","issued_before":` + fmt.Sprint(noon.Unix()+61) + `}`, ""},
		{`{"kind":"subject","id":"U","issued_before":-1}`, ""},
		{`{"kind":"subject","id":"U","issuedBefore":1}`, ""},
		{`{"kind":"subject","id":"U","id":"V"}`, ""},
		{`{"kind":"subject","id":7}`, ""},
		{`[]`, ""},
		{`{"kind":"subject","id":"` + strings.Repeat("x", 513) + `"}`, ""},
	} {
		before := w.log()
		status, header, answer := w.post("/receivers/sso/revocations", "application/json", tt.body, "Authorization", "Bearer demo revocation:write")
		after := strings.TrimSpace(strings.TrimPrefix(w.log(), before))
		if tt.want == "" {
			if status != http.StatusBadRequest || answer["error"] != "invalid_request" || after != "" {
				t.Errorf("%s: %d %v, %q", tt.body, status, answer, after)
			}
		} else if status != http.StatusOK || header.Get("Revision") == "" || after != tt.want {
			t.Errorf("%s: %d %v, %q, want %q", tt.body, status, answer, after, tt.want)
		}
	}
	if status, _, _ := w.post("/receivers/sso/revocations", "application/json", `{"kind":"issuer"}`); status != http.StatusUnauthorized {
		t.Errorf("nobody: %d", status)
	}
	for _, path := range []string{"/receivers/sso/events", "/receivers/other/revocations"} {
		if status, _, _ := w.post(path, "application/json", `{}`); status != http.StatusNotFound {
			t.Errorf("%s: %d", path, status)
		}
	}
}

// TestNewRefuses what could not work, or would forget too early.
func TestNewRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	good := receiver.Source{Name: "sso", Issuer: "https://sso.example", ClientIDs: []string{"tegata"}, MaxTokenLifetime: life}
	for name, change := range map[string]func(*receiver.Source){
		"a name with a slash":       func(s *receiver.Source) { s.Name = "a/b" },
		"no issuer":                 func(s *receiver.Source) { s.Issuer = "" },
		"no lifetime":               func(s *receiver.Source) { s.MaxTokenLifetime = 0 },
		"nothing to hear":           func(s *receiver.Source) { s.ClientIDs = nil },
		"keys in the open":          func(s *receiver.Source) { s.JWKSURL = "http://sso.example/certs" },
		"an issuer in the open":     func(s *receiver.Source) { s.Issuer = "http://sso.example" },
		"events for nobody":         func(s *receiver.Source) { s.Events = &receiver.Events{} },
		"another's events, no keys": func(s *receiver.Source) { s.Events = &receiver.Events{Audience: "a", Issuer: "https://x.example"} },
	} {
		bad := good
		change(&bad)
		if _, err := receiver.New(w.config(bad)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := receiver.New(w.config(good, good)); err == nil {
		t.Error("two of a name: accepted")
	}
	if _, err := receiver.New(receiver.Config{}); err == nil {
		t.Error("nothing: accepted")
	}
	if _, err := receiver.New(w.config(good)); err != nil {
		t.Error(err)
	}
}

// FuzzHear: whatever is sent, by each way, is answered in the words of the
// protocol, and only what is signed is written.
func FuzzHear(f *testing.F) {
	f.Add([]byte("logout_token=e30.e30.e30"))
	f.Add([]byte(`{"kind":"subject","id":"U"}`))
	f.Add([]byte("e30.e30.e30"))
	db, err := sqlstore.Open(f.Context(), sqlstore.Config{Path: filepath.Join(f.TempDir(), "tegata.db")})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = db.Close() })
	w := &world{db: db, counted: map[string]int{}}
	c := w.config(receiver.Source{
		Name: "sso", Issuer: "http://127.0.0.1:1", ClientIDs: []string{"tegata"}, MaxTokenLifetime: life, Realm: "demo", Events: &receiver.Events{Audience: "tegata"},
	})
	c.HTTP = &http.Client{Transport: nowhere{}}
	rs, err := receiver.New(c)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for media, way := range map[string]http.HandlerFunc{
			"application/x-www-form-urlencoded": rs.Logout, "application/" + ssf.Type: rs.Push,
		} {
			req := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
			req.SetPathValue("receiver", "sso")
			req.Header.Set("Content-Type", media)
			rec := httptest.NewRecorder()
			way(rec, req)
			if rec.Code != http.StatusBadRequest && rec.Code != http.StatusServiceUnavailable && rec.Code != http.StatusRequestEntityTooLarge || !json.Valid(rec.Body.Bytes()) {
				t.Errorf("%s: %d %s", media, rec.Code, rec.Body)
			}
		}
		req := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
		req.SetPathValue("receiver", "sso")
		req.Header.Set("Authorization", "Bearer demo revocation:write")
		rec := httptest.NewRecorder()
		rs.Call(rec, req)
		if rec.Code != http.StatusBadRequest && rec.Code != http.StatusOK {
			t.Errorf("a call: %d %s", rec.Code, rec.Body)
		}
	})
}

// nowhere is a network without anybody.
type nowhere struct{}

func (nowhere) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("nobody there")
}
