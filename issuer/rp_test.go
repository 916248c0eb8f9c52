package issuer_test

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// Others' clients against ours: what they accept is what the world accepts.
func TestRelyingPartyOfOthers(t *testing.T) {
	t.Parallel()
	s := start(t)
	provider, err := oidc.NewProvider(t.Context(), s.base+"/realms/demo")
	if err != nil {
		t.Fatal(err)
	}
	rp := oauth2.Config{ClientID: "app", ClientSecret: "app-secret", Endpoint: provider.Endpoint(), RedirectURL: callback, Scopes: []string{"openid"}}
	b := newBrowser(t, s)
	pkce := oauth2.GenerateVerifier()
	p := b.do(http.MethodGet, rp.AuthCodeURL("s", oidc.Nonce("the-nonce"), oauth2.S256ChallengeOption(pkce)), nil)
	p = b.submit(p, "alice", "pw")
	if p.location == nil {
		t.Fatalf("no redirect: %d\n%s", p.status, p.body)
	}
	tokens, err := rp.Exchange(t.Context(), p.location.Query().Get("code"), oauth2.VerifierOption(pkce))
	if err != nil {
		t.Fatal(err)
	}
	idToken, err := provider.Verifier(&oidc.Config{ClientID: "app"}).Verify(t.Context(), tokens.Extra("id_token").(string))
	if err != nil {
		t.Fatal(err)
	}
	if idToken.Nonce != "the-nonce" {
		t.Errorf("nonce %q", idToken.Nonce)
	}
	if err := idToken.VerifyAccessToken(tokens.AccessToken); err != nil {
		t.Errorf("at_hash: %v", err)
	}
	var claims struct {
		Username string `json:"preferred_username"`
		Email    string `json:"email"`
		ACR      string `json:"acr"`
	}
	if err := idToken.Claims(&claims); err != nil || claims.Username != "alice" || claims.Email != "alice@example.com" || claims.ACR != "1" {
		t.Errorf("claims %+v, %v", claims, err)
	}
	info, err := provider.UserInfo(t.Context(), oauth2.StaticTokenSource(tokens))
	if err != nil || info.Subject != idToken.Subject || info.Email != "alice@example.com" {
		t.Errorf("userinfo %+v, %v", info, err)
	}
	tokens.Expiry = tokens.Expiry.AddDate(-1, 0, 0)
	refreshed, err := rp.TokenSource(t.Context(), tokens).Token()
	if err != nil || refreshed.AccessToken == tokens.AccessToken || refreshed.RefreshToken == tokens.RefreshToken {
		t.Errorf("refresh: %v", err)
	}
}

func TestClientCredentialsOfOthers(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, style := range []oauth2.AuthStyle{oauth2.AuthStyleInHeader, oauth2.AuthStyleInParams} {
		c := clientcredentials.Config{
			ClientID: "svc", ClientSecret: "svc-secret", TokenURL: s.oidc("token"),
			Scopes: []string{"orders:write"}, AuthStyle: style,
		}
		token, err := c.Token(t.Context())
		if err != nil || !s.active(token.AccessToken) {
			t.Errorf("style %d: %v", style, err)
		}
	}
	c := clientcredentials.Config{ClientID: "svc", ClientSecret: "svc-secret", TokenURL: s.oidc("token"), EndpointParams: url.Values{"scope": {"nope"}}}
	if _, err := c.Token(t.Context()); err == nil {
		t.Errorf("an unknown scope was granted")
	}
}
