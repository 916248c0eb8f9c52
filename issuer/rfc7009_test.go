package issuer_test

import (
	"net/http"
	"net/url"
	"testing"
)

// TestRFC7009 is Token Revocation.
func TestRFC7009(t *testing.T) {
	prove(t, []rule{
		{"2", "refresh tokens can be revoked, and access tokens", told("revoke.txt", "access token, whatever the hint says", "refresh token")},
		{"2", "the endpoint is over TLS and its URL found safely", all(tlsRequired, announces("revocation_endpoint"))},
		{"2.1", "a confidential client authenticates first", told("revoke.txt", "no client")},
		{"2.1", "a public client says who it is", publicRevocation},
		{"2.1", "a token is revoked by its client alone", told("revoke.txt", "another client's access token", "another client's refresh token")},
		{"2.1", "a wrong hint is no reason not to find the token", wrongHints},
		{"2.1", "an unknown hint is ignored", atDoor("revoke", "app", url.Values{"token": {"x"}, "token_type_hint": {"bogus"}}, 200, "")},
		{"2.1", "with a refresh token go the access tokens of its grant", told("revoke.txt", "refresh token", "… takes its client's part of the session along")},
		{"2.1", "the token is dead at once", told("revoke.txt", "… is dead", "… at userinfo too")},
		{"2.1", "a token is required", told("revoke.txt", "no token")},
		{"2.2", "success is 200, and so is a token that is none", told("revoke.txt", "unknown token (RFC 7009 §2.2; not Keycloak's error object)", "again")},
		{"2.2", "what has expired is no error", by(TestRevokingWhatHasExpired)},
		{"2.2.1", "errors are those of the token endpoint", told("revoke.txt", "ID token (RFC 7009 §2.2.1)")},
		{"2.2.1", "an unavailable server says when to come back", by(TestDoorsSlowGuessingDown)},
		{"2.3", "a page of a client's origin may ask, others' may not", by(TestOriginsAtTheDoors)},
		{"5", "a refused client has revoked nothing", refusedRevocation},
	})
}

func publicRevocation(t *testing.T, s *server) {
	form := codeForm(newBrowser(t, s).login("spa", "alice", "openid"))
	form.Set("client_id", "spa")
	_, tokens := s.post("token", "", "", form)
	revoke := url.Values{"token": {tokens["refresh_token"].(string)}}
	if status, answer := s.post("revoke", "", "", revoke); status != http.StatusUnauthorized {
		t.Errorf("without client_id: %d %v", status, answer)
	}
	revoke.Set("client_id", "spa")
	if status, answer := s.post("revoke", "", "", revoke); status != http.StatusOK {
		t.Errorf("with client_id: %d %v", status, answer)
	}
	refresh := url.Values{"grant_type": {"refresh_token"}, "client_id": {"spa"}, "refresh_token": {tokens["refresh_token"].(string)}}
	if status, _ := s.post("token", "", "", refresh); status != http.StatusBadRequest {
		t.Errorf("refreshed afterwards: %d", status)
	}
}

func wrongHints(t *testing.T, s *server) {
	for name, hint := range map[string]string{"access_token": "refresh_token", "refresh_token": "access_token"} {
		tokens := s.tokens(t, "app", "openid")
		status, _ := s.post("revoke", "app", "app-secret", url.Values{"token": {tokens[name].(string)}, "token_type_hint": {hint}})
		if status != http.StatusOK || s.active(tokens["access_token"]) {
			t.Errorf("%s as %s: %d", name, hint, status)
		}
	}
}

func refusedRevocation(t *testing.T, s *server) {
	tokens := s.tokens(t, "app", "openid")
	if status, _ := s.post("revoke", "app", "wrong", url.Values{"token": {tokens["access_token"].(string)}}); status != http.StatusUnauthorized || !s.active(tokens["access_token"]) {
		t.Errorf("status %d, and the token is dead", status)
	}
}
