package e2e

import (
	"encoding/json"
	"html"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/tegata/tegata/internal/stack"
)

// TestPersonLogsInRefreshesAndLogsOut drives a relying party made of others'
// libraries through the real page.
func TestPersonLogsInRefreshesAndLogsOut(t *testing.T) {
	s := theStack(t)
	p := login(t, s)
	wantOK(t, "after the login", ask(s, http.MethodGet, "/orders", p.tokens.AccessToken))
	wantRefused(t, "a scope that was not asked for", ask(s, http.MethodPost, "/orders", p.tokens.AccessToken), http.StatusForbidden, "insufficient_scope")

	old := *p.tokens
	old.Expiry = time.Now().Add(-time.Hour) // makes the library refresh
	refreshed, err := p.party.TokenSource(t.Context(), &old).Token()
	if err != nil {
		t.Fatalf("refreshing: %v", err)
	}
	if refreshed.RefreshToken == old.RefreshToken || refreshed.AccessToken == old.AccessToken {
		t.Error("a refresh gave an old token again")
	}
	wantOK(t, "after the refresh", ask(s, http.MethodGet, "/orders", refreshed.AccessToken))

	p.logout(t)
	for name, token := range map[string]string{"first": old.AccessToken, "refreshed": refreshed.AccessToken} {
		wantRefused(t, "the "+name+" token after the logout", ask(s, http.MethodGet, "/orders", token), http.StatusUnauthorized, "invalid_token")
	}
	refreshed.Expiry = old.Expiry
	if _, err := p.party.TokenSource(t.Context(), refreshed).Token(); err == nil || !strings.Contains(err.Error(), "invalid_grant") {
		t.Errorf("refreshing after the logout: got %v, want invalid_grant", err)
	}
}

// TestLogoutEndsOneSessionOnly: the same person elsewhere stays logged in.
func TestLogoutEndsOneSessionOnly(t *testing.T) {
	s := theStack(t)
	here, there := login(t, s), login(t, s)
	here.logout(t)
	wantRefused(t, "the session that ended", ask(s, http.MethodGet, "/orders", here.tokens.AccessToken), http.StatusUnauthorized, "invalid_token")
	wantOK(t, "the other session", ask(s, http.MethodGet, "/orders", there.tokens.AccessToken))
}

// person is somebody at a browser, logged in at a relying party.
type person struct {
	browser *http.Client
	party   *oauth2.Config
	tokens  *oauth2.Token
	idToken string
	end     string // end_session_endpoint
}

// login logs alice in by the authorization code flow with PKCE.
func login(t *testing.T, s *stack.Stack) person {
	t.Helper()
	provider, err := oidc.NewProvider(t.Context(), s.RealmURL)
	if err != nil {
		t.Fatal(err)
	}
	var more struct {
		End string `json:"end_session_endpoint"`
	}
	if err := provider.Claims(&more); err != nil {
		t.Fatal(err)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	p := person{
		browser: &http.Client{Jar: jar, Timeout: client.Timeout, CheckRedirect: client.CheckRedirect},
		party: &oauth2.Config{
			ClientID: stack.AppID, Endpoint: provider.Endpoint(), RedirectURL: stack.AppRedirect,
			Scopes: []string{oidc.ScopeOpenID, "orders:read"},
		},
		end: more.End,
	}
	const nonce, state = "the-nonce", "the-state"
	verifier := oauth2.GenerateVerifier()
	back := p.submit(t, p.party.AuthCodeURL(state, oidc.Nonce(nonce), oauth2.S256ChallengeOption(verifier)))
	if back.Get("state") != state || back.Get("code") == "" {
		t.Fatalf("came back with %v", back)
	}
	if p.tokens, err = p.party.Exchange(t.Context(), back.Get("code"), oauth2.VerifierOption(verifier)); err != nil {
		t.Fatalf("exchanging the code: %v", err)
	}
	p.idToken, _ = p.tokens.Extra("id_token").(string)
	id, err := provider.Verifier(&oidc.Config{ClientID: stack.AppID}).Verify(t.Context(), p.idToken)
	if err != nil {
		t.Fatalf("verifying the ID token: %v", err)
	}
	if id.Nonce != nonce {
		t.Errorf("nonce %q, want %q", id.Nonce, nonce)
	}
	return p
}

var (
	formAction  = regexp.MustCompile(`<form[^>]*\saction="([^"]*)"`)
	hiddenInput = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)"`)
)

// submit opens a page with a form, fills it in and returns the query of the
// redirect back to the relying party.
func (p person) submit(t *testing.T, page string) url.Values {
	t.Helper()
	form := read(p.browser.Get(page))
	action := formAction.FindSubmatch(form.body)
	if form.err != nil || form.status != http.StatusOK || action == nil {
		t.Fatalf("the login page: %v, with a form: %t", form, action != nil)
	}
	base, err := url.Parse(page)
	if err != nil {
		t.Fatal(err)
	}
	target, err := base.Parse(html.UnescapeString(string(action[1])))
	if err != nil {
		t.Fatal(err)
	}
	values := url.Values{"username": {stack.UserName}, "password": {stack.UserPassword}}
	for _, m := range hiddenInput.FindAllSubmatch(form.body, -1) {
		values.Set(html.UnescapeString(string(m[1])), html.UnescapeString(string(m[2])))
	}
	a := read(p.browser.PostForm(target.String(), values))
	to, err := url.Parse(a.header.Get("Location"))
	if a.err != nil || err != nil || !strings.HasPrefix(to.String(), stack.AppRedirect) {
		t.Fatalf("submitting the form: %v, to %q", a, a.header.Get("Location"))
	}
	return to.Query()
}

// logout ends the session (OpenID Connect RP-Initiated Logout 1.0 §2).
func (p person) logout(t *testing.T) {
	t.Helper()
	query := url.Values{"id_token_hint": {p.idToken}, "post_logout_redirect_uri": {stack.AppRedirect}, "state": {"bye"}}
	a := read(p.browser.Get(p.end + "?" + query.Encode()))
	if to := a.header.Get("Location"); a.err != nil || a.status/100 != 3 || !strings.HasPrefix(to, stack.AppRedirect) {
		t.Fatalf("logging out: %v, to %q", a, to)
	}
}

// echo is what the sample API received.
func echo(t *testing.T, a answer) stack.Echo {
	t.Helper()
	var e stack.Echo
	if err := json.Unmarshal(a.body, &e); err != nil {
		t.Fatalf("not from the sample API: %v: %s", err, a.body)
	}
	return e
}
