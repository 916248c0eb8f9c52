package issuer_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/tegata/tegata/issuer"
)

// TestRFC9449 is Demonstrating Proof of Possession.
func TestRFC9449(t *testing.T) {
	prove(t, []rule{
		{"4.2", "a proof's htu is compared without query and fragment, normalised", by(TestProofsAtTheTokenEndpoint)},
		{"4.3", "each of the twelve checks", by(TestProofsAtTheTokenEndpoint, TestUserinfoOfBoundTokens)},
		{"4.3", "proofs with a private key, none or a MAC are refused", tested("../internal/jose/embedded_test.go", "TestVerifyEmbeddedRefuses")},
		{"5", "a token is bound to the proof's key, and its type is DPoP", by(TestProofsAtTheTokenEndpoint)},
		{"5", "the refresh token of a public client is bound too", by(TestRefreshTokensOfPublicClientsAreBound)},
		{"5.1", "discovery says the algorithms", by(TestDiscoveryOfProofs)},
		{"5.2", "a client that wants bound tokens gets no others", by(TestProofsAtTheTokenEndpoint)},
		{"6", "a resource server can find the key: cnf.jkt in the token and in introspection", by(TestProofsAtTheTokenEndpoint)},
		{"7.1", "a bound token is good with its proof alone", by(TestUserinfoOfBoundTokens)},
		{"7.1", "a proof has the token's hash", by(TestUserinfoOfBoundTokens)},
		{"7.2", "a bound token is no bearer token", by(TestUserinfoOfBoundTokens)},
		{"8", "a nonce is asked for by use_dpop_nonce and given by DPoP-Nonce", by(TestNonces)},
		{"8.2", "a new one comes with an answer", by(TestNonces)},
		{"9", "a resource server asks in the same way", nonceAtUserinfo},
		{"10", "a code asked for with dpop_jkt is good with that key alone", codeIsBound},
		{"10.1", "a proof that comes with a pushed request is as good as dpop_jkt", pushedProof},
		{"10.1", "the two must not differ", pushedProofDiffers},
		{"11.1", "a proof is good once, and not for long", by(TestProofsAtTheTokenEndpoint)},
	}, issuer.Client{
		ClientID: "nonced", Secret: "nonced-secret", RedirectURIs: []string{callback}, Attributes: map[string]string{"dpop.nonce.required": "true"},
	})
}

// redeemWith redeems a code of app with a proof, or none.
func redeemWith(s *server, code, proof string) (int, map[string]any) {
	header := basic("app")
	if proof != "" {
		header.Set("DPoP", proof)
	}
	status, _, answer := s.call("token", codeForm(code), header)
	return status, answer
}

// boundCode is a code of app for an authorization request.
func boundCode(t *testing.T, s *server, query url.Values) string {
	t.Helper()
	b := newBrowser(t, s)
	p := b.submit(b.ask(query), "alice", "pw")
	if p.location == nil || p.location.Query().Get("code") == "" {
		t.Fatalf("no code: %d %v", p.status, p.location)
	}
	return p.location.Query().Get("code")
}

func codeIsBound(t *testing.T, s *server) {
	p, thief := newProver(s), newProver(s)
	query := authorize("app", "openid")
	query.Set("dpop_jkt", p.thumbprint())
	for name, tt := range map[string]struct {
		proof  string
		status int
	}{
		"without a proof": {"", http.StatusBadRequest},
		"a thief's":       {thief.proof("POST", "token", nil), http.StatusBadRequest},
		"its own":         {p.proof("POST", "token", nil), http.StatusOK},
	} {
		if status, answer := redeemWith(s, boundCode(t, s, query), tt.proof); status != tt.status {
			t.Errorf("%s: %d %v", name, status, answer)
		}
	}
}

// pushedWith pushes a request of app with a proof.
func pushedWith(s *server, form url.Values, proof string) (int, map[string]any) {
	header := basic("app")
	header.Set("DPoP", proof)
	status, _, answer := s.call("ext/par/request", form, header)
	return status, answer
}

func pushedProof(t *testing.T, s *server) {
	p, thief := newProver(s), newProver(s)
	for name, tt := range map[string]struct {
		proof  string
		status int
	}{
		"without a proof": {"", http.StatusBadRequest},
		"a thief's":       {thief.proof("POST", "token", nil), http.StatusBadRequest},
		"its own":         {p.proof("POST", "token", nil), http.StatusOK},
	} {
		status, answer := pushedWith(s, authorize("app", "openid"), p.proof("POST", "ext/par/request", nil))
		if status != http.StatusCreated {
			t.Fatalf("pushed: %d %v", status, answer)
		}
		code := boundCode(t, s, url.Values{"client_id": {"app"}, "request_uri": {answer["request_uri"].(string)}})
		if status, answer := redeemWith(s, code, tt.proof); status != tt.status {
			t.Errorf("%s: %d %v", name, status, answer)
		}
	}
	for name, proof := range map[string]string{"for another endpoint": p.proof("POST", "token", nil), "garbage": "x"} {
		if status, answer := pushedWith(s, authorize("app", "openid"), proof); status != http.StatusBadRequest || answer["error"] != "invalid_dpop_proof" {
			t.Errorf("%s: %d %v", name, status, answer)
		}
	}
}

func pushedProofDiffers(t *testing.T, s *server) {
	p, other := newProver(s), newProver(s)
	form := authorize("app", "openid")
	form.Set("dpop_jkt", other.thumbprint())
	if status, answer := pushedWith(s, form, p.proof("POST", "ext/par/request", nil)); status != http.StatusBadRequest || answer["error"] != "invalid_dpop_proof" {
		t.Errorf("%d %v", status, answer)
	}
	form.Set("dpop_jkt", p.thumbprint())
	if status, answer := pushedWith(s, form, p.proof("POST", "ext/par/request", nil)); status != http.StatusCreated {
		t.Errorf("the same: %d %v", status, answer)
	}
}

func nonceAtUserinfo(t *testing.T, s *server) {
	p := newProver(s)
	header := basic("nonced")
	header.Set("DPoP", p.proof("POST", "token", nil))
	form := codeForm(newBrowser(t, s).login("nonced", "alice", "openid"))
	_, given, _ := s.call("token", form, header)
	nonce := given.Get("DPoP-Nonce")
	header.Set("DPoP", p.proof("POST", "token", map[string]any{"nonce": nonce}))
	_, _, tokens := s.call("token", form, header)
	access, _ := tokens["access_token"].(string)
	ask := func(nonce any) *http.Response {
		return s.get("userinfo", http.Header{
			"Authorization": {"DPoP " + access}, "Dpop": {p.proof("GET", "userinfo", map[string]any{"ath": hashOf(access), "nonce": nonce})},
		})
	}
	resp := ask(nil)
	challenge := resp.Header.Get("WWW-Authenticate")
	if resp.StatusCode != http.StatusUnauthorized || !strings.HasPrefix(challenge, "DPoP ") || !strings.Contains(challenge, "use_dpop_nonce") || resp.Header.Get("DPoP-Nonce") == "" {
		t.Errorf("without a nonce: %d %s", resp.StatusCode, challenge)
	}
	if resp := ask(resp.Header.Get("DPoP-Nonce")); resp.StatusCode != http.StatusOK {
		t.Errorf("with it: %d %s", resp.StatusCode, resp.Header.Get("WWW-Authenticate"))
	}
}
