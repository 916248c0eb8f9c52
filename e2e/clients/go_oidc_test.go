package clients

import (
	"errors"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// person is the day of an app made of go-oidc and x/oauth2.
func person(t *testing.T, w world) {
	t.Helper()
	provider, err := oidc.NewProvider(t.Context(), w.Issuer)
	if err != nil {
		t.Fatal(err)
	}
	app := oauth2.Config{
		ClientID: w.App.ID, ClientSecret: w.App.Secret, Endpoint: provider.Endpoint(), RedirectURL: w.App.Redirect,
		Scopes: []string{oidc.ScopeOpenID, "email"},
	}
	verifier := oauth2.GenerateVerifier()
	back := login(t, w, app.AuthCodeURL("the-state", oidc.Nonce("the-nonce"), oauth2.S256ChallengeOption(verifier)))
	if back.Get("state") != "the-state" || back.Get("iss") != w.Issuer {
		t.Fatalf("came back with %v", back)
	}
	tokens, err := app.Exchange(t.Context(), back.Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatal(err)
	}
	compact, _ := tokens.Extra("id_token").(string)
	id, err := provider.Verifier(&oidc.Config{ClientID: w.App.ID}).Verify(t.Context(), compact)
	if err != nil || id.Nonce != "the-nonce" {
		t.Fatalf("the ID token: %+v, %v", id, err)
	}
	if err := id.VerifyAccessToken(tokens.AccessToken); err != nil {
		t.Errorf("at_hash: %v", err)
	}
	if info, err := provider.UserInfo(t.Context(), oauth2.StaticTokenSource(tokens)); err != nil || info.Subject != id.Subject || info.Email != w.Email {
		t.Errorf("userinfo %+v, %v", info, err)
	}
	stale := *tokens
	stale.Expiry = time.Now().Add(-time.Hour) // makes the library refresh
	refreshed, err := app.TokenSource(t.Context(), &stale).Token()
	if err != nil || refreshed.RefreshToken == tokens.RefreshToken {
		t.Errorf("the refresh token did not rotate: %v", err)
	}

	// A code used twice is a copied one: what it gave ends (RFC 6749 §4.1.2).
	_, err = app.Exchange(t.Context(), back.Get("code"), oauth2.VerifierOption(verifier))
	wantCode(t, "a used code", err, "invalid_grant")
	refreshed.Expiry = stale.Expiry
	_, err = app.TokenSource(t.Context(), refreshed).Token()
	wantCode(t, "a refresh token of a used code", err, "invalid_grant")
}

// program is the day of a program on its own account.
func program(t *testing.T, w world) {
	t.Helper()
	c := clientcredentials.Config{
		ClientID: w.Service.ID, ClientSecret: w.Service.Secret, TokenURL: w.Issuer + "/protocol/openid-connect/token",
		Scopes: []string{"orders:read"},
	}
	for _, c.AuthStyle = range []oauth2.AuthStyle{oauth2.AuthStyleInHeader, oauth2.AuthStyleInParams} {
		if token, err := c.Token(t.Context()); err != nil || token.RefreshToken != "" {
			t.Errorf("style %d: %v", c.AuthStyle, err)
		}
	}
	c.ClientSecret = "wrong"
	_, err := c.Token(t.Context())
	wantCode(t, "a wrong secret", err, "unauthorized_client")
}

func wantCode(t *testing.T, what string, err error, code string) {
	t.Helper()
	var refused *oauth2.RetrieveError
	if !errors.As(err, &refused) || refused.ErrorCode != code {
		t.Errorf("%s: got %v, want %s", what, err, code)
	}
}

var (
	formAction  = regexp.MustCompile(`<form[^>]*\saction="([^"]*)"`)
	hiddenInput = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)"`)
)

// login fills in the form of a page and returns what the app is sent.
func login(t *testing.T, w world, page string) url.Values {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{
		Jar: jar, Timeout: within,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	shown, err := browser.Get(page)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = shown.Body.Close() }()
	body, err := io.ReadAll(shown.Body)
	if err != nil {
		t.Fatal(err)
	}
	action := formAction.FindSubmatch(body)
	if action == nil {
		t.Fatalf("no form: %s", body)
	}
	target, err := shown.Request.URL.Parse(html.UnescapeString(string(action[1])))
	if err != nil {
		t.Fatal(err)
	}
	values := url.Values{"username": {w.User}, "password": {w.Password}}
	for _, m := range hiddenInput.FindAllSubmatch(body, -1) {
		values.Set(html.UnescapeString(string(m[1])), html.UnescapeString(string(m[2])))
	}
	sent, err := browser.PostForm(target.String(), values)
	if err != nil {
		t.Fatal(err)
	}
	_ = sent.Body.Close()
	back, err := sent.Location()
	if err != nil {
		t.Fatalf("not sent back: %s", sent.Status)
	}
	return back.Query()
}
