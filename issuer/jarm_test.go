package issuer_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tegata/tegata/internal/jose"
	"github.com/tegata/tegata/issuer"
)

// response verifies what the issuer signed, with the published keys.
func (s *server) response(compact string) (jose.Header, map[string]any) {
	s.t.Helper()
	resp, err := http.Get(s.oidc("certs"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	set, err := jose.ParseKeySet(data)
	if err != nil {
		s.t.Fatal(err)
	}
	header, payload, err := set.Verify(compact, jose.Accept{Algorithms: jose.SigningAlgorithms(), Types: []string{"JWT", "at+jwt", "token-introspection+jwt"}})
	if err != nil {
		s.t.Fatalf("%v: %s", err, compact)
	}
	var claims map[string]any
	if err := json.Unmarshal(payload, &claims); err != nil {
		s.t.Fatal(err)
	}
	return header, claims
}

func TestSignedResponses(t *testing.T) { // JARM §2.1, §2.3
	t.Parallel()
	s := start(t)
	file := demoRealm()
	file.Clients = append(file.Clients, issuer.Client{
		ClientID: "jarm", Secret: "jarm-secret", RedirectURIs: []string{callback},
		Attributes: map[string]string{"authorization.signed.response.alg": "PS256"},
	})
	if err := s.iss.Import(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	b := newBrowser(t, s)
	b.login("app", "alice", "openid")
	field := regexp.MustCompile(`name="response" value="([^"]*)"`)
	tests := []struct {
		mode string
		find func(page) url.Values
	}{
		{"jwt", func(p page) url.Values { return p.location.Query() }},
		{"query.jwt", func(p page) url.Values { return p.location.Query() }},
		{"fragment.jwt", func(p page) url.Values { v, _ := url.ParseQuery(p.location.Fragment); return v }},
		{"form_post.jwt", func(p page) url.Values {
			return url.Values{"response": {field.FindStringSubmatch(p.body)[1]}}
		}},
	}
	for _, tt := range tests {
		query := authorize("jarm", "openid")
		query.Set("response_mode", tt.mode)
		got := tt.find(b.ask(query))
		if len(got) != 1 {
			t.Errorf("%s: beside the response stands %v", tt.mode, got)
		}
		header, claims := s.response(got.Get("response"))
		life := time.Until(time.Unix(int64(claims["exp"].(float64)), 0))
		if header.Algorithm != jose.PS256 || claims["iss"] != s.base+"/realms/demo" || claims["aud"] != "jarm" || life > 10*time.Minute ||
			claims["state"] != "s" || claims["code"] == "" || claims["session_state"] == "" {
			t.Errorf("%s: %+v %v", tt.mode, header, claims)
		}
		query.Set("scope", "bogus")
		if _, claims = s.response(tt.find(b.ask(query)).Get("response")); claims["error"] != "invalid_scope" || claims["state"] != "s" || claims["code"] != nil {
			t.Errorf("%s: error %v", tt.mode, claims)
		}
	}
	query := authorize("app", "openid") // no algorithm of its own: the realm's
	query.Set("response_mode", "query.jwt")
	if header, _ := s.response(b.ask(query).location.Query().Get("response")); header.Algorithm != jose.ES256 {
		t.Errorf("signed with %s", header.Algorithm)
	}
	query.Set("response_mode", "fragment.jwt.jwt")
	if got := outcome(s, b.ask(query), "s"); !strings.HasPrefix(got, "invalid_request: ") {
		t.Errorf("a mode that is none: %q", got)
	}
}
