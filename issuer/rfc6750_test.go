package issuer_test

import (
	"net/http"
	"strings"
	"testing"
)

// TestRFC6750 is Bearer Token Usage: what a resource server must, which the
// UserInfo endpoint is, and what an issuer of bearer tokens must.
func TestRFC6750(t *testing.T) {
	prove(t, []rule{
		{"2", "a request shows its token in one way", told("introspect.txt", "userinfo, header and form (RFC 6750 §2)")},
		{"2.1", "the Authorization header is supported", told("introspect.txt", "userinfo, header (OpenID Connect Core §5.3)")},
		{"2.1", "the scheme's name is in any case", anyCaseOfBearer},
		{"2.2", "a token in a form counts in a form alone, and not with GET", formTokens},
		{"2.3", "a token in the query does not count", told("introspect.txt", "userinfo, query is no place for a token (RFC 9700 §4.3.2)")},
		{"3", "without a good token there is WWW-Authenticate with the scheme", bearerChallenges},
		{"3", "a parameter of it is there once, in its characters", bearerChallenges},
		{"3.1", "a request without a token is told no error", told("introspect.txt", "userinfo, no token (RFC 6750 §3.1: no error code)")},
		{"3.1", "invalid_token is 401", told("introspect.txt", "userinfo, garbage", "… at userinfo too")},
		{"3.1", "invalid_request is 400", told("introspect.txt", "userinfo, header and form (RFC 6750 §2)")},
		{"3.1", "insufficient_scope is 403", told("introspect.txt", "… is refused (Keycloak 26)")},
		{"5.2", "tokens cannot be made or changed by others", changedTokens},
		{"5.2", "a token is for some audience", tokensHaveAudiences},
		{"5.2", "tokens are sent over TLS", tlsRequired},
		{"5.3", "tokens do not live long", tokensAreNotKept},
		{"5.3", "cookies hold no tokens", cookiesHoldNoTokens},
	})
}

func anyCaseOfBearer(t *testing.T, s *server) {
	access := s.tokens(t, "app", "openid")["access_token"].(string)
	for _, scheme := range []string{"bearer", "BEARER", "Bearer"} {
		if resp := s.get("userinfo", http.Header{"Authorization": {scheme + " " + access}}); resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %d", scheme, resp.StatusCode)
		}
	}
}

func formTokens(t *testing.T, s *server) {
	access := s.tokens(t, "app", "openid")["access_token"].(string)
	for _, tt := range []struct {
		method, media string
		status        int
	}{
		{http.MethodPost, "application/x-www-form-urlencoded", http.StatusOK},
		{http.MethodPost, "application/x-www-form-urlencoded; charset=UTF-8", http.StatusOK},
		{http.MethodPost, "text/plain", http.StatusUnauthorized},
		{http.MethodPost, "multipart/form-data; boundary=x", http.StatusUnauthorized},
		{http.MethodGet, "application/x-www-form-urlencoded", http.StatusUnauthorized},
	} {
		req, err := http.NewRequestWithContext(t.Context(), tt.method, s.oidc("userinfo"), strings.NewReader("access_token="+access))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", tt.media)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != tt.status {
			t.Errorf("%s %s: %d, want %d", tt.method, tt.media, resp.StatusCode, tt.status)
		}
	}
}

func bearerChallenges(t *testing.T, s *server) {
	service := s.clientToken("")
	for name, header := range map[string]http.Header{
		"none": nil, "garbage": bearer("x.y.z"), "another scheme": basic("app"), "no scope": bearer(service),
	} {
		resp := s.get("userinfo", header)
		got := resp.Header.Values("WWW-Authenticate")
		if len(got) != 1 || !strings.HasPrefix(got[0], `Bearer realm="demo"`) || resp.StatusCode == http.StatusOK {
			t.Fatalf("%s: %d %q", name, resp.StatusCode, got)
		}
		for _, parameter := range []string{"realm=", "error=", "error_description="} {
			if strings.Count(" "+got[0], " "+parameter) > 1 {
				t.Errorf("%s: %s has %s twice", name, got[0], parameter)
			}
		}
		if !errorCharacters.MatchString(strings.ReplaceAll(got[0], `"`, "")) {
			t.Errorf("%s: %s", name, got[0])
		}
	}
}

func changedTokens(t *testing.T, s *server) {
	access := s.tokens(t, "app", "openid")["access_token"].(string)
	parts := strings.Split(access, ".")
	for name, changed := range map[string]string{
		"claims":       parts[0] + "." + flip(parts[1]) + "." + parts[2],
		"header":       flip(parts[0]) + "." + parts[1] + "." + parts[2],
		"signature":    parts[0] + "." + parts[1] + "." + flip(parts[2]),
		"no signature": parts[0] + "." + parts[1] + ".",
	} {
		if resp := s.get("userinfo", bearer(changed)); resp.StatusCode != http.StatusUnauthorized || s.active(changed) {
			t.Errorf("%s: %d", name, resp.StatusCode)
		}
	}
}

// flip changes a character in the middle.
func flip(part string) string {
	b := []byte(part)
	if i := len(b) / 2; b[i] == 'A' {
		b[i] = 'B'
	} else {
		b[i] = 'A'
	}
	return string(b)
}

func tokensHaveAudiences(t *testing.T, s *server) {
	for _, token := range []any{s.tokens(t, "app", "openid")["access_token"], s.clientToken("")} {
		if claims := claimsOf(t, token); claims["aud"] != "rs" {
			t.Errorf("aud %v", claims["aud"])
		}
	}
}

func cookiesHoldNoTokens(t *testing.T, s *server) {
	b := newBrowser(t, s)
	tokens := s.redeem(b.login("app", "alice", "openid"))
	cookie := b.cookie("KEYCLOAK_IDENTITY")
	if strings.Count(cookie, ".") == 2 || cookie == tokens["access_token"] {
		t.Errorf("cookie %s", cookie)
	}
	if resp := s.get("userinfo", bearer(cookie)); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("the cookie as a token: %d", resp.StatusCode)
	}
}
