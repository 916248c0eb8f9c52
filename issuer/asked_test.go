package issuer_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tegata/tegata/issuer"
)

// asking is a server with a client that has resources and detail types.
func asking(t *testing.T) (*server, *browser) {
	t.Helper()
	s := start(t)
	file := demoRealm()
	file.Clients = append(file.Clients, issuer.Client{
		ClientID: "asking", Secret: "asking-secret", RedirectURIs: []string{callback},
		Audience:   []string{"rs", "https://a.example/", "https://b.example/"},
		Attributes: map[string]string{"authorization.details.types": "payment##account"},
	})
	if err := s.iss.Import(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	b := newBrowser(t, s)
	b.login("app", "alice", "openid")
	return s, b
}

// token calls the token endpoint as the client asking.
func (s *server) token(form url.Values) (int, map[string]any) {
	s.t.Helper()
	form.Set("redirect_uri", callback)
	form.Set("code_verifier", verifier)
	return s.post("token", "asking", "asking-secret", form)
}

func TestTokensAreForTheResourceThatWasAsked(t *testing.T) { // RFC 8707 §2
	t.Parallel()
	s, b := asking(t)
	for name, resource := range map[string][]string{
		"another's": {"https://c.example/"}, "one of them another's": {"https://a.example/", "https://c.example/"},
		"relative": {"rs"}, "a fragment": {"https://a.example/#x"}, "nothing": {""},
	} {
		query := authorize("asking", "openid")
		query["resource"] = resource
		if got := outcome(s, b.ask(query), "s"); got != "invalid_target: " {
			t.Errorf("%s: %q", name, got)
		}
	}
	query := authorize("asking", "openid")
	query["resource"] = []string{"https://a.example/", "https://b.example/"}
	code := b.ask(query).location.Query().Get("code")
	audience := func(answer map[string]any) any {
		_, claims := s.response(answer["access_token"].(string))
		return claims["aud"]
	}
	_, tokens := s.token(url.Values{"grant_type": {"authorization_code"}, "code": {code}})
	if d := cmp.Diff(any([]any{"https://a.example/", "https://b.example/"}), audience(tokens)); d != "" {
		t.Errorf("aud (-want +got):\n%s", d)
	}
	refresh := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {tokens["refresh_token"].(string)}}
	for resource, want := range map[string]any{"https://b.example/": "https://b.example/", "": []any{"https://a.example/", "https://b.example/"}} {
		refresh.Set("resource", resource)
		if _, tokens = s.token(refresh); tokens["access_token"] == nil || cmp.Diff(want, audience(tokens)) != "" {
			t.Errorf("refreshed for %q: %v", resource, tokens)
		}
	}
	refresh.Set("resource", "rs") // the client's, but not of this authorization
	if status, answer := s.token(refresh); status != http.StatusBadRequest || answer["error"] != "invalid_target" {
		t.Errorf("refreshed for more: %d %v", status, answer)
	}
}

func TestAuthorizationDetails(t *testing.T) { // RFC 9396 §5, §7, §9
	t.Parallel()
	s, b := asking(t)
	for _, text := range []string{
		`{`, `{}`, `[]`, `[1]`, `["payment"]`, `[{}]`, `[{"type":1}]`, `[{"type":"other"}]`, `[{"type":"payment"},{"type":"other"}]`,
		`[{"type":"payment","type":"account"}]`, `[{"type":"payment"}],"x":[]`, `[{"type":"payment","x":"` + strings.Repeat("x", 2048) + `"}]`,
	} {
		query := authorize("asking", "openid")
		query.Set("authorization_details", text)
		if got := outcome(s, b.ask(query), "s"); got != "invalid_authorization_details: " {
			t.Errorf("%.60s: %q", text, got)
		}
	}
	query := authorize("asking", "openid")
	query.Set("authorization_details", `[{"type":"payment","amount":"12.50","to":"<b>"}]`)
	want := []any{map[string]any{"type": "payment", "amount": "12.50", "to": "<b>"}}
	for range 2 { // the second payment is another
		p := b.ask(query)
		if !asksConsent(p) || !strings.Contains(p.body, "12.50") || strings.Contains(p.body, "<b>") {
			t.Fatalf("not shown: %d\n%s", p.status, p.body)
		}
		p = b.answer(p, "accept")
		_, tokens := s.token(url.Values{"grant_type": {"authorization_code"}, "code": {p.location.Query().Get("code")}})
		_, tokens2 := s.token(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {tokens["refresh_token"].(string)}})
		for _, answer := range []map[string]any{tokens, tokens2} {
			_, about := s.post("token/introspect", "rs", "rs-secret", url.Values{"token": {answer["access_token"].(string)}})
			if d := cmp.Diff([]any{want, want}, []any{answer["authorization_details"], about["authorization_details"]}); d != "" {
				t.Errorf("details (-want +got):\n%s", d)
			}
		}
	}
}

func TestACodeMayNeedAProof(t *testing.T) { // RFC 9449 §10
	t.Parallel()
	s, b := asking(t)
	query := authorize("asking", "openid")
	query.Set("dpop_jkt", challenge()) // the thumbprint of nobody's key
	code := b.ask(query).location.Query().Get("code")
	if status, answer := s.token(url.Values{"grant_type": {"authorization_code"}, "code": {code}}); status != http.StatusBadRequest || answer["access_token"] != nil {
		t.Errorf("redeemed without a proof: %d %v", status, answer)
	}
}
