package issuer_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

func (b *browser) logout(query url.Values) page {
	b.t.Helper()
	return b.do(http.MethodGet, b.s.oidc("logout")+"?"+query.Encode(), nil)
}

func TestLogoutWithAHintEndsTheSessionOfAllClients(t *testing.T) {
	t.Parallel()
	s := start(t)
	b, elsewhere := newBrowser(t, s), newBrowser(t, s)
	app := s.redeem(b.login("app", "alice", "openid"))
	code2 := b.login("app2", "alice", "openid")
	_, app2 := s.post("token", "app2", "app2-secret", url.Values{
		"grant_type": {"authorization_code"}, "code": {code2}, "redirect_uri": {callback}, "code_verifier": {verifier},
	})
	other := s.redeem(elsewhere.login("app", "alice", "openid"))

	p := b.logout(url.Values{"id_token_hint": {app["id_token"].(string)}, "post_logout_redirect_uri": {callback}, "state": {"lo ut"}})
	if p.status != http.StatusFound || p.location.String() != callback+"?state=lo+ut" {
		t.Fatalf("status %d, Location %v", p.status, p.location)
	}
	if p.header.Get("Tegata-Revocation-Revision") == "" {
		t.Errorf("no revision in the answer")
	}
	if s.active(app["access_token"]) || s.active(app2["access_token"]) {
		t.Errorf("tokens of the session live on")
	}
	if b.cookie("KEYCLOAK_IDENTITY") != "" {
		t.Errorf("the cookie is still there")
	}
	query := authorize("app", "openid")
	query.Set("prompt", "none")
	if got := outcome(s, b.ask(query), "s"); got != "login_required: " {
		t.Errorf("single sign-on after logout: %q", got)
	}
	if !s.active(other["access_token"]) {
		t.Errorf("the session of another browser ended too")
	}
}

func TestLogoutWithAnExpiredHint(t *testing.T) {
	t.Parallel()
	s := start(t)
	b := newBrowser(t, s)
	tokens := s.redeem(b.login("app", "alice", "openid"))
	s.clock.Add(int64(10 * time.Minute)) // RP-Initiated Logout §2: accept expired hints
	if p := b.logout(url.Values{"id_token_hint": {tokens["id_token"].(string)}}); p.status != http.StatusOK || !strings.Contains(p.body, "You are logged out") {
		t.Errorf("status %d\n%s", p.status, p.body)
	}
	if status, _ := s.post("token", "app", "app-secret", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {tokens["refresh_token"].(string)}}); status != http.StatusBadRequest {
		t.Errorf("refresh after logout: status %d", status)
	}
}

func TestLogoutErrorsEndNothing(t *testing.T) {
	t.Parallel()
	s := start(t)
	b := newBrowser(t, s)
	tokens := s.redeem(b.login("app", "alice", "openid"))
	hint := tokens["id_token"].(string)
	tests := []struct {
		name  string
		query url.Values
		text  string // Keycloak 26's
	}{
		{"unregistered URI", url.Values{"id_token_hint": {hint}, "post_logout_redirect_uri": {"http://evil.example/"}}, "Invalid redirect uri"},
		{"script", url.Values{"id_token_hint": {hint}, "post_logout_redirect_uri": {"javascript:alert(1)"}}, "Invalid redirect uri"},
		{"URI alone", url.Values{"post_logout_redirect_uri": {callback}}, "Missing parameters: id_token_hint"},
		{"garbage hint", url.Values{"id_token_hint": {"garbage"}}, "Invalid parameter: id_token_hint"},
		{"access token as hint", url.Values{"id_token_hint": {tokens["access_token"].(string)}}, "Invalid parameter: id_token_hint"},
		{"hint of another client", url.Values{"id_token_hint": {hint}, "client_id": {"app2"}}, "Invalid parameter: id_token_hint"},
		{"unknown client", url.Values{"client_id": {"nope"}, "post_logout_redirect_uri": {callback}}, "Client not found."},
		{"two hints", url.Values{"id_token_hint": {hint, hint}}, "Invalid Request"},
	}
	for _, tt := range tests {
		p := b.logout(tt.query)
		if p.status != http.StatusBadRequest || p.location != nil || !strings.Contains(p.body, tt.text) {
			t.Errorf("%s: status %d, Location %v; want 400 and %q\n%s", tt.name, p.status, p.location, tt.text, p.body)
		}
	}
	if !s.active(tokens["access_token"]) || b.cookie("KEYCLOAK_IDENTITY") == "" {
		t.Errorf("the session ended")
	}
}

func TestLogoutWithoutAHintAsksFirst(t *testing.T) {
	t.Parallel()
	s := start(t)
	b := newBrowser(t, s)
	tokens := s.redeem(b.login("app", "alice", "openid"))
	p := b.logout(url.Values{"client_id": {"app"}, "post_logout_redirect_uri": {callback}, "state": {"x"}})
	if p.status != http.StatusOK || !strings.Contains(p.body, `id="kc-logout"`) {
		t.Fatalf("status %d\n%s", p.status, p.body)
	}
	if !s.active(tokens["access_token"]) {
		t.Fatalf("ended without asking")
	}
	action, state := b.form(p)
	form := url.Values{"session_code": {state}, "confirmLogout": {"Logout"}}

	if p := newBrowser(t, s).do(http.MethodPost, action, form); p.status != http.StatusBadRequest {
		t.Errorf("form of another browser: status %d, want 400", p.status)
	}
	p = b.do(http.MethodPost, action, form)
	if p.status != http.StatusFound || p.location.String() != callback+"?state=x" {
		t.Errorf("status %d, Location %v", p.status, p.location)
	}
	if s.active(tokens["access_token"]) || b.cookie("KEYCLOAK_IDENTITY") != "" {
		t.Errorf("the session lives on")
	}
}

func TestSomebodyElsesHintDoesNotLogMeOut(t *testing.T) {
	t.Parallel()
	s := start(t)
	me, attacker := newBrowser(t, s), newBrowser(t, s)
	mine := s.redeem(me.login("app", "alice", "openid"))
	theirs := s.redeem(attacker.login("app", "alice", "openid"))
	if p := me.logout(url.Values{"id_token_hint": {theirs["id_token"].(string)}}); p.status != http.StatusOK {
		t.Errorf("status %d", p.status)
	}
	if !s.active(mine["access_token"]) || me.cookie("KEYCLOAK_IDENTITY") == "" {
		t.Errorf("I am logged out")
	}
	if s.active(theirs["access_token"]) {
		t.Errorf("the hint's session lives on")
	}
}

func TestLogoutByPostedForm(t *testing.T) {
	t.Parallel()
	s := start(t)
	b := newBrowser(t, s)
	tokens := s.redeem(b.login("app", "alice", "openid"))
	p := b.do(http.MethodPost, s.oidc("logout"), url.Values{"id_token_hint": {tokens["id_token"].(string)}, "post_logout_redirect_uri": {callback}})
	if p.status != http.StatusFound || p.location.String() != callback {
		t.Errorf("status %d, Location %v", p.status, p.location)
	}
	if s.active(tokens["access_token"]) {
		t.Errorf("the session lives on")
	}
}
