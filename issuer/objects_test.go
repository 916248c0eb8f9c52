package issuer_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tegata/tegata/internal/jose"
	"github.com/tegata/tegata/issuer"
)

// signing is a server with clients that sign their requests: "signing" may,
// "signing-always" must, both with key.
func signing(t *testing.T, uris ...string) (s *server, key jose.Signer) {
	t.Helper()
	s = start(t)
	key, jwks := signer(t)
	file := demoRealm()
	file.Clients = append(file.Clients,
		issuer.Client{
			ClientID: "signing", Secret: "signing-secret", RedirectURIs: []string{callback}, JWKS: jwks,
			Attributes: map[string]string{"request.uris": strings.Join(uris, "##")},
		},
		issuer.Client{
			ClientID: "signing-always", Secret: "signing-always-secret", RedirectURIs: []string{callback}, JWKS: jwks,
			Attributes: map[string]string{"request.object.required": "request only", "request.object.signature.alg": "ES256"},
		},
		issuer.Client{
			ClientID: "signing-ps", Secret: "signing-ps-secret", RedirectURIs: []string{callback}, JWKS: jwks,
			Attributes: map[string]string{"request.object.signature.alg": "PS256"},
		})
	if err := s.iss.Import(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	return s, key
}

// object is a signed request object of a client with an ordinary request.
func (s *server) object(key jose.Signer, typ, clientID string, change map[string]any) string {
	s.t.Helper()
	claims := map[string]any{
		"iss": clientID, "aud": s.base + "/realms/demo", "exp": s.now().Add(time.Minute).Unix(), "nbf": s.now().Unix(),
	}
	for name, values := range authorize(clientID, "openid") {
		claims[name] = values[0]
	}
	for name, v := range change {
		claims[name] = v
		if v == nil {
			delete(claims, name)
		}
	}
	data, err := json.Marshal(claims)
	if err != nil {
		s.t.Fatal(err)
	}
	compact, err := key.Sign(typ, data)
	if err != nil {
		s.t.Fatal(err)
	}
	return compact
}

func TestASignedRequestIsWhatCounts(t *testing.T) { // RFC 9101 §6.3
	t.Parallel()
	s, key := signing(t)
	b := newBrowser(t, s)
	query := url.Values{
		"client_id": {"signing"}, "request": {s.object(key, "oauth-authz-req+jwt", "signing", map[string]any{"max_age": 3600})},
		"scope": {"bogus"}, "state": {"another"}, "redirect_uri": {"http://evil.example/"},
	}
	if got := outcome(s, b.submit(b.ask(query), "alice", "pw"), "s"); got != "code" {
		t.Errorf("got %q", got)
	}
	form := s.pushed("signing-always", url.Values{"request": {s.object(key, "", "signing-always", nil)}}) // RFC 9126 §3
	if got := outcome(s, b.ask(form), "s"); got != "code" {
		t.Errorf("pushed: %q", got)
	}
	status, answer := s.push("signing", url.Values{"request": {s.object(key, "", "signing", map[string]any{"client_id": "app"})}})
	if status != http.StatusBadRequest || answer["error"] != "invalid_request_object" {
		t.Errorf("pushed for another client: %d %v", status, answer)
	}
}

func TestBrokenRequestObjects(t *testing.T) { // RFC 9101 §6, §10
	t.Parallel()
	s, key := signing(t)
	stranger, _ := signer(t)
	unsigned := func(claims string) string {
		encode := base64.RawURLEncoding.EncodeToString
		return encode([]byte(`{"alg":"none"}`)) + "." + encode([]byte(claims)) + "."
	}
	with := func(name string, v any) string { return s.object(key, "JWT", "signing", map[string]any{name: v}) }
	broken := "invalid_request_object: "
	tests := []struct{ name, object, want string }{
		{"a good one", with("x", "y"), "login"},
		{"without iss, aud, exp, nbf", s.object(key, "JWT", "signing", map[string]any{"iss": nil, "aud": nil, "exp": nil, "nbf": nil}), "login"},
		{"aud in a list", with("aud", []string{"https://other.example", s.base + "/realms/demo"}), "login"},
		{"claims as JSON", with("claims", map[string]any{"id_token": nil}), "login"},
		{"alg none", unsigned(`{"client_id":"signing"}`), broken},
		{"a stranger's key", s.object(stranger, "JWT", "signing", nil), broken},
		{"cut short", with("x", "y")[:100], broken},
		{"typ of an access token", s.object(key, "at+jwt", "signing", nil), broken},
		{"no client_id", with("client_id", nil), broken},
		{"another client_id", with("client_id", "app"), broken},
		{"another iss", with("iss", "app"), broken},
		{"another aud", with("aud", "https://other.example"), broken},
		{"expired", with("exp", s.now().Add(-time.Minute).Unix()), broken},
		{"exp is text", with("exp", "soon"), broken},
		{"not yet", with("nbf", s.now().Add(time.Minute).Unix()), broken},
		{"a client assertion", with("sub", "signing"), broken}, // §10.8
		{"request_uri inside", with("request_uri", "https://a.example"), broken},
		{"request inside", with("request", "x.y.z"), broken},
		{"a NUL", with("nonce", "a\x00b"), broken},
		{"a wrong parameter", with("response_type", "token"), "unsupported_response_type: "},
	}
	for _, tt := range tests {
		query := authorize("signing", "openid")
		query.Set("request", tt.object)
		if got := outcome(s, newBrowser(t, s).ask(query), "s"); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	// Without a destination in the clear, nothing unsigned says where to go.
	query := url.Values{"client_id": {"signing"}, "request": {unsigned(fmt.Sprintf(`{"client_id":"signing","redirect_uri":%q}`, callback))}}
	if got := outcome(s, newBrowser(t, s).ask(query), ""); got != "page:Invalid Request" {
		t.Errorf("alg none, alone: %q", got)
	}
	query = authorize("app", "openid")
	query.Set("request", s.object(key, "JWT", "app", nil))
	if got := outcome(s, newBrowser(t, s).ask(query), "s"); got != broken {
		t.Errorf("a client without keys: %q", got)
	}
	if got := outcome(s, newBrowser(t, s).ask(authorize("signing-always", "openid")), "s"); got != "invalid_request: Client requires a signed request object" {
		t.Errorf("not signed: %q", got)
	}
	query = authorize("signing-ps", "openid")
	query.Set("request", s.object(key, "JWT", "signing-ps", nil))
	if got := outcome(s, newBrowser(t, s).ask(query), "s"); got != broken {
		t.Errorf("another algorithm than registered: %q", got)
	}
}

func TestRequestObjectsByReference(t *testing.T) { // RFC 9101 §5.2
	t.Parallel()
	var object string
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		switch req.URL.Path {
		case "/object":
			_, _ = w.Write([]byte(object))
		case "/large":
			_, _ = w.Write(make([]byte, 33<<10))
		case "/moved":
			http.Redirect(w, req, "/object", http.StatusFound)
		default:
			http.NotFound(w, req)
		}
	}))
	t.Cleanup(web.Close)
	s, key := signing(t, web.URL+"/object", web.URL+"/large", web.URL+"/moved", web.URL+"/gone")
	object = s.object(key, "oauth-authz-req+jwt", "signing", nil)
	for path, want := range map[string]string{
		"/object": "login",
		"/large":  "invalid_request_uri: ", "/moved": "invalid_request_uri: ", "/gone": "invalid_request_uri: ",
		"/object?x=1": "request_uri_not_supported: ", "/object/": "request_uri_not_supported: ",
	} {
		query := authorize("signing", "openid")
		query.Set("request_uri", web.URL+path)
		if got := outcome(s, newBrowser(t, s).ask(query), "s"); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}
