package issuer_test

import (
	"net/http"
	"net/url"
	"testing"
)

// TestRFC7662 is Token Introspection.
func TestRFC7662(t *testing.T) {
	prove(t, []rule{
		{"2", "the endpoint is over TLS", tlsRequired},
		{"2.1", "it is asked by POST with a form", told("introspect.txt", "GET")},
		{"2.1", "a token is required", told("introspect.txt", "no token")},
		{"2.1", "a token that the hint does not fit is looked for further, but for refresh tokens, as in Keycloak", told("introspect.txt", "an access token called refresh token", "a refresh token without the hint")},
		{"2.1", "who asks authenticates, so that tokens cannot be tried out", told("introspect.txt", "no client", "a public client")},
		{"2.2", "the answer is JSON with active, a boolean", activeIsABoolean},
		{"2.2", "active means issued here, not revoked and within its time", told("introspect.txt", "after five minutes: expired", "garbage (RFC 7662 §2.2)")},
		{"2.2", "what was revoked is not active", told("revoke.txt", "… is dead")},
		{"2.2", "of an inactive token nothing else is said", told("introspect.txt", "garbage (RFC 7662 §2.2)")},
		{"2.2", "who is not to know of a token hears that it is not active", told("introspect.txt", "by the client it was issued to, which is not in aud (Keycloak since 26.6.2)", "a refresh token by another")},
		{"2.2", "members are what the token says", membersAreTheTokens},
		{"2.3", "a caller that fails to authenticate gets 401, as at the token endpoint", told("introspect.txt", "no client")},
		{"2.3", "an inactive token is no error", atDoor("token/introspect", "rs", url.Values{"token": {"x"}}, 200, "")},
		{"4", "a token of another realm is not active", otherRealms},
		{"4", "a changed token is not active", changedTokens},
		{"4", "a session's end is seen at once", endIsSeen},
		{"5", "answers are not kept", activeIsABoolean},
	})
}

func activeIsABoolean(t *testing.T, s *server) {
	for name, token := range map[string]string{"good": s.clientToken(""), "bad": "x"} {
		status, header, answer := s.call("token/introspect", url.Values{"token": {token}}, basic("rs"))
		if active, ok := answer["active"].(bool); status != http.StatusOK || !ok || active != (name == "good") ||
			header.Get("Content-Type") != "application/json" || header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %v %v", name, status, header, answer)
		}
	}
}

func membersAreTheTokens(t *testing.T, s *server) {
	access := s.tokens(t, "app", "openid")["access_token"]
	claims, answer := claimsOf(t, access), s.about(access, nil)
	for _, name := range []string{"scope", "client_id", "exp", "iat", "sub", "aud", "iss", "jti", "sid"} {
		if answer[name] == nil || answer[name] != claims[name] {
			t.Errorf("%s is %v, the token has %v", name, answer[name], claims[name])
		}
	}
	if answer["token_type"] != "Bearer" || answer["username"] != "alice" {
		t.Errorf("%v", answer)
	}
}

// otherRealms: the clients of one realm learn nothing of another's tokens.
func otherRealms(t *testing.T, s *server) {
	file := demoRealm()
	file.Realm = "other-7662"
	if err := s.iss.Import(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	access := s.clientToken("")
	if !s.active(access) {
		t.Fatal("not active at home")
	}
	status, _, answer := s.call("../../../"+file.Realm+"/protocol/openid-connect/token/introspect", url.Values{"token": {access}}, basic("rs"))
	if status != http.StatusOK || answer["active"] != false || len(answer) != 1 {
		t.Errorf("%d %v", status, answer)
	}
}

func endIsSeen(t *testing.T, s *server) {
	tokens := s.tokens(t, "app", "openid")
	if status, _ := s.post("logout", "app", "app-secret", url.Values{"refresh_token": {tokens["refresh_token"].(string)}}); status != http.StatusNoContent {
		t.Fatalf("logout: %d", status)
	}
	if answer := s.about(tokens["access_token"], nil); answer["active"] != false || len(answer) != 1 {
		t.Errorf("%v", answer)
	}
}
