package issuer_test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

// TestRFC6749 is The OAuth 2.0 Authorization Framework. What it demands of the
// implicit grant (§4.2) falls to §3.1.1: there is none.
func TestRFC6749(t *testing.T) {
	prove(t, []rule{
		{"2.3", "more than one method of client authentication in a request is refused", atDoor("token", "svc",
			url.Values{"grant_type": {"client_credentials"}, "client_id": {"svc"}, "client_secret": {"svc-secret"}}, 400, "invalid_request")},
		{"2.3.1", "HTTP Basic is supported for clients with a secret", told("token.txt", "client credentials, Basic")},
		{"2.3.1", "Basic credentials are form-encoded first", encodedCredentials},
		{"2.3.1", "credentials in the request URI do not count", atDoor("token?client_id=svc&client_secret=svc-secret", "",
			url.Values{"grant_type": {"client_credentials"}}, 401, "invalid_client")},
		{"2.3.1", "secrets cannot be guessed as fast as one asks", by(TestDoorsSlowGuessingDown)},
		{"2.3.1", "TLS is required where passwords are sent", tlsRequired},

		{"3.1", "nobody is given a code without having logged in", atAuth(nil, "login")},
		{"3.1", "GET is supported, POST may be", getAndPost},
		{"3.1", "the endpoint's URI has no fragment", endpointsHaveNoFragment},
		{"3.1", "a parameter without a value is as if it were not there", emptyParameters},
		{"3.1", "unknown parameters are ignored", atAuth(url.Values{"frob": {"nicate"}}, "login")},
		{"3.1", "a repeated parameter is refused", atAuth(url.Values{"scope": {"openid", "openid"}}, "invalid_request: duplicated parameter")},
		{"3.1.1", "a missing response_type is an error", atAuth(url.Values{"response_type": {""}}, "invalid_request: Missing parameter: response_type")},
		{"3.1.1", "an unknown response_type is an error", all(
			atAuth(url.Values{"response_type": {"bogus"}}, "unsupported_response_type: "),
			atAuth(url.Values{"response_type": {"token"}}, "unsupported_response_type: "))},
		{"3.1.2", "a redirect URI is absolute and has no fragment", registered("/cb", "app.example/cb", "https://app.example/cb#f")},
		{"3.1.2", "its query is kept", by(TestResponseModes)},
		{"3.1.2.2", "a client without a redirect URI gets no code", atAuth(url.Values{"client_id": {"rs"}}, "page:Invalid parameter: redirect_uri")},
		{"3.1.2.3", "it is in the request where several are registered", atAuth(url.Values{"redirect_uri": {""}}, "page:Invalid parameter: redirect_uri")},
		{"3.1.2.3", "it is compared with those that are registered, as text", by(TestNoOpenRedirect)},
		{"3.1.2.4", "nobody is sent to one that is not registered", atAuth(url.Values{"redirect_uri": {"http://evil.example/cb"}}, "page:Invalid parameter: redirect_uri")},

		{"3.2", "tokens are asked for by POST", told("token.txt", "GET (Keycloak 26)")},
		{"3.2", "the endpoint's URI has no fragment", endpointsHaveNoFragment},
		{"3.2", "a parameter without a value is as if it were not there", atDoor("token", "svc",
			url.Values{"grant_type": {"client_credentials"}, "scope": {""}, "client_id": {""}, "client_secret": {""}, "client_assertion": {""}}, 200, "")},
		{"3.2", "unknown parameters are ignored", atDoor("token", "svc", url.Values{"grant_type": {"client_credentials"}, "frob": {"nicate"}}, 200, "")},
		{"3.2", "a repeated parameter is refused", told("token.txt", "repeated parameter (RFC 6749 §3.2)")},
		{"3.2.1", "a confidential client authenticates", atDoor("token", "", url.Values{"grant_type": {"client_credentials"}, "client_id": {"svc"}}, 401, "unauthorized_client")},
		{"3.3", "without scope there is a default, and the answer says what was granted", told("token.txt", "client credentials, Basic")},
		{"3.3", "the answer says what was granted where that is not what was asked", grantsSaySo},

		{"4.1.1", "client_id is required", atAuth(url.Values{"client_id": {""}}, "page:Invalid Request")},
		{"4.1.2", "a code ends soon", told("token.txt", "code: too old (RFC 6749 §4.1.2; 60 s)")},
		{"4.1.2", "a code is good once, and a second use ends what the first gave", told("token.txt", "code: used twice (RFC 6749 §4.1.2)", "… and ends what the first use minted")},
		{"4.1.2", "a code is its client's and its redirect URI's", told("token.txt", "code of another client (RFC 6749 §4.1.3)", "code with another redirect_uri, though registered (RFC 6749 §4.1.3)")},
		{"4.1.2", "state comes back exactly as it was", stateComesBack},
		{"4.1.2", "a state that could not come back so is refused", all(
			atAuth(url.Values{"state": {"a\xff"}}, "page:Invalid Request"), atAuth(url.Values{"state": {"a\x00"}}, "page:Invalid Request"))},
		{"4.1.2.1", "with a bad client or redirect URI the person is told and sent nowhere", by(TestAuthorizationErrors)},
		{"4.1.2.1", "state comes back with an error", atAuth(url.Values{"scope": {"bogus"}, "state": {"a b+c%"}}, "invalid_scope: Invalid scopes: bogus")},
		{"4.1.2.1", "error and error_description keep to their characters", errorsKeepToTheirCharacters},
		{"4.1.3", "a confidential client authenticates for its code", confidentialCode},
		{"4.1.3", "a public client says who it is", all(publicCodeNeedsItsClient)},
		{"4.1.3", "redirect_uri is there and the same", told("token.txt", "code without redirect_uri (RFC 6749 §4.1.3)")},
		{"4.1.4", "a good code gives tokens", told("token.txt", "code: right (RFC 6749 §4.1.4, OpenID Connect Core §3.1.3.3)")},
		{"4.3.2", "a password grant authenticates its client", atDoor("token", "", url.Values{"grant_type": {"password"}, "client_id": {"direct"}, "username": {"alice"}, "password": {"pw"}}, 401, "unauthorized_client")},
		{"4.3.2", "and the person", told("password.txt", "wrong password")},
		{"4.3.2", "passwords cannot be guessed as fast as one asks", by(TestGuessingAtTheTokenEndpoint)},
		{"4.4", "client credentials are for confidential clients", told("token.txt", "client credentials, public client (RFC 6749 §4.4; status of Keycloak 26)")},
		{"4.4.2", "client credentials authenticate", told("token.txt", "no client (RFC 6749 §5.2)", "wrong secret (Keycloak 26)")},
		{"4.5", "a grant type that nobody knows is refused", told("token.txt", "unknown grant type (RFC 6749 §5.2)")},

		{"5.1", "tokens are JSON that nobody keeps, with a type", tokensAreNotKept},
		{"5.2", "an error is JSON, 400, and nobody keeps it", errorsAreJSON},
		{"5.2", "who authenticated by a header is told the scheme with its 401", challenged},
		{"5.2", "error and error_description keep to their characters", errorsKeepToTheirCharacters},

		{"6", "a confidential client authenticates for a refresh", refreshNeedsItsClient},
		{"6", "a refresh token is its client's", told("token.txt", "refresh: of another client (RFC 6749 §6)")},
		{"6", "a refresh gives no more than was granted", refreshGivesNoMore},
		{"6", "without scope it gives what was granted", refreshGivesTheSame},
		{"6", "a narrower refresh leaves the refresh token as wide as it was", narrowRefresh},

		{"7.1", "token_type says how a token is used", tokensAreNotKept},
		{"10.3", "tokens are not in the address of a page", noTokenInAnAddress},
		{"10.4", "a refresh token of a client that is gone or disabled is dead", by(TestWhatTheFileDisablesIsDead)},
		{"10.6", "the redirect URI is registered, and the code's is that of the request", by(TestNoOpenRedirect)},
		{"10.10", "codes and tokens cannot be guessed", cannotBeGuessed},
		{"10.12", "nobody is logged in by another site's form", by(TestLoginFormIsBoundToItsBrowser, TestLoginFromAnotherSiteIsRefused)},
		{"10.13", "a page cannot be framed", by(TestLoginPageIsKeycloaksAndLockedDown)},
		{"10.14", "what came in is not markup going out", by(TestResponseModes, TestRefusedPeopleSeeOnePage)},
		{"10.15", "there is no open redirect", by(TestNoOpenRedirect)},
	}, service("odd:id%", nil))
}

func encodedCredentials(t *testing.T, s *server) {
	const id = "odd:id%"
	plain := url.QueryEscape(id) + ":" + url.QueryEscape(id+"-secret")
	status, _, answer := s.call("token", url.Values{"grant_type": {"client_credentials"}},
		http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(plain))}})
	if status != http.StatusOK {
		t.Errorf("%d %v", status, answer)
	}
}

func getAndPost(t *testing.T, s *server) {
	b := newBrowser(t, s)
	if got := outcome(s, b.ask(authorize("app", "openid")), "s"); got != "login" {
		t.Errorf("GET: %q", got)
	}
	p := b.do(http.MethodPost, s.oidc("auth"), authorize("app", "openid"))
	if got := outcome(s, b.submit(p, "alice", "pw"), "s"); got != "code" {
		t.Errorf("POST: %q", got)
	}
}

func endpointsHaveNoFragment(t *testing.T, s *server) {
	for name, v := range s.metadata() {
		if text, ok := v.(string); ok && strings.Contains(text, "#") {
			t.Errorf("%s is %s", name, text)
		}
	}
}

func emptyParameters(t *testing.T, s *server) {
	query := authorize("app", "openid")
	for _, name := range []string{"response_mode", "max_age", "prompt", "claims", "request", "request_uri", "dpop_jkt", "id_token_hint", "resource", "authorization_details", "acr_values", "nonce"} {
		query.Set(name, "")
	}
	for method, p := range map[string]page{
		"GET": newBrowser(t, s).ask(query), "POST": newBrowser(t, s).do(http.MethodPost, s.oidc("auth"), query),
	} {
		if got := outcome(s, p, "s"); got != "login" {
			t.Errorf("%s: %q", method, got)
		}
	}
}

// registered refuses redirect URIs when a realm file is imported.
func registered(uris ...string) proof {
	return func(t *testing.T, s *server) {
		for _, uri := range uris {
			file := demoRealm()
			file.Realm = "registering"
			file.Clients[0].RedirectURIs = []string{uri}
			if err := s.iss.Import(t.Context(), file); err == nil {
				t.Errorf("%s was taken", uri)
			}
		}
	}
}

func grantsSaySo(t *testing.T, s *server) {
	_, answer := s.post("token", "svc", "svc-secret", url.Values{"grant_type": {"client_credentials"}, "scope": {"orders:write"}})
	if answer["scope"] != "orders:read orders:write" {
		t.Errorf("scope %v", answer["scope"])
	}
}

func stateComesBack(t *testing.T, s *server) {
	for _, state := range []string{"s", "a b+c%2F&=ü\"<>", strings.Repeat("x", 2048)} {
		query := authorize("app", "openid")
		query.Set("state", state)
		b := newBrowser(t, s)
		if got := outcome(s, b.submit(b.ask(query), "alice", "pw"), state); got != "code" {
			t.Errorf("state %.20q: %q", state, got)
		}
	}
}

// errorCharacters are what RFC 6749 lets error_description have: no quotation
// mark and no backslash, so that it can be quoted as it is.
var errorCharacters = regexp.MustCompile(`^[\x20-\x21\x23-\x5B\x5D-\x7E]*$`)

func errorsKeepToTheirCharacters(t *testing.T, s *server) {
	const odd = `a"b\cü` + "\t"
	_, answer := s.post("token", "svc", "svc-secret", url.Values{"grant_type": {"client_credentials"}, "scope": {odd}})
	if text := answer["error_description"].(string); answer["error"] != "invalid_scope" || !errorCharacters.MatchString(text) {
		t.Errorf("token endpoint: %v", answer)
	}
	query := authorize("app", odd)
	p := newBrowser(t, s).ask(query)
	if p.location == nil || !errorCharacters.MatchString(p.location.Query().Get("error_description")) {
		t.Errorf("authorization endpoint: %v", p.location)
	}
}

func confidentialCode(t *testing.T, s *server) {
	form := codeForm(newBrowser(t, s).login("app", "alice", "openid"))
	form.Set("client_id", "app")
	if status, answer := s.post("token", "", "", form); status != http.StatusUnauthorized {
		t.Errorf("%d %v", status, answer)
	}
}

func publicCodeNeedsItsClient(t *testing.T, s *server) {
	form := codeForm(newBrowser(t, s).login("spa", "alice", "openid"))
	if status, answer := s.post("token", "", "", form); status != http.StatusUnauthorized || answer["error"] != "invalid_client" {
		t.Errorf("without client_id: %d %v", status, answer)
	}
	form.Set("client_id", "spa")
	if status, answer := s.post("token", "", "", form); status != http.StatusOK {
		t.Errorf("with client_id: %d %v", status, answer)
	}
}

func tokensAreNotKept(t *testing.T, s *server) {
	status, header, answer := s.call("token", url.Values{"grant_type": {"client_credentials"}}, basic("svc"))
	if status != http.StatusOK || header.Get("Content-Type") != "application/json" || header.Get("Cache-Control") != "no-store" ||
		header.Get("Pragma") != "no-cache" || answer["token_type"] != "Bearer" || answer["access_token"] == "" || answer["expires_in"] != 300.0 {
		t.Errorf("%d %v %v", status, header, answer)
	}
}

func errorsAreJSON(t *testing.T, s *server) {
	for _, form := range []url.Values{{"grant_type": {"bogus"}}, {"grant_type": {"client_credentials"}, "scope": {"bogus"}}, {}} {
		status, header, answer := s.call("token", form, basic("svc"))
		if status != http.StatusBadRequest || header.Get("Content-Type") != "application/json" || header.Get("Cache-Control") != "no-store" || answer["error"] == nil {
			t.Errorf("%v: %d %v %v", form, status, header, answer)
		}
	}
}

func challenged(t *testing.T, s *server) {
	for _, path := range []string{"token", "token/introspect", "revoke", "ext/par/request"} {
		form := url.Values{"grant_type": {"client_credentials"}, "token": {"x"}}
		header := http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte("gw:wrong"))}}
		status, got, _ := s.call(path, form, header)
		if status != http.StatusUnauthorized || got.Get("WWW-Authenticate") != `Basic realm="demo"` {
			t.Errorf("%s: %d, %q", path, status, got.Get("WWW-Authenticate"))
		}
		form.Set("client_id", "gw")
		form.Set("client_secret", "wrong")
		if _, got, _ := s.call(path, form, nil); got.Get("WWW-Authenticate") != "" {
			t.Errorf("%s, by the body: %q", path, got.Get("WWW-Authenticate"))
		}
	}
}

func refreshNeedsItsClient(t *testing.T, s *server) {
	tokens := s.tokens(t, "app", "openid")
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {tokens["refresh_token"].(string)}, "client_id": {"app"}}
	if status, answer := s.post("token", "", "", form); status != http.StatusUnauthorized {
		t.Errorf("%d %v", status, answer)
	}
}

func refreshGivesNoMore(t *testing.T, s *server) {
	tokens := s.tokens(t, "app", "openid orders:read")
	_, answer := s.refreshed("app", tokens, url.Values{"scope": {"openid orders:write"}})
	if answer["scope"] != tokens["scope"] || claimsOf(t, answer["access_token"])["scope"] != tokens["scope"] {
		t.Errorf("scope %v, want %v as before (Keycloak 26)", answer["scope"], tokens["scope"])
	}
	if status, answer := s.refreshed("app", answer, url.Values{"scope": {"bogus"}}); status != http.StatusBadRequest || answer["error"] != "invalid_scope" {
		t.Errorf("unknown: %d %v", status, answer["error"])
	}
}

func refreshGivesTheSame(t *testing.T, s *server) {
	tokens := s.tokens(t, "app", "openid orders:read")
	if status, answer := s.refreshed("app", tokens, nil); status != http.StatusOK || answer["scope"] != tokens["scope"] {
		t.Errorf("%d %v, want scope %v", status, answer, tokens["scope"])
	}
}

func narrowRefresh(t *testing.T, s *server) {
	tokens := s.tokens(t, "app", "openid orders:read orders:write")
	_, narrow := s.refreshed("app", tokens, url.Values{"scope": {"openid orders:read"}})
	if status, wide := s.refreshed("app", narrow, nil); status != http.StatusOK || wide["scope"] != tokens["scope"] {
		t.Errorf("afterwards: %d %v, want scope %v", status, wide["scope"], tokens["scope"])
	}
}

func noTokenInAnAddress(t *testing.T, s *server) {
	b := newBrowser(t, s)
	p := b.submit(b.ask(authorize("app", "openid")), "alice", "pw")
	for _, name := range []string{"access_token", "id_token", "refresh_token", "token"} {
		if p.location.Query().Has(name) {
			t.Errorf("%s is in %v", name, p.location)
		}
	}
}

// cannotBeGuessed: 128 bits or more, and never the same twice. That they are
// random is for the packages that make them.
func cannotBeGuessed(t *testing.T, s *server) {
	b := newBrowser(t, s)
	first, second := b.login("app", "alice", "openid"), b.login("app", "alice", "openid")
	if first == second || len(first) < 22 { // base64url of 16 bytes
		t.Errorf("codes %s and %s", first, second)
	}
	tokens := s.redeem(second)
	for _, name := range []string{"access_token", "refresh_token"} {
		if id := claimsOf(t, tokens[name])["jti"].(string); len(id) < 22 {
			t.Errorf("jti of the %s: %s", name, id)
		}
	}
}
