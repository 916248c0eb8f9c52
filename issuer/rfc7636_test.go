package issuer_test

import (
	"net/http"
	"net/url"
	"testing"
)

// TestRFC7636 is Proof Key for Code Exchange.
func TestRFC7636(t *testing.T) {
	const badVerifier = "a verifier too short (RFC 7636 §4.1)"
	prove(t, []rule{
		{"4.1", "a verifier has 43 to 128 characters", all(told("token.txt", "PKCE: "+badVerifier), tested("grant/pkce_test.go", "TestPKCE"))},
		{"4.2", "S256 is there", announcesS256},
		{"4.2", "the challenge of the specification's example is met", exampleChallenge},
		{"4.3", "a challenge without a method would be plain, which is refused", atAuth(url.Values{"code_challenge_method": {""}}, "invalid_request: Missing parameter: code_challenge_method")},
		{"4.4", "the challenge is kept with the code", told("token.txt", "PKCE: wrong verifier (RFC 7636 §4.6)")},
		{"4.4", "the challenge is not in what the client gets with the code", challengeStays},
		{"4.4.1", "a client that has to send one and does not gets invalid_request", atAuth(url.Values{
			"client_id": {"spa"}, "code_challenge": {""}, "code_challenge_method": {""},
		}, "invalid_request: Missing parameter: code_challenge_method")},
		{"4.4.1", "a method that is not supported is invalid_request", atAuth(url.Values{"code_challenge_method": {"S512"}}, "invalid_request: Invalid parameter: code_challenge_method")},
		{"4.6", "no verifier, or a wrong one, is invalid_grant", told("token.txt", "PKCE: wrong verifier (RFC 7636 §4.6)", "PKCE: no verifier (RFC 7636 §4.6)")},
		{"4.6", "a verifier where there was no challenge is refused", verifierAlone},
		{"4.6", "a failed verifier has spent the code", failedVerifier},
		{"7.2", "the method is not taken down to plain", atAuth(url.Values{"code_challenge_method": {"plain"}}, "invalid_request: Invalid parameter: code challenge method is not matching the configured one")},
	})
}

func announcesS256(t *testing.T, s *server) {
	methods, _ := s.metadata()["code_challenge_methods_supported"].([]any)
	if len(methods) != 1 || methods[0] != "S256" {
		t.Errorf("methods %v", methods)
	}
}

func exampleChallenge(t *testing.T, s *server) {
	if challenge() != "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM" { // appendix B
		t.Fatalf("challenge %s", challenge())
	}
	s.tokens(t, "app", "openid")
}

func challengeStays(t *testing.T, s *server) {
	b := newBrowser(t, s)
	p := b.submit(b.ask(authorize("app", "openid")), "alice", "pw")
	if p.location.Query().Has("code_challenge") {
		t.Errorf("Location %v", p.location)
	}
}

// verifierAlone: a code that was got without PKCE is not good with it, so that
// an attacker who removed the challenge is found out (RFC 9700 §4.8.2).
func verifierAlone(t *testing.T, s *server) {
	query := authorize("app", "openid")
	query.Del("code_challenge")
	query.Del("code_challenge_method")
	b := newBrowser(t, s)
	code := b.submit(b.ask(query), "alice", "pw").location.Query().Get("code")
	status, _, answer := s.call("token", codeForm(code), basic("app"))
	if status != http.StatusBadRequest || answer["error"] != "invalid_grant" {
		t.Errorf("%d %v", status, answer)
	}
}

func failedVerifier(t *testing.T, s *server) {
	form := codeForm(newBrowser(t, s).login("app", "alice", "openid"))
	form.Set("code_verifier", verifier[1:]+"x")
	if status, _, _ := s.call("token", form, basic("app")); status != http.StatusBadRequest {
		t.Fatalf("wrong: %d", status)
	}
	form.Set("code_verifier", verifier)
	if status, _, answer := s.call("token", form, basic("app")); status != http.StatusBadRequest || answer["error"] != "invalid_grant" {
		t.Errorf("right, afterwards: %d %v", status, answer)
	}
}
