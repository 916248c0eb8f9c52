package issuer_test

import (
	"net/url"
	"strings"
	"testing"
)

// TestRFC9207 is Authorization Server Issuer Identification. Of every other
// authorization response in these tests outcome asks for iss as well.
func TestRFC9207(t *testing.T) {
	prove(t, []rule{
		{"2", "iss is in a response with a code, and is the issuer", by(TestCodeFlowAnswersInKeycloaksOrder)},
		{"2", "iss is in a response with an error", atAuth(url.Values{"scope": {"bogus"}}, "invalid_scope: Invalid scopes: bogus")},
		{"2", "iss is there in every response mode", issInEveryMode},
		{"2.3", "it is the issuer that discovery has", by(TestCodeFlowAnswersInKeycloaksOrder)},
		{"2.4", "a signed response has iss within", by(TestSignedResponses)},
		{"3", "discovery says so", announcesIss},
	})
}

func issInEveryMode(t *testing.T, s *server) {
	b := newBrowser(t, s)
	b.login("app", "alice", "openid")
	for _, mode := range []string{"query", "fragment", "form_post"} {
		query := authorize("app", "openid")
		query.Set("response_mode", mode)
		p := b.ask(query)
		said := p.body
		if p.location != nil {
			said = p.location.String()
		}
		if !strings.Contains(said, url.QueryEscape(s.base+"/realms/demo")) && !strings.Contains(said, `name="iss" value="`+s.base+`/realms/demo"`) {
			t.Errorf("%s: %s", mode, said)
		}
	}
}

func announcesIss(t *testing.T, s *server) {
	if s.metadata()["authorization_response_iss_parameter_supported"] != true {
		t.Error("it does not")
	}
}
