package issuer_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tegata/tegata/internal/jose"
	"github.com/tegata/tegata/issuer"
	"github.com/tegata/tegata/issuer/oauth"
)

// getJSON reads a public document.
func (s *server) getJSON(path string) map[string]any {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.base+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || resp.StatusCode != http.StatusOK {
		s.t.Fatalf("%s: %d, %v", path, resp.StatusCode, err)
	}
	return answer
}

// from sends a request of a page of an origin.
func (s *server) from(origin, method, path string, form url.Values, header http.Header) *httptest.ResponseRecorder {
	s.t.Helper()
	req := httptest.NewRequest(method, s.oidc(path), strings.NewReader(form.Encode()))
	req.Header = header.Clone()
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	req.Header.Set("Origin", origin)
	w := httptest.NewRecorder()
	s.iss.Handler().ServeHTTP(w, req)
	return w
}

// signer is a client's key and its public half as a realm file has it.
func signer(t *testing.T) (jose.Signer, map[string]any) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return jose.Signer{ID: "k1", Algorithm: jose.ES256, Key: key}, jwksOf(t, key.Public())
}

// jwksOf is a P-256 key, called k1, as a realm file has it.
func jwksOf(t *testing.T, key crypto.PublicKey) map[string]any {
	t.Helper()
	set, err := jose.NewKeySet(jose.PublicKey{ID: "k1", Algorithm: jose.ES256, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	var jwks map[string]any
	if err := json.Unmarshal(data, &jwks); err != nil {
		t.Fatal(err)
	}
	return jwks
}

// TestPrivateKeyJWT from the realm file to the token, and at every door that
// takes a client's word (RFC 7523 §2.2, OpenID Connect Core §9).
func TestPrivateKeyJWT(t *testing.T) {
	t.Parallel()
	s := start(t)
	key, jwks := signer(t)
	stranger, _ := signer(t)
	no := false
	file := demoRealm()
	file.Clients = append(file.Clients, issuer.Client{
		ClientID: "robot", ClientAuthenticatorType: "client-jwt", JWKS: jwks,
		ServiceAccountsEnabled: true, StandardFlowEnabled: &no, Audience: []string{"rs", "robot"},
	})
	if err := s.iss.Import(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	realm := s.base + "/realms/demo"
	sign := func(k jose.Signer, change map[string]any) string {
		now := time.Now().Add(time.Duration(s.clock.Load())).Unix()
		claims := map[string]any{"iss": "robot", "sub": "robot", "aud": realm, "jti": rand.Text(), "iat": now, "exp": now + 60}
		for name, v := range change {
			claims[name] = v
		}
		data, err := json.Marshal(claims)
		if err != nil {
			t.Fatal(err)
		}
		compact, err := k.Sign("JWT", data)
		if err != nil {
			t.Fatal(err)
		}
		return compact
	}
	call := func(path, assertion string, form url.Values) (int, map[string]any) {
		form.Set("client_assertion_type", oauth.AssertionJWT)
		form.Set("client_assertion", assertion)
		return s.post(path, "", "", form)
	}
	grant := func(assertion string) (int, map[string]any) {
		return call("token", assertion, url.Values{"grant_type": {"client_credentials"}})
	}

	once := sign(key, nil)
	status, answer := grant(once)
	if status != http.StatusOK {
		t.Fatalf("status %d %v", status, answer)
	}
	access := answer["access_token"].(string)
	if !s.active(access) {
		t.Error("the token is not active")
	}
	for name, tt := range map[string]struct{ assertion, want string }{
		"used again":            {once, "Token reuse detected"},
		"for somebody else":     {sign(key, map[string]any{"aud": "https://other.example"}), "Invalid token audience"},
		"of another realm":      {sign(key, map[string]any{"aud": s.base + "/realms/other"}), "Invalid token audience"},
		"expired":               {sign(key, map[string]any{"iat": 1, "exp": 2}), "Token is not active"},
		"of a stranger's key":   {sign(stranger, nil), "Client authentication with signed JWT failed: Signature on JWT token failed validation"},
		"not a token":           {"x", "Client authentication with signed JWT failed: the assertion is malformed"},
		"in the name of a peer": {sign(key, map[string]any{"sub": "svc"}), "Client authentication with signed JWT failed: iss and sub must both be the client_id"},
	} {
		status, answer := grant(tt.assertion)
		if status != http.StatusBadRequest || answer["error"] != "invalid_client" || answer["error_description"] != tt.want {
			t.Errorf("%s: %d %v, want %q", name, status, answer, tt.want)
		}
	}
	if status, answer := grant(sign(key, map[string]any{"aud": realm + "/protocol/openid-connect/token"})); status != http.StatusOK {
		t.Errorf("for the token endpoint: %d %v", status, answer)
	}
	if status, answer := s.post("token", "robot", "", url.Values{"grant_type": {"client_credentials"}}); status != http.StatusBadRequest || answer["error_description"] != "Parameter client_assertion_type is missing" {
		t.Errorf("without its key: %d %v", status, answer)
	}

	if status, answer := call("token/introspect", sign(key, nil), url.Values{"token": {access}}); status != http.StatusOK || answer["active"] != true {
		t.Errorf("introspection: %d %v", status, answer)
	}
	if status, answer := call("revoke", sign(stranger, nil), url.Values{"token": {access}}); status != http.StatusBadRequest || !s.active(access) {
		t.Errorf("revocation by a stranger: %d %v", status, answer)
	}
	if status, answer := call("revoke", sign(key, nil), url.Values{"token": {access}}); status != http.StatusOK || s.active(access) {
		t.Errorf("revocation: %d %v", status, answer)
	}
}

// TestOriginsAtTheDoors: a page of another origin is refused before anything
// is done, and never told that it may read the answer.
func TestOriginsAtTheDoors(t *testing.T) {
	t.Parallel()
	s := start(t)
	tokens := s.redeem(newBrowser(t, s).login("app", "alice", "openid"))
	access := tokens["access_token"].(string)
	app := http.Header{}
	app.Set("Authorization", "Basic YXBwOmFwcC1zZWNyZXQ=") // app:app-secret
	bearer := http.Header{}
	bearer.Set("Authorization", "Bearer "+access)
	own := strings.TrimSuffix(callback, "/cb") // "+" of app
	for _, tt := range []struct {
		name, origin, method, path string
		form                       url.Values
		header                     http.Header
		status                     int
		alive                      bool // the access token, afterwards
	}{
		{"userinfo, another", "http://evil.example", http.MethodGet, "userinfo", nil, bearer, http.StatusForbidden, true},
		{"userinfo, null", "null", http.MethodGet, "userinfo", nil, bearer, http.StatusForbidden, true},
		{"userinfo, its own", own, http.MethodGet, "userinfo", nil, bearer, http.StatusOK, true},
		{"revoke, another", "http://evil.example", http.MethodPost, "revoke", url.Values{"token": {access}}, app, http.StatusForbidden, true},
		{"revoke, its own", own, http.MethodPost, "revoke", url.Values{"token": {access}}, app, http.StatusOK, false},
	} {
		w := s.from(tt.origin, tt.method, tt.path, tt.form, tt.header)
		allowed := w.Header().Get("Access-Control-Allow-Origin")
		if w.Code != tt.status || (allowed == tt.origin) != (tt.status == http.StatusOK) {
			t.Errorf("%s: status %d, allowed %q, want %d", tt.name, w.Code, allowed, tt.status)
		}
		if tt.status == http.StatusForbidden && strings.Contains(w.Body.String(), "sub") {
			t.Errorf("%s: it was told %s", tt.name, w.Body)
		}
		if s.active(access) != tt.alive {
			t.Errorf("%s: the token is alive: %v", tt.name, !tt.alive)
		}
	}
}

// TestRevokingWhatHasExpired revokes nothing (RFC 7009 §2.2), so that nobody
// can fill the list of the revoked with the dead.
func TestRevokingWhatHasExpired(t *testing.T) {
	t.Parallel()
	s := start(t)
	access := s.clientToken("")
	s.clock.Add(int64(10 * time.Minute))
	form := url.Values{"token": {access}}
	w := s.from("", http.MethodPost, "revoke", form, http.Header{"Authorization": {"Basic c3ZjOnN2Yy1zZWNyZXQ="}}) // svc:svc-secret
	if rev := w.Header().Get("Tegata-Revocation-Revision"); w.Code != http.StatusOK || w.Body.Len() != 0 || rev != "" {
		t.Errorf("status %d, revision %q, %s", w.Code, rev, w.Body)
	}
}

// TestUserinfoAfterTheSession says so in Keycloak's words.
func TestUserinfoAfterTheSession(t *testing.T) {
	t.Parallel()
	s := start(t)
	b := newBrowser(t, s)
	tokens := s.redeem(b.login("app", "alice", "openid"))
	if p := b.logout(url.Values{"id_token_hint": {tokens["id_token"].(string)}}); p.status != http.StatusOK {
		t.Fatalf("logout: status %d", p.status)
	}
	w := s.from("", http.MethodGet, "userinfo", nil, http.Header{"Authorization": {"Bearer " + tokens["access_token"].(string)}})
	const want = `Bearer realm="demo", error="invalid_token", error_description="user_session_not_found"`
	if got := w.Header().Get("WWW-Authenticate"); w.Code != http.StatusUnauthorized || got != want || w.Body.Len() != 0 {
		t.Errorf("status %d, %s, %s", w.Code, got, w.Body)
	}
}

// TestLogoutConfirmedByAnotherSite ends nothing: the person has not been asked.
func TestLogoutConfirmedByAnotherSite(t *testing.T) {
	t.Parallel()
	s := start(t)
	b := newBrowser(t, s)
	tokens := s.redeem(b.login("app", "alice", "openid"))
	p := b.logout(nil)
	action, state := b.form(p)
	u, err := url.Parse(action)
	if err != nil {
		t.Fatal(err)
	}
	confirm := func(site, state string) int {
		req := httptest.NewRequest(http.MethodPost, action, strings.NewReader(url.Values{"session_code": {state}}.Encode()))
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Sec-Fetch-Site", site)
		for _, c := range b.Jar.Cookies(u) {
			req.AddCookie(c)
		}
		w := httptest.NewRecorder()
		s.iss.Handler().ServeHTTP(w, req)
		return w.Code
	}
	for name, status := range map[string]int{
		"another site": confirm("cross-site", state),
		"no form":      confirm("same-origin", ""),
		"made up":      confirm("same-origin", state+"A"),
	} {
		if status != http.StatusBadRequest || !s.active(tokens["access_token"]) {
			t.Errorf("%s: status %d, want 400 and nothing ended", name, status)
		}
	}
	if status := confirm("same-origin", state); status != http.StatusOK || s.active(tokens["access_token"]) {
		t.Errorf("the page's own form: status %d, want 200 and the session's end", status)
	}
}

// TestStateJoinsTheQueryOfALogoutRedirect (RP-Initiated Logout §3).
func TestStateJoinsTheQueryOfALogoutRedirect(t *testing.T) {
	t.Parallel()
	s := start(t)
	b := newBrowser(t, s)
	tokens := s.redeem(b.login("app", "alice", "openid"))
	p := b.logout(url.Values{
		"id_token_hint": {tokens["id_token"].(string)}, "post_logout_redirect_uri": {callback + "?tenant=1"}, "state": {"a&tenant=2"},
	})
	if p.status != http.StatusFound || p.location.String() != callback+"?tenant=1&state=a%26tenant%3D2" {
		t.Errorf("status %d, Location %v", p.status, p.location)
	}
}

// TestDiscoveryFollowsTheAlgorithm: the old one is announced for as long as its
// key is, and adapters that know one key get the one that signs.
func TestDiscoveryFollowsTheAlgorithm(t *testing.T) {
	t.Parallel()
	s := start(t)
	old := s.getJSON("/realms/demo")["public_key"]
	access := s.clientToken("")
	file := demoRealm()
	file.DefaultSignatureAlgorithm = "EdDSA"
	if err := s.iss.Import(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	var algorithms []string
	for _, alg := range s.getJSON("/realms/demo/.well-known/openid-configuration")["id_token_signing_alg_values_supported"].([]any) {
		algorithms = append(algorithms, alg.(string))
	}
	if !slices.Equal(algorithms, []string{"EdDSA", "ES256", "RS256"}) {
		t.Errorf("announced %v", algorithms)
	}
	if key := s.getJSON("/realms/demo")["public_key"]; key == old || key == "" {
		t.Errorf("public_key %v, was %v", key, old)
	}
	if n := len(s.getJSON("/realms/demo/protocol/openid-connect/certs")["keys"].([]any)); n != 2 {
		t.Errorf("%d keys are published, want the new one and the old", n)
	}
	if !s.active(access) || !s.active(s.clientToken("")) {
		t.Error("a token of the old key or of the new is dead")
	}
}

// TestDoorsSlowGuessingDown: who guesses a client's secret is told to wait, at
// every door together.
func TestDoorsSlowGuessingDown(t *testing.T) {
	t.Parallel()
	s := start(t)
	doors := []string{"token", "token/introspect", "revoke"}
	last := 0
	for n := range 31 {
		last, _ = s.post(doors[n%len(doors)], "svc", "guess", url.Values{"grant_type": {"client_credentials"}, "token": {"x"}})
	}
	if last != http.StatusTooManyRequests {
		t.Errorf("the 31st guess: %d, want %d", last, http.StatusTooManyRequests)
	}
}

// TestRevokingWithAnOldRefreshToken: one that was rotated ends the grant that it
// is of (RFC 7009 §2.1, RFC 9700 §4.14.2); one whose grant has ended, or that
// has expired, ends nothing (RFC 7009 §2.2).
func TestRevokingWithAnOldRefreshToken(t *testing.T) {
	t.Parallel()
	s := start(t)
	b := newBrowser(t, s)
	s.post("token", "app2", "app2-secret", url.Values{ // keeps the session
		"grant_type": {"authorization_code"}, "code": {b.login("app2", "alice", "openid")}, "redirect_uri": {callback}, "code_verifier": {verifier},
	})
	revoke := func(token any) {
		t.Helper()
		if status, answer := s.post("revoke", "app", "app-secret", url.Values{"token": {token.(string)}}); status != http.StatusOK || answer != nil {
			t.Fatalf("%d %v", status, answer)
		}
	}
	first := s.redeem(b.login("app", "alice", "openid"))
	_, second := s.post("token", "app", "app-secret", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {first["refresh_token"].(string)}})
	if !s.active(second["access_token"]) {
		t.Fatalf("not refreshed: %v", second)
	}
	revoke(first["refresh_token"])
	if s.active(second["access_token"]) {
		t.Error("a rotated token did not end its grant")
	}

	again := s.redeem(b.login("app", "alice", "openid"))
	if claimsOf(t, again["access_token"])["sid"] != claimsOf(t, first["access_token"])["sid"] {
		t.Fatal("another session")
	}
	revoke(first["refresh_token"])
	revoke(second["refresh_token"])
	if !s.active(again["access_token"]) {
		t.Error("a token of a grant that has ended ended the next one")
	}

	s.clock.Add(int64(29 * time.Minute))
	_, kept := s.post("token", "app", "app-secret", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {again["refresh_token"].(string)}})
	s.clock.Add(int64(2 * time.Minute))
	revoke(again["refresh_token"]) // expired by now
	if kept["access_token"] == nil || !s.active(kept["access_token"]) {
		t.Errorf("an expired token ended a session: %v", kept)
	}
}
