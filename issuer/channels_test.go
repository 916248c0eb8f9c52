package issuer_test

import (
	"bytes"
	"encoding/json"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/tegata/tegata/internal/jose"
	"github.com/tegata/tegata/issuer"
)

// listener is a client's server that hears of logouts.
type listener struct {
	*httptest.Server
	heard chan string // logout tokens
}

// listen answers each logout token with the next status of a list, the last
// one for ever.
func listen(t *testing.T, statuses ...int) *listener {
	t.Helper()
	l := &listener{heard: make(chan string, 10)}
	l.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" {
			t.Errorf("%s, %s", r.Method, r.Header.Get("Content-Type"))
		}
		status := statuses[0]
		if len(statuses) > 1 {
			statuses = statuses[1:]
		}
		w.Header().Set("Location", "http://"+r.Host+"/elsewhere")
		w.WriteHeader(status)
		l.heard <- r.PostFormValue("logout_token")
	}))
	t.Cleanup(l.Close)
	return l
}

// next is the next logout token.
func (l *listener) next(t *testing.T) string {
	t.Helper()
	select {
	case token := <-l.heard:
		return token
	case <-time.After(20 * time.Second):
		t.Fatal("no logout token")
		return ""
	}
}

// change imports the demo realm with one client changed.
func (s *server) change(clientID string, change func(*issuer.Client)) {
	s.t.Helper()
	file := demoRealm()
	for i := range file.Clients {
		if file.Clients[i].ClientID == clientID {
			change(&file.Clients[i])
		}
	}
	if err := s.iss.Import(s.t.Context(), file); err != nil {
		s.t.Fatal(err)
	}
}

func attributes(pairs ...string) func(*issuer.Client) {
	return func(c *issuer.Client) {
		c.Attributes = make(map[string]string)
		for i := 0; i < len(pairs); i += 2 {
			c.Attributes[pairs[i]] = pairs[i+1]
		}
	}
}

// TestBackChannelLogout: a client that wants to know is posted a logout token
// as OpenID Connect Back-Channel Logout 1.0 §2.4 has it and its §2.6 verifies
// it, until it has taken it.
func TestBackChannelLogout(t *testing.T) {
	t.Parallel()
	s := start(t)
	rp := listen(t, http.StatusServiceUnavailable, http.StatusFound, http.StatusNoContent)
	s.change("app", attributes("backchannel.logout.url", rp.URL+"/logout?tenant=1"))
	b := newBrowser(t, s)
	tokens := s.redeem(b.login("app", "alice", "openid"))
	b.logout(url.Values{"id_token_hint": {tokens["id_token"].(string)}})
	first := rp.next(t)
	provider, err := oidc.NewProvider(t.Context(), s.base+"/realms/demo")
	if err != nil {
		t.Fatal(err)
	}
	verified, err := provider.Verifier(&oidc.Config{ClientID: "app"}).Verify(t.Context(), first)
	if err != nil {
		t.Fatalf("others do not take it: %v", err)
	}
	h, err := jose.ParseHeader(first)
	if err != nil || h.Type != "logout+jwt" {
		t.Errorf("header %+v, %v", h, err)
	}
	claims := payloadOf(t, first)
	if verified.Subject != subjectOf(t, tokens) || claims["sid"] != tokens["session_state"] || claims["typ"] != "Logout" {
		t.Errorf("claims %v", claims)
	}
	if _, ok := claims["events"].(map[string]any)["http://schemas.openid.net/event/backchannel-logout"].(map[string]any); !ok {
		t.Errorf("events %v", claims["events"])
	}
	if life := claims["exp"].(float64) - claims["iat"].(float64); life > 120 {
		t.Errorf("good for %v s", life)
	}
	if claims["nonce"] != nil {
		t.Error("there is a nonce: §2.4 prohibits it")
	}
	// Neither an error nor a redirect is a yes.
	for range 2 {
		s.clock.Add(int64(time.Minute))
		if err := s.iss.Sweep(t.Context()); err != nil { // wakes who delivers
			t.Fatal(err)
		}
		if again := payloadOf(t, rp.next(t)); again["jti"] == claims["jti"] || again["sid"] != claims["sid"] {
			t.Errorf("again: %v", again)
		}
	}
}

// TestALogoutIsToldAsTheClientAsked by its attributes.
func TestALogoutIsToldAsTheClientAsked(t *testing.T) {
	t.Parallel()
	s := start(t)
	rp := listen(t, http.StatusOK)
	s.change("app", attributes("backchannel.logout.url", rp.URL, "backchannel.logout.session.required", "false",
		"backchannel.logout.revoke.offline.tokens", "true", "id.token.signed.response.alg", "RS256"))
	b := newBrowser(t, s)
	tokens := s.redeem(b.login("app", "alice", "openid"))
	if status, _ := s.post("logout", "app", "app-secret", url.Values{"refresh_token": {tokens["refresh_token"].(string)}}); status != http.StatusNoContent {
		t.Fatalf("status %d", status)
	}
	told := rp.next(t)
	h, err := jose.ParseHeader(told)
	claims := payloadOf(t, told)
	events := claims["events"].(map[string]any)
	if err != nil || h.Algorithm != jose.RS256 || claims["sid"] != nil || claims["sub"] != subjectOf(t, tokens) || events["revoke_offline_access"] == nil {
		t.Errorf("header %+v, %v, claims %v", h, err, claims)
	}
}

// TestOneClientDoesNotHoldUpAnother: who does not answer is asked once for all
// that it missed, and the others hear of everything.
func TestOneClientDoesNotHoldUpAnother(t *testing.T) {
	t.Parallel()
	s := start(t)
	down, up := listen(t, http.StatusBadGateway), listen(t, http.StatusOK)
	if err := s.iss.Import(t.Context(), func() issuer.Realm {
		file := demoRealm()
		attributes("backchannel.logout.url", down.URL)(&file.Clients[0])
		attributes("backchannel.logout.url", up.URL)(&file.Clients[1])
		return file
	}()); err != nil {
		t.Fatal(err)
	}
	const people = 3
	for range people {
		b := newBrowser(t, s)
		b.login("app2", "alice", "openid")
		tokens := s.redeem(b.login("app", "alice", "openid"))
		code := b.login("app2", "alice", "openid")
		s.post("token", "app2", "app2-secret", url.Values{
			"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {callback}, "code_verifier": {verifier},
		})
		if status, _ := s.post("logout", "app", "app-secret", url.Values{"refresh_token": {tokens["refresh_token"].(string)}}); status != http.StatusNoContent {
			t.Fatalf("logout: status %d", status)
		}
	}
	for range people {
		up.next(t)
	}
	down.next(t)
}

// TestAnExpiredSessionIsTold, too.
func TestAnExpiredSessionIsTold(t *testing.T) {
	t.Parallel()
	s := start(t)
	rp := listen(t, http.StatusOK)
	s.change("app", attributes("backchannel.logout.url", rp.URL))
	tokens := s.redeem(newBrowser(t, s).login("app", "alice", "openid"))
	s.clock.Add(int64(11 * time.Hour))
	if err := s.iss.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if claims := payloadOf(t, rp.next(t)); claims["sid"] != tokens["session_state"] {
		t.Errorf("claims %v", claims)
	}
}

// TestFrontChannelLogout: the last page loads each client's URL in a frame,
// with iss and sid (OpenID Connect Front-Channel Logout 1.0 §2), its policy
// allows those frames alone, and it goes on.
func TestFrontChannelLogout(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.change("app", func(c *issuer.Client) {
		c.FrontchannelLogout, c.Name = true, "The <App>"
		attributes("frontchannel.logout.url", "https://app.example/out?a=b")(c)
	})
	b := newBrowser(t, s)
	tokens := s.redeem(b.login("app", "alice", "openid"))
	p := b.logout(url.Values{"id_token_hint": {tokens["id_token"].(string)}, "post_logout_redirect_uri": {callback}, "state": {"a b"}})
	src := "https://app.example/out?a=b&amp;" + strings.ReplaceAll(url.Values{"iss": {s.base + "/realms/demo"}, "sid": {tokens["session_state"].(string)}}.Encode(), "&", "&amp;")
	if p.status != http.StatusOK || !strings.Contains(p.body, `<iframe src="`+src+`"`) {
		t.Errorf("status %d, want a frame of %s\n%s", p.status, src, p.body)
	}
	if !strings.Contains(p.body, "The &lt;App&gt;") {
		t.Errorf("the client is not named, safely\n%s", p.body)
	}
	if csp := p.header.Get("Content-Security-Policy"); !strings.Contains(csp, "frame-src https://app.example;") || strings.Contains(csp, "script-src") {
		t.Errorf("Content-Security-Policy %q", csp)
	}
	next := callback + "?state=a+b"
	if got := p.header.Get("Refresh"); got != "3; url="+next || !strings.Contains(html.UnescapeString(p.body), `href="`+next+`"`) {
		t.Errorf("Refresh %q\n%s", got, p.body)
	}
	if s.active(tokens["access_token"]) {
		t.Error("the session lives on")
	}
}

// TestOfflineAccess: an offline session outlives the browser's logout, is
// refreshed without an end of its own, and ends by its own token alone.
func TestOfflineAccess(t *testing.T) {
	t.Parallel()
	s := start(t)
	rp := listen(t, http.StatusOK)
	s.change("app", func(c *issuer.Client) {
		c.OptionalClientScopes = append(c.OptionalClientScopes, "offline_access")
		attributes("backchannel.logout.url", rp.URL)(c)
	})
	b := newBrowser(t, s)
	offline := s.redeem(b.login("app", "alice", "openid offline_access"))
	online := s.redeem(b.login("app", "alice", "openid"))
	if offline["session_state"] == online["session_state"] {
		t.Error("the offline session shares the browser session's id")
	}
	if claims := payloadOf(t, offline["refresh_token"].(string)); claims["typ"] != "Offline" || claims["exp"] != nil || offline["refresh_expires_in"] != 0.0 {
		t.Errorf("refresh token %v, expires in %v", claims, offline["refresh_expires_in"])
	}
	b.logout(url.Values{"id_token_hint": {online["id_token"].(string)}})
	if sid := payloadOf(t, rp.next(t))["sid"]; sid != online["session_state"] {
		t.Errorf("told of %v, want the browser's %v", sid, online["session_state"])
	}
	s.clock.Add(int64(20 * 24 * time.Hour))
	refresh := func(token any) (int, map[string]any) {
		return s.post("token", "app", "app-secret", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token.(string)}})
	}
	if status, answer := refresh(online["refresh_token"]); status != http.StatusBadRequest {
		t.Errorf("the browser's: %d %v", status, answer)
	}
	status, next := refresh(offline["refresh_token"])
	if status != http.StatusOK || !s.active(next["access_token"]) || next["session_state"] != offline["session_state"] {
		t.Fatalf("the offline one, after 20 days: %d %v", status, next)
	}
	if status, _ := s.post("logout", "app", "app-secret", url.Values{"refresh_token": {next["refresh_token"].(string)}}); status != http.StatusNoContent {
		t.Errorf("logout: status %d", status)
	}
	if sid := payloadOf(t, rp.next(t))["sid"]; sid != offline["session_state"] {
		t.Errorf("told of %v, want the offline %v", sid, offline["session_state"])
	}
	if status, answer := refresh(next["refresh_token"]); status != http.StatusBadRequest || answer["error_description"] != "Offline user session not found" {
		t.Errorf("after its logout: %d %v", status, answer)
	}
	if s.active(next["access_token"]) {
		t.Error("its access token lives on")
	}
}

func payloadOf(t *testing.T, compact string) map[string]any {
	t.Helper()
	_, payload, err := jose.Unverified(compact)
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.NewDecoder(bytes.NewReader(payload)).Decode(&claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

func subjectOf(t *testing.T, tokens map[string]any) string {
	t.Helper()
	return payloadOf(t, tokens["access_token"].(string))["sub"].(string)
}
