package issuer_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tegata/tegata/issuer"
)

// introspected asks about a token as a client, for an answer of some media
// type.
func (s *server) introspected(clientID, accept string, form url.Values) (kind, body string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.oidc("token/introspect"), strings.NewReader(form.Encode()))
	if err != nil {
		s.t.Fatal(err)
	}
	req.SetBasicAuth(clientID, clientID+"-secret")
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", accept)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	if resp.Header.Get("Cache-Control") != "no-store" {
		s.t.Errorf("Cache-Control %q", resp.Header.Get("Cache-Control"))
	}
	return resp.Header.Get("Content-Type"), string(text)
}

func decoded(t *testing.T, body string) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(body), &v); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return v
}

const signedIntrospection = "application/token-introspection+jwt"

// TestSignedIntrospection: RFC 9701. It is for the client that asks and no
// token, and says what the plain answer says.
func TestSignedIntrospection(t *testing.T) {
	t.Parallel()
	s := start(t)
	tokens := s.redeem(newBrowser(t, s).login("app", "alice", "openid"))
	form := url.Values{"token": {tokens["access_token"].(string)}}
	_, plain := s.introspected("rs", "application/json", form)
	want := decoded(t, plain)
	if want["active"] != true {
		t.Fatalf("plain: %v", want)
	}
	for _, tt := range []struct {
		caller, accept string
		want           any // token_introspection
	}{
		{"rs", signedIntrospection, want},
		{"rs", "text/html, " + signedIntrospection + ";q=0.5", want},
		{"gw", signedIntrospection, want},
		{"app", signedIntrospection, map[string]any{"active": false}}, // not in aud (§5, §8.3)
	} {
		kind, body := s.introspected(tt.caller, tt.accept, form)
		if kind != signedIntrospection {
			t.Errorf("%s, %s: %s %s", tt.caller, tt.accept, kind, body)
			continue
		}
		header, claims := s.response(body)
		if d := cmp.Diff(tt.want, claims["token_introspection"]); d != "" || header.Type != "token-introspection+jwt" {
			t.Errorf("%s: typ %q (-want +got):\n%s", tt.caller, header.Type, d)
		}
		iat, _ := claims["iat"].(float64)
		if claims["iss"] != s.base+"/realms/demo" || claims["aud"] != tt.caller || iat == 0 || len(claims) != 4 {
			t.Errorf("%s: %v", tt.caller, claims)
		}
		if s.active(body) {
			t.Errorf("%s: the answer is taken for a token", tt.caller)
		}
	}
	for _, accept := range []string{"application/json", "*/*", "", "application/jwt", signedIntrospection + ";q=0", signedIntrospection + ";q=0.000"} {
		if kind, body := s.introspected("rs", accept, form); kind != "application/json" || cmp.Diff(want, decoded(t, body)) != "" {
			t.Errorf("Accept %q: %s %s", accept, kind, body)
		}
	}
	for name, form := range map[string]url.Values{"no token": {}, "an unknown hint": {"token": form["token"], "token_type_hint": {"x"}}} { // §5: errors as in RFC 7662
		if kind, body := s.introspected("rs", signedIntrospection, form); kind != "application/json" || decoded(t, body)["error"] != "invalid_request" {
			t.Errorf("%s: %s %s", name, kind, body)
		}
	}
	s.change("rs", attributes("introspection.signed.response.alg", "RS256"))
	_, body := s.introspected("rs", signedIntrospection, form)
	if header, _ := s.response(body); header.Algorithm != "RS256" {
		t.Errorf("signed with %s", header.Algorithm)
	}
	resp, err := http.Get(s.base + "/realms/demo/.well-known/openid-configuration")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var about map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&about); err != nil || about["introspection_signing_alg_values_supported"] == nil {
		t.Errorf("discovery: %v, %v", about["introspection_signing_alg_values_supported"], err)
	}
	if err := s.iss.Import(t.Context(), issuer.Realm{Realm: "demo", Clients: []issuer.Client{{ClientID: "rs", Attributes: map[string]string{"introspection.signed.response.alg": "none"}}}}); err == nil {
		t.Error("alg none was taken")
	}
}

// TestIntrospectionWithTheToken: Keycloak's application/jwt. The token says what
// is released now, and dies as the one that was asked about.
func TestIntrospectionWithTheToken(t *testing.T) {
	t.Parallel()
	s := start(t)
	file := demoRealm()
	for i := range file.Clients {
		if file.Clients[i].ClientID == "rs" {
			file.Clients[i].Attributes = map[string]string{"client.introspection.response.allow.jwt.claim.enabled": "true"}
		}
	}
	if err := s.iss.Import(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	tokens := s.redeem(newBrowser(t, s).login("app", "alice", "openid"))
	access := tokens["access_token"].(string)
	file.Users[0].FirstName = "Alicia"
	if err := s.iss.Import(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	form := url.Values{"token": {access}}
	kind, body := s.introspected("rs", "application/jwt", form)
	answer := decoded(t, body)
	if kind != "application/json" || answer["active"] != true || answer["username"] != "alice" {
		t.Fatalf("%s %s", kind, body)
	}
	again, _ := answer["jwt"].(string)
	header, got := s.response(again)
	want := s.claims(access)
	want["name"], want["given_name"] = "Alicia Test", "Alicia"
	if d := cmp.Diff(want, got); d != "" || header.Type != "at+jwt" {
		t.Errorf("typ %q (-want +got):\n%s", header.Type, d)
	}
	if !s.active(again) {
		t.Error("it is not active")
	}
	for name, tt := range map[string]struct {
		caller, accept string
		form           url.Values
	}{
		"not asked for":               {"rs", "application/json", form},
		"by one that may not have it": {"gw", "application/jwt", form},
		"by one that it is not for":   {"app", "application/jwt", form},
		"of another kind":             {"rs", "application/jwt", url.Values{"token": {tokens["id_token"].(string)}}},
	} {
		if _, body := s.introspected(tt.caller, tt.accept, tt.form); decoded(t, body)["jwt"] != nil {
			t.Errorf("%s: %s", name, body)
		}
	}
	s.post("logout", "app", "app-secret", url.Values{"refresh_token": {tokens["refresh_token"].(string)}})
	if s.active(again) {
		t.Error("it outlives the session")
	}
	if _, body := s.introspected("rs", "application/jwt", form); decoded(t, body)["jwt"] != nil {
		t.Errorf("of a dead token: %s", body)
	}
}
