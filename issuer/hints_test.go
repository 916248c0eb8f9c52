package issuer_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/tegata/tegata/issuer"
)

func TestWhoItHasToBe(t *testing.T) { // OpenID Connect Core §3.1.2.1, id_token_hint
	t.Parallel()
	s := start(t)
	file := demoRealm()
	file.Users = append(file.Users, issuer.User{Username: "carol", Credentials: []issuer.Credential{{Type: "password", Value: "pw"}}})
	if err := s.iss.Import(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	alice, carol := newBrowser(t, s), newBrowser(t, s)
	tokens := s.redeem(alice.login("app", "alice", "openid"))
	carol.login("app", "carol", "openid")
	with := func(hint any, prompt string) url.Values {
		query := authorize("app", "openid")
		query.Set("id_token_hint", hint.(string))
		query.Set("prompt", prompt)
		return query
	}
	const bad = "invalid_request: Invalid parameter: id_token_hint"
	tests := []struct {
		name   string
		who    *browser
		hint   any
		prompt string
		want   string
	}{
		{"hers", alice, tokens["id_token"], "none", "code"},
		{"another's", carol, tokens["id_token"], "none", "login_required: "},
		{"another's, aloud", carol, tokens["id_token"], "", "login"},
		{"an access token", alice, tokens["access_token"], "none", bad},
		{"a refresh token", alice, tokens["refresh_token"], "none", bad},
		{"no token", alice, "x", "none", bad},
	}
	for _, tt := range tests {
		if got := outcome(s, tt.who.ask(with(tt.hint, tt.prompt)), "s"); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	b := newBrowser(t, s)
	if got := outcome(s, b.submit(b.ask(with(tokens["id_token"], "")), "carol", "pw"), "s"); got != "login_required: " || b.cookie("KEYCLOAK_IDENTITY") != "" {
		t.Errorf("another person logs in: %q", got)
	}
	if got := outcome(s, b.submit(b.ask(with(tokens["id_token"], "")), "alice", "pw"), "s"); got != "code" {
		t.Errorf("the same person logs in: %q", got)
	}
}

func TestHowSureItHasToBe(t *testing.T) { // OpenID Connect Core §5.5.1.1
	t.Parallel()
	s := start(t)
	b := newBrowser(t, s)
	b.login("app", "alice", "openid")
	tests := []struct{ claims, want string }{
		{`{"id_token":{"acr":{"essential":true,"values":["gold"]}}}`, "unmet_authentication_requirements: "},
		{`{"id_token":{"acr":{"essential":true,"value":"gold"}}}`, "unmet_authentication_requirements: "},
		{`{"id_token":{"acr":{"values":["gold"]}}}`, "code"},
		{`{"id_token":{"acr":{"essential":true}}}`, "code"},
		{`{"id_token":{"acr":{"essential":true,"values":["gold","0"]}}}`, "code"},
		{`{"id_token":{"acr":{"essential":true,"values":["gold","1"]}}}`, "login_required: "}, // a cookie is level 0
		{`{"id_token":{"acr":null}}`, "code"},
		{`{"userinfo":{"email":null}}`, "code"},
		{`{"id_token":{"acr":{"essential":"yes"}}}`, "invalid_request: Invalid parameter: claims"},
		{`{`, "invalid_request: Invalid parameter: claims"},
		{`[]`, "invalid_request: Invalid parameter: claims"},
	}
	for _, tt := range tests {
		query := authorize("app", "openid")
		query.Set("prompt", "none")
		query.Set("claims", tt.claims)
		if got := outcome(s, b.ask(query), "s"); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.claims, got, tt.want)
		}
	}
	query := authorize("app", "openid")
	query.Set("claims", `{"id_token":{"acr":{"essential":true,"value":"1"}}}`)
	p := b.submit(b.ask(query), "alice", "pw")
	tokens := s.redeem(p.location.Query().Get("code"))
	_, about := s.post("token/introspect", "rs", "rs-secret", url.Values{"token": {tokens["access_token"].(string)}})
	if about["acr"] != "1" {
		t.Errorf("acr %v", about["acr"])
	}
}

func TestPagesStayInTheLanguageThatWasAsked(t *testing.T) { // OpenID Connect Core §3.1.2.1, ui_locales
	t.Parallel()
	b := newBrowser(t, start(t))
	query := authorize("careful", "openid")
	query.Set("ui_locales", "ja")
	for i, p := 0, b.ask(query); i < 3; i++ {
		if p.header.Get("Content-Language") != "ja" {
			t.Errorf("page %d is in %q", i, p.header.Get("Content-Language"))
		}
		p = b.submit(p, "alice", []string{"wrong", "pw", ""}[i])
	}
}

func TestRememberMe(t *testing.T) { // Keycloak 26
	t.Parallel()
	s := start(t)
	login := func(b *browser, remember string) *http.Cookie {
		p := b.ask(authorize("app", "openid"))
		action, state := b.form(p)
		form := url.Values{"session_code": {state}, "username": {"alice"}, "password": {"pw"}}
		if remember != "" {
			form.Set("rememberMe", remember)
		}
		for _, c := range b.do(http.MethodPost, action, form).cookies {
			if c.Name == "KEYCLOAK_IDENTITY" {
				return c
			}
		}
		t.Fatal("no session cookie")
		return nil
	}
	if strings.Contains(newBrowser(t, s).ask(authorize("app", "openid")).body, "rememberMe") {
		t.Error("offered where the realm does not allow it")
	}
	if c := login(newBrowser(t, s), "on"); c.MaxAge != 0 {
		t.Errorf("remembered where the realm does not allow it: %d s", c.MaxAge)
	}
	file := demoRealm()
	file.RememberMe, file.SSOSessionMaxLifespanRememberMe = true, 1_000_000
	if err := s.iss.Import(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	b := newBrowser(t, s)
	p := b.ask(authorize("app", "openid"))
	action, state := b.form(p)
	if !strings.Contains(p.body, `id="rememberMe"`) || strings.Contains(p.body, "checked") {
		t.Errorf("not offered:\n%s", p.body)
	}
	wrong := b.do(http.MethodPost, action, url.Values{"session_code": {state}, "username": {"alice"}, "password": {"x"}, "rememberMe": {"on"}})
	if !strings.Contains(wrong.body, "checked") {
		t.Error("the wish is forgotten with the password")
	}
	if c := login(newBrowser(t, s), "on"); c.MaxAge < 999_000 || c.MaxAge > 1_000_000 {
		t.Errorf("the cookie lasts %d s", c.MaxAge)
	}
	if c := login(newBrowser(t, s), ""); c.MaxAge != 0 {
		t.Errorf("remembered without being asked: %d s", c.MaxAge)
	}
}
