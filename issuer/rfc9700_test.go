package issuer_test

import (
	"net/http"
	"net/url"
	"slices"
	"testing"
)

// TestRFC9700 is Best Current Practice for OAuth 2.0 Security.
func TestRFC9700(t *testing.T) {
	prove(t, []rule{
		{"2.1", "redirect URIs are compared exactly, but for ports of loopback", by(TestNoOpenRedirect, TestNativeAppsMayUseAnyLoopbackPort)},
		{"2.1", "there is no open redirect", by(TestNoOpenRedirect)},
		{"2.1", "mix-up is told by iss", by(TestCodeFlowAnswersInKeycloaksOrder)},
		{"2.1.1", "public clients use PKCE", atAuth(url.Values{"client_id": {"spa"}, "code_challenge": {""}, "code_challenge_method": {""}}, "invalid_request: Missing parameter: code_challenge_method")},
		{"2.1.1", "PKCE is there for all, and discovery says so", announcesS256},
		{"2.1.1", "a verifier without a challenge is refused", verifierAlone},
		{"2.1.2", "no tokens come from the authorization endpoint", atAuth(url.Values{"response_type": {"token"}}, "unsupported_response_type: ")},
		{"2.2.2", "refresh tokens of public clients are rotated or bound", by(TestRefreshTokensOfPublicClientsAreBound)},
		{"2.3", "an access token is for certain resource servers", tokensHaveAudiences},
		{"2.4", "the password grant is off", told("password.txt", "not allowed, which is the default (RFC 9700 §2.4)")},
		{"2.5", "clients can authenticate by what is no shared secret", by(TestPrivateKeyJWT, TestMutualTLS)},
		{"2.6", "codes are not sent in the clear: http is for loopback alone", registered("http://app.example/cb", "http://10.0.0.1/cb", "http://127.0.0.1.example/cb", "http://localhost.example/cb")},
		{"2.6", "connections are encrypted", tlsRequired},
		{"2.6", "the key set and the endpoints are announced", announces("jwks_uri", "token_endpoint", "authorization_endpoint")},
		{"2.6", "no origin may read the authorization endpoint", noCORSAtAuthorization},
		{"4.1.3", "redirect URIs have no wildcards", registered("https://app.example/*", "https://*.example/cb")},
		{"4.2.4", "a page that has a code or state tells nobody where it was", by(TestLoginPageIsKeycloaksAndLockedDown)},
		{"4.2.4", "a code is good once, and a second use ends what the first gave", told("token.txt", "code: used twice (RFC 6749 §4.1.2)", "… and ends what the first use minted")},
		{"4.3.2", "no token is in a query", told("introspect.txt", "userinfo, query is no place for a token (RFC 9700 §4.3.2)")},
		{"4.5.3", "a code is bound to its client and its challenge", told("token.txt", "code of another client (RFC 6749 §4.1.3)", "PKCE: wrong verifier (RFC 7636 §4.6)")},
		{"4.7.1", "state comes back unharmed", stateComesBack},
		{"4.8.2", "PKCE cannot be taken out of a request unseen", verifierAlone},
		{"4.10.2", "an access token is good for its audience alone", told("introspect.txt", "by the client it was issued to, which is not in aud (Keycloak since 26.6.2)")},
		{"4.11.2", "who is not to be redirected is told on a page", by(TestAuthorizationErrors)},
		{"4.12", "a form with a password is not sent on: no 307", passwordsAreNotSentOn},
		{"4.13", "what a client writes in a proxy's header does not count", tested("limits_internal_test.go", "TestTheCallerIsWhomTrustedProxiesSaw", "TestAProxysCertificateIsNobodyElses")},
		{"4.14.2", "a refresh token is bound to its scope and its resources", refreshGivesNoMore},
		{"4.14.2", "a refresh token that comes back ends its family", told("token.txt", "refresh: the old one after the grace is a reuse (RFC 9700 §4.14.2)", "… and ends the family's client session")},
		{"4.15", "a client cannot be taken for a person", clientsAreNobody},
		{"4.16", "no page can be framed", by(TestLoginPageIsKeycloaksAndLockedDown)},
	})
}

func noCORSAtAuthorization(t *testing.T, s *server) {
	w := s.from("http://127.0.0.1:9999", http.MethodGet, "auth?"+authorize("app", "openid").Encode(), nil, http.Header{})
	if got := w.Header().Get("Access-Control-Allow-Origin"); got != "" {
		t.Errorf("allowed %q", got)
	}
	if w := s.from("http://127.0.0.1:9999", http.MethodOptions, "auth", nil, http.Header{}); w.Header().Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("preflight: allowed %q", w.Header().Get("Access-Control-Allow-Origin"))
	}
}

func passwordsAreNotSentOn(t *testing.T, s *server) {
	b := newBrowser(t, s)
	p := b.submit(b.ask(authorize("app", "openid")), "alice", "pw")
	if !slices.Contains([]int{http.StatusFound, http.StatusSeeOther}, p.status) {
		t.Errorf("status %d", p.status)
	}
}
