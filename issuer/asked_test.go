package issuer_test

import (
	"net/http"
	"net/url"
	"slices"
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
		ClientID: "asking", Secret: "asking-secret", RedirectURIs: []string{callback}, ServiceAccountsEnabled: true,
		Audience:   []string{"rs", "https://a.example/", "https://b.example/"},
		Attributes: map[string]string{"authorization.details.types": "payment##account", "oauth2.device.authorization.grant.enabled": "true"},
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
		"relative": {"rs"}, "a fragment": {"https://a.example/#x"},
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
	audience := func(answer map[string]any) any { return claimsOf(t, answer["access_token"])["aud"] }
	_, tokens := s.token(url.Values{"grant_type": {"authorization_code"}, "code": {code}})
	if d := cmp.Diff(any([]any{"https://a.example/", "https://b.example/"}), audience(tokens)); d != "" {
		t.Errorf("aud (-want +got):\n%s", d)
	}
	refresh := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {tokens["refresh_token"].(string)}}
	for name, tt := range map[string]struct {
		resource []string
		want     any
	}{
		"one":       {[]string{"https://b.example/"}, "https://b.example/"},
		"all":       {nil, []any{"https://a.example/", "https://b.example/"}},
		"no value":  {[]string{""}, []any{"https://a.example/", "https://b.example/"}},
		"both":      {[]string{"https://b.example/", "https://a.example/"}, []any{"https://b.example/", "https://a.example/"}},
		"one twice": {[]string{"https://b.example/", "https://b.example/"}, "https://b.example/"},
	} {
		refresh["resource"] = tt.resource
		if _, tokens = s.token(refresh); tokens["access_token"] == nil || cmp.Diff(tt.want, audience(tokens)) != "" {
			t.Fatalf("refreshed for %s: %v", name, tokens)
		}
		refresh.Set("refresh_token", tokens["refresh_token"].(string))
	}
	refresh.Set("resource", "rs") // the client's, but not of this authorization
	if status, answer := s.token(refresh); status != http.StatusBadRequest || answer["error"] != "invalid_target" {
		t.Errorf("refreshed for more: %d %v", status, answer)
	}
}

// TestResourcesMayBeRepeated wherever a request can be made; nothing else may
// (RFC 8707 §2; RFC 6749 §3.1, §3.2).
func TestResourcesMayBeRepeated(t *testing.T) {
	t.Parallel()
	s, b := asking(t)
	both := []string{"https://a.example/", "https://b.example/"}
	want := any([]any{both[0], both[1]})
	query := authorize("asking", "openid")
	query["resource"] = both
	redeemed := func(p page) any {
		_, tokens := s.token(url.Values{"grant_type": {"authorization_code"}, "code": {p.location.Query().Get("code")}})
		return claimsOf(t, tokens["access_token"])["aud"]
	}
	if d := cmp.Diff(want, redeemed(b.do(http.MethodPost, s.oidc("auth"), query))); d != "" {
		t.Errorf("POST on the authorization endpoint (-want +got):\n%s", d)
	}
	if d := cmp.Diff(want, redeemed(b.ask(s.pushed("asking", query)))); d != "" {
		t.Errorf("pushed (-want +got):\n%s", d)
	}
	_, own := s.post("token", "asking", "asking-secret", url.Values{"grant_type": {"client_credentials"}, "resource": both})
	if d := cmp.Diff(want, claimsOf(t, own["access_token"])["aud"]); d != "" {
		t.Errorf("client credentials (-want +got):\n%s", d)
	}
	for name, form := range map[string]url.Values{
		"a resource of others":        {"grant_type": {"client_credentials"}, "resource": {both[0], "https://c.example/"}},
		"a resource that is no URI":   {"grant_type": {"client_credentials"}, "resource": {"rs"}},
		"a fragment that is empty":    {"grant_type": {"client_credentials"}, "resource": {"https://a.example/#"}},
		"a device that asks for more": {"resource": {"https://c.example/"}},
	} {
		path := "token"
		if form["grant_type"] == nil {
			path = "auth/device"
		}
		if status, answer := s.post(path, "asking", "asking-secret", form); status != http.StatusBadRequest || answer["error"] != "invalid_target" {
			t.Errorf("%s: %d %v", name, status, answer)
		}
	}
	for path, form := range map[string]url.Values{
		"token":           {"grant_type": {"client_credentials"}, "scope": {"a", "a"}},
		"ext/par/request": {"client_id": {"asking"}, "response_type": {"code"}, "state": {"a", "b"}},
		"auth/device":     {"scope": {"", ""}},
		"revoke":          {"token": {"x"}, "resource": both},
	} {
		if status, answer := s.post(path, "asking", "asking-secret", form); status != http.StatusBadRequest || answer["error_description"] != "duplicated parameter" {
			t.Errorf("%s with a repeat: %d %v", path, status, answer)
		}
	}
	many := url.Values{"grant_type": {"client_credentials"}, "resource": slices.Repeat(both, 17)}
	if status, answer := s.post("token", "asking", "asking-secret", many); status != http.StatusBadRequest || answer["error"] != "invalid_request" {
		t.Errorf("too many: %d %v", status, answer)
	}
}

// TestADeviceAsksForMoreThanScopes (RFC 8707 §2, RFC 9396 §3).
func TestADeviceAsksForMoreThanScopes(t *testing.T) {
	t.Parallel()
	s, b := asking(t)
	status, answer := s.post("auth/device", "asking", "asking-secret", url.Values{
		"resource": {"https://a.example/", "https://b.example/"}, "authorization_details": {`[{"type":"payment","amount":"12.50"}]`},
	})
	if status != http.StatusOK {
		t.Fatalf("%d %v", status, answer)
	}
	p := b.enter(answer["user_code"].(string))
	if !asksConsent(p) || !strings.Contains(p.body, "12.50") {
		t.Fatalf("not shown: %d\n%s", p.status, p.body)
	}
	b.answer(p, "accept")
	form := url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}, "device_code": {answer["device_code"].(string)}}
	_, tokens := s.post("token", "asking", "asking-secret", form)
	claims := claimsOf(t, tokens["access_token"])
	got := []any{claims["aud"], claims["authorization_details"]}
	want := []any{[]any{"https://a.example/", "https://b.example/"}, []any{map[string]any{"type": "payment", "amount": "12.50"}}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("token (-want +got):\n%s", d)
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
