package issuer_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// push pushes a request of a client whose secret is its name and "-secret".
func (s *server) push(clientID string, form url.Values) (int, map[string]any) {
	s.t.Helper()
	return s.post("ext/par/request", clientID, clientID+"-secret", form)
}

// pushed is the authorization request that refers to a pushed one.
func (s *server) pushed(clientID string, form url.Values) url.Values {
	s.t.Helper()
	status, answer := s.push(clientID, form)
	if status != http.StatusCreated || answer["expires_in"] != float64(60) {
		s.t.Fatalf("pushed: %d %v", status, answer)
	}
	return url.Values{"client_id": {clientID}, "request_uri": {answer["request_uri"].(string)}}
}

func TestAPushedRequestIsWhatCounts(t *testing.T) { // RFC 9126 §4
	t.Parallel()
	s := start(t)
	b := newBrowser(t, s)
	query := s.pushed("pushing", authorize("pushing", "openid"))
	query.Set("scope", "bogus")
	query.Set("state", "another")
	p := b.submit(b.ask(query), "alice", "pw")
	if got := outcome(s, p, "s"); got != "code" {
		t.Fatalf("got %q, %d %v", got, p.status, p.location)
	}
	if got := outcome(s, b.ask(query), "s"); got != "page:Invalid Request" { // §7.3: used up
		t.Errorf("again: %q", got)
	}
}

func TestAPushedRequestIsUsedUpByItsCode(t *testing.T) {
	t.Parallel()
	s := start(t)
	query := s.pushed("pushing", authorize("pushing", "openid"))
	first, second := newBrowser(t, s), newBrowser(t, s)
	first.ask(query)
	one, two := first.ask(query), second.ask(query)
	s.clock.Add(int64(10 * time.Minute)) // who began in time may take it
	if got := outcome(s, first.submit(one, "alice", "pw"), "s"); got != "code" {
		t.Errorf("got %q", got)
	}
	if got := outcome(s, second.submit(two, "alice", "pw"), "s"); got != "invalid_request_uri: " {
		t.Errorf("a second browser: %q", got)
	}
}

func TestPushedRequestsAreTheirClients(t *testing.T) {
	t.Parallel()
	s := start(t)
	stolen := s.pushed("app", authorize("app", "openid"))
	stolen.Set("client_id", "app2")
	late := s.pushed("app", authorize("app", "openid"))
	for name, query := range map[string]url.Values{
		"another client's": stolen,
		"unknown":          {"client_id": {"app"}, "request_uri": {"urn:ietf:params:oauth:request_uri:x"}},
		"no client":        {"request_uri": late["request_uri"]},
	} {
		if got := outcome(s, newBrowser(t, s).ask(query), ""); got != "page:Invalid Request" {
			t.Errorf("%s: %q", name, got)
		}
	}
	s.clock.Add(int64(time.Minute))
	if got := outcome(s, newBrowser(t, s).ask(late), ""); got != "page:Invalid Request" {
		t.Errorf("late: %q", got)
	}
	plain := authorize("pushing", "openid")
	if got := outcome(s, newBrowser(t, s).ask(plain), "s"); got != "invalid_request: Pushed Authorization Request is only allowed." {
		t.Errorf("not pushed: %q", got)
	}
	// A broken reference with a destination is the client's to know (RFC 9101 §7).
	plain.Set("request_uri", "urn:ietf:params:oauth:request_uri:x")
	if got := outcome(s, newBrowser(t, s).ask(plain), "s"); got != "invalid_request_uri: " {
		t.Errorf("unknown, with a destination: %q", got)
	}
}

func TestWhatIsPushedIsChecked(t *testing.T) { // RFC 9126 §2.1, §2.3
	t.Parallel()
	s := start(t)
	tests := []struct {
		name   string
		change url.Values
		secret string
		status int
		want   string
	}{
		{"request_uri", url.Values{"request_uri": {"urn:x"}}, "", 400, "invalid_request: It is not allowed to include request_uri to PAR."},
		{"redirect_uri", url.Values{"redirect_uri": {"http://evil.example/"}}, "", 400, "invalid_request: Invalid parameter: redirect_uri"},
		{"no redirect_uri", url.Values{"redirect_uri": {""}}, "", 400, "invalid_request: Invalid parameter: redirect_uri"},
		{"scope", url.Values{"scope": {"bogus"}}, "", 400, "invalid_scope: Invalid scopes: bogus"},
		{"response_type", url.Values{"response_type": {"token"}}, "", 400, "unsupported_response_type: "},
		{"repeated", url.Values{"scope": {"openid", "email"}}, "", 400, "invalid_request: duplicated parameter"},
		{"another client", url.Values{"client_id": {"app2"}}, "", 401, "invalid_client: Invalid client or Invalid client credentials"},
		{"wrong secret", nil, "x", 401, "unauthorized_client: Invalid client or Invalid client credentials"},
		{"too large", url.Values{"more": {strings.Repeat("x", 20<<10)}}, "", 413, "invalid_request: request too large"},
	}
	for _, tt := range tests {
		form := authorize("app", "openid")
		for name, v := range tt.change {
			form[name] = v
		}
		status, answer := s.post("ext/par/request", "app", "app-secret"+tt.secret, form)
		description, _ := answer["error_description"].(string)
		if got := answer["error"].(string) + ": " + description; status != tt.status || got != tt.want {
			t.Errorf("%s: %d %q, want %d %q", tt.name, status, got, tt.status, tt.want)
		}
	}
	// A public client says only who it is.
	form := authorize("spa", "openid")
	if status, answer := s.post("ext/par/request", "", "", form); status != http.StatusCreated {
		t.Errorf("public client: %d %v", status, answer)
	}
}
