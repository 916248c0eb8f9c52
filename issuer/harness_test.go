package issuer_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tegata/tegata/issuer"
	"github.com/tegata/tegata/issuer/sqlstore"
)

// Where the clients of the test realm are sent back to. Nothing listens there.
const callback = "http://127.0.0.1:9999/cb"

// verifier is the PKCE verifier that browsers of the tests use.
const verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk" // RFC 7636 appendix B

func challenge() string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// demoRealm is the realm file of the tests.
func demoRealm() issuer.Realm {
	no := false
	return issuer.Realm{
		Realm:        "demo",
		ClientScopes: []issuer.ClientScope{{Name: "orders:read"}, {Name: "orders:write"}, {Name: issuer.WatchScope}},
		Clients: []issuer.Client{
			{
				ClientID: "app", Secret: "app-secret", RedirectURIs: []string{callback, callback + "?tenant=1"}, WebOrigins: []string{"+"},
				DefaultClientScopes: []string{"profile", "email"}, OptionalClientScopes: []string{"orders:read", "orders:write"}, Audience: []string{"rs"},
			},
			{ClientID: "app2", Secret: "app2-secret", RedirectURIs: []string{callback}, Audience: []string{"rs"}},
			{ClientID: "spa", PublicClient: true, RedirectURIs: []string{callback, "http://127.0.0.1/native"}, WebOrigins: []string{"http://spa.example"}},
			{
				ClientID: "svc", Secret: "svc-secret", ServiceAccountsEnabled: true, StandardFlowEnabled: &no,
				DefaultClientScopes: []string{"orders:read"}, OptionalClientScopes: []string{"orders:write", issuer.WatchScope}, Audience: []string{"rs"},
			},
			{
				ClientID: "direct", Secret: "direct-secret", StandardFlowEnabled: &no, DirectAccessGrantsEnabled: true,
				DefaultClientScopes: []string{"profile"}, OptionalClientScopes: []string{"offline_access"}, Audience: []string{"rs"},
			},
			{
				ClientID: "careful", Name: "Careful & Co", Secret: "careful-secret", ConsentRequired: true, RedirectURIs: []string{callback},
				DefaultClientScopes: []string{"email"}, OptionalClientScopes: []string{"orders:read", "offline_access"}, Audience: []string{"rs"},
			},
			{
				ClientID: "pushing", Secret: "pushing-secret", RedirectURIs: []string{callback},
				Attributes: map[string]string{"require.pushed.authorization.requests": "true"},
			},
			{ClientID: "rs", Secret: "rs-secret", StandardFlowEnabled: &no},
			{ClientID: "gw", Secret: "gw-secret", StandardFlowEnabled: &no, Attributes: map[string]string{"introspection.any.audience": "true"}},
			{ClientID: "off", Secret: "off-secret", Enabled: &no, RedirectURIs: []string{callback}},
		},
		Users: []issuer.User{
			{
				Username: "alice", Email: "alice@example.com", EmailVerified: true, FirstName: "Alice", LastName: "Test",
				Credentials: []issuer.Credential{{Type: "password", Value: "pw"}},
			},
			{Username: "bob", Enabled: &no, Credentials: []issuer.Credential{{Type: "password", Value: "pw"}}},
		},
	}
}

// server is a whole issuer over a real store, behind real HTTP.
type server struct {
	t     testing.TB
	base  string
	iss   *issuer.Issuer
	db    *sqlstore.DB
	file  issuer.Realm // of tests that change it step by step
	log   *lockedBuffer
	clock *atomic.Int64 // how far its clock is ahead, in ns
}

// lockedBuffer collects the log of a server.
type lockedBuffer struct {
	ch chan *bytes.Buffer
}

func newLockedBuffer() *lockedBuffer {
	b := &lockedBuffer{ch: make(chan *bytes.Buffer, 1)}
	b.ch <- new(bytes.Buffer)
	return b
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	buf := <-b.ch
	defer func() { b.ch <- buf }()
	return buf.Write(p)
}

func (b *lockedBuffer) String() string {
	buf := <-b.ch
	defer func() { b.ch <- buf }()
	return buf.String()
}

// start starts a server with the demo realm.
func start(t testing.TB) *server {
	t.Helper()
	return startTLS(t, nil, nil)
}

// startTLS starts one that speaks TLS, if how is not nil, to clients with
// certificates of cas.
func startTLS(t testing.TB, how *tls.Config, cas *x509.CertPool) *server {
	t.Helper()
	return startWith(t, how, func(c *issuer.Config) { c.ClientCAs = cas })
}

// startWith starts one with a configuration that was changed.
func startWith(t testing.TB, how *tls.Config, change func(*issuer.Config)) *server {
	t.Helper()
	return setup{tls: how, change: change}.start(t)
}

// setup is what a server of the tests may have of its own.
type setup struct {
	tls    *tls.Config
	change func(*issuer.Config)
	db     *sqlstore.DB  // default: a new one
	clock  *atomic.Int64 // default: its own
}

func (c setup) start(t testing.TB) *server {
	t.Helper()
	s := &server{t: t, log: newLockedBuffer(), clock: c.clock, db: c.db}
	if s.clock == nil {
		s.clock = new(atomic.Int64)
	}
	if s.db == nil {
		_, s.db = openStores(t)
	}
	web := httptest.NewUnstartedServer(nil)
	s.base = "http://" + web.Listener.Addr().String()
	if c.tls != nil {
		s.base = "https://" + web.Listener.Addr().String()
	}
	config := issuer.Config{
		BaseURL: s.base, Stores: storesOf(s.db), WatchSource: s.db, Changes: s.db.Changes, Lead: s.db.Lead, WatchRealm: "demo",
		Seal: bytes.Repeat([]byte{1}, 32), NewStore: true, RevokeWait: 5 * time.Second,
		Now:    func() time.Time { return time.Now().Add(time.Duration(s.clock.Load())) },
		Logger: slog.New(slog.NewTextHandler(s.log, nil)),
	}
	if c.change != nil {
		c.change(&config)
	}
	iss, err := issuer.New(config)
	if err != nil {
		t.Fatal(err)
	}
	s.iss = iss
	if err := iss.Import(t.Context(), demoRealm()); err != nil {
		t.Fatal(err)
	}
	web.Config.Handler = iss.Handler()
	if c.tls == nil {
		web.Start()
	} else {
		web.TLS = c.tls
		web.StartTLS()
	}
	t.Cleanup(web.Close)
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- iss.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ran; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return s
}

func (s *server) oidc(path string) string {
	return s.base + "/realms/demo/protocol/openid-connect/" + path
}

// post posts a form with Basic authentication (none if id is empty) and reads
// the JSON answer.
func (s *server) post(path, id, secret string, form url.Values) (int, map[string]any) {
	s.t.Helper()
	var as http.Request
	as.Header = http.Header{}
	if id != "" {
		as.SetBasicAuth(id, secret)
	}
	status, _, answer := s.call(path, form, as.Header)
	return status, answer
}

// call posts a form with further header fields and reads the JSON answer.
func (s *server) call(path string, form url.Values, header http.Header) (int, http.Header, map[string]any) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.oidc(path), strings.NewReader(form.Encode()))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header = header.Clone()
	if req.Header == nil {
		req.Header = http.Header{}
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	var answer map[string]any
	if len(body) > 0 {
		if err := json.Unmarshal(body, &answer); err != nil {
			s.t.Fatalf("%s: %v\n%s", path, err, body)
		}
	}
	return resp.StatusCode, resp.Header, answer
}

// redeem exchanges a code of client app.
func (s *server) redeem(code string) map[string]any {
	s.t.Helper()
	status, answer := s.post("token", "app", "app-secret", url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {callback}, "code_verifier": {verifier},
	})
	if status != http.StatusOK {
		s.t.Fatalf("code not redeemed: %d %v", status, answer)
	}
	return answer
}

// active introspects an access token as its resource server.
func (s *server) active(accessToken any) bool {
	s.t.Helper()
	_, answer := s.post("token/introspect", "rs", "rs-secret", url.Values{"token": {accessToken.(string)}})
	return answer["active"] == true
}

// browser is one browser with its cookies; it follows no redirects.
type browser struct {
	t testing.TB
	s *server
	*http.Client
}

func newBrowser(t testing.TB, s *server) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{t: t, s: s, Client: &http.Client{
		Jar:           jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// page is an answer to a browser, read.
type page struct {
	status   int
	header   http.Header
	cookies  []*http.Cookie
	location *url.URL
	body     string
}

func (b *browser) do(method, target string, form url.Values) page {
	b.t.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	req, err := http.NewRequestWithContext(b.t.Context(), method, target, body)
	if err != nil {
		b.t.Fatal(err)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := b.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	p := page{status: resp.StatusCode, header: resp.Header, cookies: resp.Cookies(), body: string(content)}
	if l := resp.Header.Get("Location"); l != "" {
		if p.location, err = url.Parse(l); err != nil {
			b.t.Fatal(err)
		}
	}
	return p
}

// authorize is the query of an ordinary request of a client.
func authorize(clientID, scope string) url.Values {
	return url.Values{
		"client_id": {clientID}, "redirect_uri": {callback}, "response_type": {"code"}, "scope": {scope},
		"state": {"s"}, "nonce": {"n"}, "code_challenge": {challenge()}, "code_challenge_method": {"S256"},
	}
}

// ask sends an authorization request.
func (b *browser) ask(query url.Values) page {
	b.t.Helper()
	return b.do(http.MethodGet, b.s.oidc("auth")+"?"+query.Encode(), nil)
}

var (
	formAction  = regexp.MustCompile(`action="([^"]*)"`)
	hiddenState = regexp.MustCompile(`name="session_code" value="([^"]*)"`)
)

// form is where a page's form goes, and its state.
func (b *browser) form(p page) (action, state string) {
	b.t.Helper()
	a, s := formAction.FindStringSubmatch(p.body), hiddenState.FindStringSubmatch(p.body)
	if a == nil || s == nil {
		b.t.Fatalf("no form in answer %d:\n%s", p.status, p.body)
	}
	return b.s.base + strings.ReplaceAll(a[1], "&amp;", "&"), s[1]
}

// submit fills in the login form of a page.
func (b *browser) submit(p page, username, password string) page {
	b.t.Helper()
	action, state := b.form(p)
	return b.do(http.MethodPost, action, url.Values{"session_code": {state}, "username": {username}, "password": {password}})
}

// login goes through the whole flow and returns the code. In a browser with a
// session it is asked nothing.
func (b *browser) login(clientID, username, scope string) string {
	b.t.Helper()
	p := b.ask(authorize(clientID, scope))
	if p.status == http.StatusOK {
		p = b.submit(p, username, "pw")
	}
	if p.location == nil || p.location.Query().Get("code") == "" {
		b.t.Fatalf("no code in answer %d, Location %v:\n%s", p.status, p.location, p.body)
	}
	return p.location.Query().Get("code")
}

// cookie is the value of a cookie of the demo realm.
func (b *browser) cookie(name string) string {
	u, _ := url.Parse(b.s.base + "/realms/demo/")
	for _, c := range b.Jar.Cookies(u) {
		if c.Name == name {
			return c.Value
		}
	}
	return ""
}
