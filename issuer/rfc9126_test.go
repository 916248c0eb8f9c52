package issuer_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// TestRFC9126 is Pushed Authorization Requests.
func TestRFC9126(t *testing.T) {
	prove(t, []rule{
		{"2", "requests are pushed by POST, over TLS", all(pushedByPost, tlsRequired)},
		{"2", "who pushes authenticates as at the token endpoint", by(TestWhatIsPushedIsChecked)},
		{"2", "an assertion's aud may be the issuer, the token endpoint or the endpoint itself", tested("clientauth/clientauth_test.go", "TestAssertions")},
		{"2.1", "request_uri is refused", by(TestWhatIsPushedIsChecked)},
		{"2.1", "what is pushed is checked as at the authorization endpoint", by(TestWhatIsPushedIsChecked)},
		{"2.2", "the answer is 201 with request_uri and expires_in, JSON that nobody keeps", pushedAnswers},
		{"2.2", "a request_uri is another each time and cannot be guessed", pushedAnswers},
		{"2.2", "a request_uri is its client's", by(TestPushedRequestsAreTheirClients)},
		{"2.3", "errors are those of the token endpoint; 405, 413 and 429 too", all(by(TestWhatIsPushedIsChecked, TestDoorsSlowGuessingDown), pushedByPost)},
		{"3", "a signed request can be pushed, and its client_id is the client's", by(TestASignedRequestIsWhatCounts)},
		{"4", "a request_uri that is used up, late or unknown is refused", by(TestAPushedRequestIsWhatCounts, TestPushedRequestsAreTheirClients)},
		{"4", "what was pushed counts, and nothing beside it", by(TestAPushedRequestIsWhatCounts)},
		{"4", "client_id beside it is required", by(TestPushedRequestsAreTheirClients)},
		{"5", "discovery says where, and whether it must be", announces("pushed_authorization_request_endpoint", "require_pushed_authorization_requests")},
		{"6", "a client that must push gets nothing otherwise", by(TestPushedRequestsAreTheirClients)},
		{"7.1", "request_uris cannot be guessed", pushedAnswers},
		{"7.2", "there is no open redirect", by(TestWhatIsPushedIsChecked)},
		{"7.3", "a request_uri is good for one code", by(TestAPushedRequestIsUsedUpByItsCode)},
	})
}

func pushedByPost(t *testing.T, s *server) {
	if resp := s.get("ext/par/request?"+authorize("app", "openid").Encode(), basic("app")); resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d", resp.StatusCode)
	}
}

func pushedAnswers(t *testing.T, s *server) {
	seen := make(map[string]bool)
	for range 2 {
		status, header, answer := s.call("ext/par/request", authorize("app", "openid"), basic("app"))
		uri, _ := answer["request_uri"].(string)
		u, err := url.Parse(uri)
		if status != http.StatusCreated || header.Get("Content-Type") != "application/json" || !strings.Contains(header.Get("Cache-Control"), "no-store") ||
			err != nil || u.Scheme != "urn" || seen[uri] || len(uri[strings.LastIndex(uri, ":")+1:]) < 22 {
			t.Errorf("%d %v %v", status, header, answer)
		}
		if life, ok := answer["expires_in"].(float64); !ok || life <= 0 || life > 600 {
			t.Errorf("expires_in %v", answer["expires_in"])
		}
		seen[uri] = true
	}
}
