package issuer_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestLoginPageIsKeycloaksAndLockedDown(t *testing.T) {
	t.Parallel()
	p := newBrowser(t, start(t)).ask(authorize("app", "openid"))
	if p.status != http.StatusOK {
		t.Fatalf("status %d:\n%s", p.status, p.body)
	}
	for _, want := range []string{`id="kc-form-login"`, `name="username"`, `name="password"`, `name="login"`, `method="post"`} {
		if !strings.Contains(p.body, want) {
			t.Errorf("page lacks %s", want)
		}
	}
	if csp := p.header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || !strings.Contains(csp, "form-action 'self' http://127.0.0.1:9999") {
		t.Errorf("Content-Security-Policy = %q", csp)
	}
	for name, want := range map[string]string{
		"Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "SAMEORIGIN",
		"Cache-Control": "no-store, must-revalidate, max-age=0",
	} {
		if got := p.header.Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	for _, c := range p.cookies {
		if !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/realms/demo/" || c.Secure {
			t.Errorf("cookie %v: want HttpOnly, Lax, the realm's path, and no Secure over http", c)
		}
	}
}

func TestCodeFlowAnswersInKeycloaksOrder(t *testing.T) {
	t.Parallel()
	s := start(t)
	b := newBrowser(t, s)
	p := b.submit(b.ask(authorize("app", "openid")), "alice", "pw")
	if p.status != http.StatusFound {
		t.Fatalf("status %d:\n%s", p.status, p.body)
	}
	var names []string
	for pair := range strings.SplitSeq(p.location.RawQuery, "&") {
		name, _, _ := strings.Cut(pair, "=")
		names = append(names, name)
	}
	if got, want := strings.Join(names, " "), "state session_state iss code"; got != want {
		t.Errorf("parameters %q, want %q", got, want)
	}
	q := p.location.Query()
	if q.Get("state") != "s" || q.Get("iss") != s.base+"/realms/demo" { // RFC 9207 §2
		t.Errorf("got %v", q)
	}
	if tokens := s.redeem(q.Get("code")); tokens["session_state"] != q.Get("session_state") || !s.active(tokens["access_token"]) {
		t.Errorf("tokens are not of the session: %v", tokens)
	}
}

func TestSecondClientIsSingleSignedOn(t *testing.T) {
	t.Parallel()
	s := start(t)
	b := newBrowser(t, s)
	first := s.redeem(b.login("app", "alice", "openid"))
	p := b.ask(authorize("app2", "openid"))
	if p.location == nil || p.location.Query().Get("code") == "" {
		t.Fatalf("asked again: %d\n%s", p.status, p.body)
	}
	if got := p.location.Query().Get("session_state"); got != first["session_state"] {
		t.Errorf("session %s, want that of the first client, %s", got, first["session_state"])
	}
	_, second := s.post("token", "app2", "app2-secret", url.Values{
		"grant_type": {"authorization_code"}, "code": {p.location.Query().Get("code")}, "redirect_uri": {callback}, "code_verifier": {verifier},
	})
	_, claims := s.post("token/introspect", "rs", "rs-secret", url.Values{"token": {second["access_token"].(string)}})
	if claims["acr"] != "0" { // Keycloak 26: "0" when the cookie did it
		t.Errorf("acr %v, want 0", claims["acr"])
	}
}

func TestAuthorizationErrors(t *testing.T) {
	t.Parallel()
	s := start(t)
	signedOn := newBrowser(t, s)
	signedOn.login("app", "alice", "openid")
	tests := []struct {
		name   string
		change url.Values // an empty value removes the parameter
		sso    bool
		want   string // page:<text>, login, or error: error_description
	}{
		// First gate: never a redirect (RFC 6749 §4.1.2.1).
		{"unknown client", url.Values{"client_id": {"nope"}}, false, "page:Client not found."},
		{"no client", url.Values{"client_id": {""}}, false, "page:Invalid Request"},
		{"two clients", url.Values{"client_id": {"app", "app"}}, false, "page:Invalid Request"},
		{"disabled client", url.Values{"client_id": {"off"}}, false, "page:Login requester not enabled."},
		{"no redirect_uri", url.Values{"redirect_uri": {""}}, false, "page:Invalid parameter: redirect_uri"},
		{"unregistered redirect_uri", url.Values{"redirect_uri": {"http://evil.example/cb"}}, false, "page:Invalid parameter: redirect_uri"},
		// Second gate.
		{"no response_type", url.Values{"response_type": {""}}, false, "invalid_request: Missing parameter: response_type"},
		{"bogus response_type", url.Values{"response_type": {"bogus"}}, false, "unsupported_response_type: "},
		{"implicit", url.Values{"response_type": {"id_token token"}}, false, "unsupported_response_type: "},
		{"unknown scope", url.Values{"scope": {"openid bogus"}}, false, "invalid_scope: Invalid scopes: openid bogus"},
		{"a scope that cannot be quoted", url.Values{"scope": {"a\"b\\\u00e9\n"}}, false, "invalid_scope: Invalid scopes: a?b??"}, // RFC 6749 §4.1.2.1
		{"bad response_mode", url.Values{"response_mode": {"bogus"}}, false, "invalid_request: Invalid parameter: response_mode"},
		{"repeated parameter", url.Values{"scope": {"openid", "openid"}}, false, "invalid_request: duplicated parameter"},
		// RFC 9101 §7.
		{"request object", url.Values{"request": {"x"}}, false, "invalid_request_object: "},
		{"request object somewhere", url.Values{"request_uri": {"http://evil.example/object"}}, false, "request_uri_not_supported: "},
		{"request object here and there", url.Values{"request": {"x"}, "request_uri": {"http://evil.example/object"}}, false, "invalid_request: request and request_uri exclude each other"},
		{"two request objects", url.Values{"request": {"x", "y"}}, false, "invalid_request: request and request_uri exclude each other"},
		{"bad max_age", url.Values{"max_age": {"x"}}, false, "invalid_request: Invalid parameter: max_age"},
		{"bad dpop_jkt", url.Values{"dpop_jkt": {"x"}}, false, "invalid_request: Invalid parameter: dpop_jkt"}, // RFC 9449 §10
		{"huge nonce", url.Values{"nonce": {strings.Repeat("n", 2049)}}, false, "invalid_request: Invalid parameter: nonce"},
		{"prompt none and login", url.Values{"prompt": {"none login"}}, false, "invalid_request: Invalid parameter: prompt"},
		// PKCE (RFC 7636 §4.4.1; Keycloak's texts).
		{"public, none", url.Values{"client_id": {"spa"}, "code_challenge": {""}, "code_challenge_method": {""}}, false, "invalid_request: Missing parameter: code_challenge_method"},
		{"public, method only", url.Values{"client_id": {"spa"}, "code_challenge": {""}}, false, "invalid_request: Missing parameter: code_challenge"},
		{"plain", url.Values{"code_challenge_method": {"plain"}}, false, "invalid_request: Invalid parameter: code challenge method is not matching the configured one"},
		{"challenge without method is plain", url.Values{"code_challenge_method": {""}}, false, "invalid_request: Missing parameter: code_challenge_method"},
		{"bad challenge", url.Values{"code_challenge": {"a"}}, false, "invalid_request: Invalid parameter: code_challenge"},
		{"confidential, none", url.Values{"code_challenge": {""}, "code_challenge_method": {""}}, false, "login"},
		// Third gate (OpenID Connect Core §3.1.2.1, §3.1.2.6).
		{"prompt=none, no session", url.Values{"prompt": {"none"}}, false, "login_required: "},
		{"prompt=none, session", url.Values{"prompt": {"none"}}, true, "code"},
		{"prompt=login, session", url.Values{"prompt": {"login"}}, true, "login"},
		{"max_age=0, session", url.Values{"max_age": {"0"}}, true, "login"},
		{"max_age=3600, session", url.Values{"max_age": {"3600"}}, true, "code"},
		{"prompt=none max_age=0", url.Values{"prompt": {"none"}, "max_age": {"0"}}, true, "login_required: "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			query := authorize("app", "openid")
			for name, values := range tt.change {
				query[name] = values
				if values[0] == "" {
					query.Del(name)
				}
			}
			b := newBrowser(t, s)
			if tt.sso {
				b = signedOn
			}
			if got := outcome(s, b.ask(query), query.Get("state")); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// outcome says what an authorization request came to, in a word or two.
func outcome(s *server, p page, state string) string {
	switch {
	case p.status == http.StatusOK && strings.Contains(p.body, "kc-form-login"):
		return "login"
	case p.status == http.StatusBadRequest && p.location == nil:
		_, rest, _ := strings.Cut(p.body, `class="error">`)
		text, _, _ := strings.Cut(rest, "</p>")
		return "page:" + text
	case p.location == nil:
		return fmt.Sprintf("status %d", p.status)
	}
	q := p.location.Query()
	switch {
	case q.Get("state") != state || q.Get("iss") != s.base+"/realms/demo":
		return "answer without state or iss: " + p.location.String()
	case q.Get("code") != "":
		return "code"
	}
	return q.Get("error") + ": " + q.Get("error_description")
}

func TestMaxAgeIsCountedFromTheLogin(t *testing.T) {
	t.Parallel()
	s := start(t)
	b := newBrowser(t, s)
	b.login("app", "alice", "openid")
	s.clock.Add(int64(101 * time.Second))
	query := authorize("app", "openid")
	query.Set("max_age", "100")
	if got := outcome(s, b.ask(query), "s"); got != "login" {
		t.Errorf("got %q, want the login page", got)
	}
}

func TestNoOpenRedirect(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, uri := range []string{
		"http://evil.example/", "//evil.example/cb", "https://127.0.0.1:9999/cb", "http://127.0.0.1:9999/cb/", "http://127.0.0.1:9999/cb/../x",
		"http://127.0.0.1:9999/cb#f", "http://127.0.0.1:9999/cb?x=1", "http://127.0.0.1:9999/cb%0d%0aX:y", "http://127.0.0.1:9999\\@evil.example/cb",
		"http://127.0.0.1:9999@evil.example/cb", "http://evil.example@127.0.0.1:9999/cb", "http://127.0.0.1:9999.evil.example/cb",
		"http://127.0.0.1.evil.example/cb", "HTTP://127.0.0.1:9999/cb", "http://localhost:9999/cb", "http://127.0.0.1:9999/CB",
		"javascript:alert(1)", "data:text/html,x", " http://127.0.0.1:9999/cb", "http://127.0.0.1:9999/cb ", "http://[::ffff:127.0.0.1]:9999/cb",
		"http://127.0.0.1:9999/cb;x", "http://127.1:9999/cb", "\thttp://127.0.0.1:9999/cb", "/cb", "cb", "",
	} {
		query := authorize("app", "openid")
		query.Set("redirect_uri", uri)
		p := newBrowser(t, s).ask(query)
		if p.location != nil || p.status != http.StatusBadRequest {
			t.Errorf("redirect_uri %q: status %d, Location %v; want an error page", uri, p.status, p.location)
		}
	}
}

func TestNativeAppsMayUseAnyLoopbackPort(t *testing.T) {
	t.Parallel()
	s := start(t)
	query := authorize("spa", "openid")
	query.Set("redirect_uri", "http://127.0.0.1:51004/native") // RFC 8252 §7.3
	if got := outcome(s, newBrowser(t, s).ask(query), "s"); got != "login" {
		t.Errorf("got %q, want the login page", got)
	}
}

func TestResponseModes(t *testing.T) {
	t.Parallel()
	s := start(t)
	b := newBrowser(t, s)
	b.login("app", "alice", "openid")
	query := authorize("app", "openid")

	query.Set("response_mode", "fragment")
	p := b.ask(query)
	if p.location == nil || p.location.RawQuery != "" || !strings.HasPrefix(p.location.Fragment, "state=s&") {
		t.Errorf("fragment: Location %v", p.location)
	}

	query.Set("response_mode", "form_post")
	query.Set("state", `"><script>`)
	p = b.ask(query)
	for _, want := range []string{`action="` + callback + `"`, `name="code"`, `name="iss"`, `value="&#34;&gt;&lt;script&gt;"`, "document.forms[0].submit();"} {
		if p.status != http.StatusOK || !strings.Contains(p.body, want) {
			t.Errorf("form_post: %d, page lacks %s:\n%s", p.status, want, p.body)
		}
	}

	query = authorize("app", "openid")
	query.Set("redirect_uri", callback+"?tenant=1")
	if p = b.ask(query); p.location == nil || !strings.HasPrefix(p.location.RawQuery, "tenant=1&state=s&") { // RFC 6749 §3.1.2
		t.Errorf("redirect URI with a query: Location %v", p.location)
	}
}

func TestRefusedPeopleSeeOnePage(t *testing.T) {
	t.Parallel()
	s := start(t)
	tests := []struct{ user, password, text string }{
		{"alice", "wrong", "Invalid username or password."},
		{"nobody", "pw", "Invalid username or password."},
		{"", "", "Invalid username or password."},
		{"bob", "wrong", "Invalid username or password."},
		{"bob", "pw", "Account is disabled, contact your administrator."},
		{`"><script>alert(1)</script>`, "x", "Invalid username or password."},
	}
	for _, tt := range tests {
		b := newBrowser(t, s)
		p := b.submit(b.ask(authorize("app", "openid")), tt.user, tt.password)
		if p.status != http.StatusOK || !strings.Contains(p.body, tt.text) || strings.Contains(p.body, "<script>alert") {
			t.Errorf("%q: status %d, want 200 and %q:\n%s", tt.user, p.status, tt.text, p.body)
		}
		if b.cookie("KEYCLOAK_IDENTITY") != "" {
			t.Errorf("%q: has a session", tt.user)
		}
		// The same page lets the right person in.
		if p = b.submit(p, "alice", "pw"); p.status != http.StatusFound {
			t.Errorf("%q: alice is not let in afterwards: %d", tt.user, p.status)
		}
	}
}

func TestGuessingIsStopped(t *testing.T) {
	t.Parallel()
	s := start(t)
	b := newBrowser(t, s)
	p := b.ask(authorize("app", "openid"))
	for range 5 {
		p = b.submit(p, "alice", "wrong")
	}
	if p = b.submit(p, "alice", "pw"); p.status != http.StatusOK || !strings.Contains(p.body, "Invalid username or password.") {
		t.Errorf("sixth attempt: status %d, want a refusal", p.status)
	}
	s.clock.Add(int64(2 * time.Second))
	if p = b.submit(p, "alice", "pw"); p.status != http.StatusFound {
		t.Errorf("after a while: status %d, want a redirect", p.status)
	}
}

func TestLoginFormIsBoundToItsBrowser(t *testing.T) {
	t.Parallel()
	s := start(t)
	attacker, victim := newBrowser(t, s), newBrowser(t, s)
	page := attacker.ask(authorize("app", "openid"))
	action, state := attacker.form(page)
	form := url.Values{"session_code": {state}, "username": {"alice"}, "password": {"pw"}}

	if p := victim.do(http.MethodPost, action, form); p.status != http.StatusBadRequest || victim.cookie("KEYCLOAK_IDENTITY") != "" {
		t.Errorf("browser without the cookie: status %d", p.status)
	}
	victim.ask(authorize("app", "openid"))
	if p := victim.do(http.MethodPost, action, form); p.status != http.StatusBadRequest || victim.cookie("KEYCLOAK_IDENTITY") != "" {
		t.Errorf("browser with another cookie: status %d", p.status)
	}
	s.clock.Add(int64(31 * time.Minute))
	if p := attacker.do(http.MethodPost, action, form); p.status != http.StatusBadRequest {
		t.Errorf("after half an hour: status %d", p.status)
	}
}

func TestLoginFromAnotherSiteIsRefused(t *testing.T) {
	t.Parallel()
	s := start(t)
	b := newBrowser(t, s)
	action, state := b.form(b.ask(authorize("app", "openid")))
	form := url.Values{"session_code": {state}, "username": {"alice"}, "password": {"pw"}}
	req := httptest.NewRequest(http.MethodPost, action, strings.NewReader(form.Encode()))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Sec-Fetch-Site", "cross-site")
	req.AddCookie(&http.Cookie{Name: "AUTH_SESSION_ID", Value: b.cookie("AUTH_SESSION_ID")})
	w := httptest.NewRecorder()
	s.iss.Handler().ServeHTTP(w, req)
	if w.Code != http.StatusBadRequest {
		t.Errorf("status %d, want 400", w.Code)
	}
}

func TestEachLoginMakesANewSession(t *testing.T) {
	t.Parallel()
	s := start(t)
	b := newBrowser(t, s)
	u, _ := url.Parse(s.base + "/realms/demo/")
	b.Jar.SetCookies(u, []*http.Cookie{{Name: "KEYCLOAK_IDENTITY", Value: "planted", Path: "/realms/demo/"}})
	old := s.redeem(b.login("app", "alice", "openid"))
	before := b.cookie("KEYCLOAK_IDENTITY")
	if before == "planted" || before == "" {
		t.Fatalf("cookie %q survived the login", before)
	}
	if b.cookie("AUTH_SESSION_ID") != "" {
		t.Errorf("the form cookie survived the login")
	}
	query := authorize("app", "openid")
	query.Set("prompt", "login")
	p := b.submit(b.ask(query), "alice", "pw")
	if p.location == nil || p.location.Query().Get("code") == "" || b.cookie("KEYCLOAK_IDENTITY") == before {
		t.Fatalf("second login: %d %v", p.status, p.location)
	}
	if s.active(old["access_token"]) {
		t.Errorf("the session that the browser had before lives on without a cookie")
	}
}

// FuzzAuthorize holds that whatever is asked, a browser is sent nowhere but to
// a registered URI, and that nothing panics.
func FuzzAuthorize(f *testing.F) {
	handler := start(f).iss.Handler()
	for _, q := range []string{
		authorize("app", "openid").Encode(), authorize("spa", "openid profile").Encode(),
		"client_id=app&redirect_uri=http://evil.example/&response_type=code", "client_id=spa&redirect_uri=http://127.0.0.1:1/native",
		"client_id=app&redirect_uri=" + url.QueryEscape(callback) + "&response_mode=form_post&prompt=none&state=%0d%0a",
		"client_id=app&client_id=app2&redirect_uri=x", "%", "a=%zz", "client_id=%00&redirect_uri=%ff",
		"client_id=app&redirect_uri=" + url.QueryEscape(callback+"?tenant=1") + "&prompt=none&response_type=code&response_mode=fragment",
	} {
		f.Add(q)
	}
	f.Fuzz(func(t *testing.T, query string) {
		req := httptest.NewRequest(http.MethodGet, "/realms/demo/protocol/openid-connect/auth", nil)
		req.URL.RawQuery = query
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, req)
		if w.Code >= http.StatusInternalServerError {
			t.Errorf("status %d", w.Code)
		}
		target := w.Header().Get("Location")
		if a := formAction.FindStringSubmatch(w.Body.String()); a != nil && !strings.HasPrefix(a[1], "/realms/demo/") {
			target = strings.ReplaceAll(a[1], "&amp;", "&")
		}
		if target == "" {
			return
		}
		u, err := url.Parse(target)
		if err != nil || u.Scheme != "http" || u.Hostname() != "127.0.0.1" || u.User != nil ||
			(u.Path != "/native" && u.Host+u.Path != "127.0.0.1:9999/cb") || strings.ContainsAny(target, "\r\n") {
			t.Errorf("sent to %q", target)
		}
	})
}
