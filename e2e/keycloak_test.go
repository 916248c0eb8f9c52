package e2e

import (
	"context"
	"encoding/json"
	"html"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tegata/tegata/e2e/keycloak"
	"github.com/tegata/tegata/internal/stack"
)

// meshRealm is a realm of Keycloak whose app calls the API.
const meshRealm = `{
  "realm": "mesh", "enabled": true,
  "clients": [{
    "clientId": "app", "secret": "app-secret", "enabled": true, "redirectUris": ["http://127.0.0.1:9999/cb"],
    "protocolMappers": [{
      "name": "api", "protocol": "openid-connect", "protocolMapper": "oidc-audience-mapper",
      "config": { "included.custom.audience": "orders-api", "access.token.claim": "true" }
    }]
  }],
  "users": [{
    "username": "alice", "enabled": true, "email": "alice@example.com", "emailVerified": true, "firstName": "Alice", "lastName": "Okada",
    "credentials": [{ "type": "password", "value": "pw" }]
  }]
}`

// TestALogoutAtKeycloakIsARefusalAtEnvoy: a person logs in at a real Keycloak
// and out again; it tells us (Back-Channel Logout 1.0), and Envoy refuses the
// token that it has let pass. The configuration is that of docs/issuers.md.
func TestALogoutAtKeycloakIsARefusalAtEnvoy(t *testing.T) {
	home := os.Getenv("TEGATA_KEYCLOAK")
	if home == "" {
		t.Skip("TEGATA_KEYCLOAK is not set: run make test-keycloak")
	}
	base, end, err := keycloak.Start(context.WithoutCancel(t.Context()), home, "mesh", []byte(meshRealm))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(end)
	s := ownStack(t, func(c *stack.Config) {
		page := readFile(t, filepath.Join("..", "docs", "issuers.md"))
		receiver := regexp.MustCompile(`(?s)  receivers:\n.*?\n\n`).FindString(page)
		edit(t, c, regexp.MustCompile(`\nauthz:\n`), "\n"+strings.NewReplacer(
			"https://sso.example.com/realms/main", base+"/realms/mesh", "[shop, back-office]", "[app]", "realm: main", "realm: demo",
		).Replace(receiver)+"authz:\n")
		moreIssuers(t, c, documented(t, 0, "https://sso.example.com/realms/main", base+"/realms/mesh", "      revocations: none\n", ""))
		c.Set["authz.policy.dir"] = policyDir(t, "import rego.v1\n\nallow if input.token.claims.preferred_username == \"alice\"\n")
	})
	kc := administrator{t, base, ""}
	kc.notify("app", s.IssuerURL+"/receivers/keycloak/backchannel-logout")

	here, there := kc.login(), kc.login()
	wantOK(t, "after the login", ask(s, http.MethodGet, "/orders", here.Access))
	wantOK(t, "another browser", ask(s, http.MethodGet, "/orders", there.Access))

	began := time.Now()
	kc.form("/realms/mesh/protocol/openid-connect/logout", url.Values{"client_id": {"app"}, "client_secret": {"app-secret"}, "refresh_token": {here.Refresh}}, nil)
	wantRefused(t, "after the logout", ask(s, http.MethodGet, "/orders", here.Access), http.StatusUnauthorized, "invalid_token")
	t.Logf("logout at Keycloak and the refusal at Envoy took %v", time.Since(began))
	wantOK(t, "another browser, after it", ask(s, http.MethodGet, "/orders", there.Access))

	var people []struct {
		ID string `json:"id"`
	}
	kc.call(http.MethodGet, "/admin/realms/mesh/users?username=alice", nil, &people)
	kc.call(http.MethodPost, "/admin/realms/mesh/users/"+people[0].ID+"/logout", nil, nil)
	wantRefused(t, "logged out by an administrator", ask(s, http.MethodGet, "/orders", there.Access), http.StatusUnauthorized, "invalid_token")
	wantOK(t, "logged in again", ask(s, http.MethodGet, "/orders", kc.login().Access))
}

// administrator is somebody with a browser and the administrator's password.
type administrator struct {
	t     *testing.T
	base  string
	token string
}

// tokens is what a login yields.
type tokens struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
}

// notify gives a client a back-channel logout URL, as the console does.
func (a *administrator) notify(clientID, to string) {
	a.t.Helper()
	var got tokens
	a.form("/realms/master/protocol/openid-connect/token", url.Values{
		"grant_type": {"password"}, "client_id": {"admin-cli"}, "username": {keycloak.Admin}, "password": {keycloak.AdminPassword},
	}, &got)
	a.token = got.Access
	var clients []map[string]any
	a.call(http.MethodGet, "/admin/realms/mesh/clients?clientId="+clientID, nil, &clients)
	attributes, _ := clients[0]["attributes"].(map[string]any)
	if attributes == nil {
		attributes = map[string]any{}
	}
	attributes["backchannel.logout.url"], attributes["backchannel.logout.session.required"] = to, "true"
	clients[0]["attributes"] = attributes
	a.call(http.MethodPut, "/admin/realms/mesh/clients/"+clients[0]["id"].(string), clients[0], nil)
}

var loginAction = regexp.MustCompile(`(?s)<form[^>]*action="([^"]*)"`)

// login logs alice in by the page, in a browser of its own.
func (a *administrator) login() tokens {
	a.t.Helper()
	query := url.Values{"client_id": {"app"}, "redirect_uri": {"http://127.0.0.1:9999/cb"}, "response_type": {"code"}, "scope": {"openid"}}
	req := a.request(http.MethodGet, "/realms/mesh/protocol/openid-connect/auth?"+query.Encode(), "")
	resp, page := a.do(req)
	action := loginAction.FindStringSubmatch(page)
	if action == nil {
		a.t.Fatalf("no login form: %d %.300s", resp.StatusCode, page)
	}
	target, err := url.Parse(html.UnescapeString(action[1]))
	if err != nil {
		a.t.Fatal(err)
	}
	req = a.request(http.MethodPost, target.RequestURI(), url.Values{"username": {"alice"}, "password": {"pw"}}.Encode())
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for _, c := range resp.Cookies() { // Secure ones too, as browsers do on loopback
		req.Header.Add("Cookie", c.Name+"="+c.Value)
	}
	resp, page = a.do(req)
	back, err := url.Parse(resp.Header.Get("Location"))
	if err != nil || back.Query().Get("code") == "" {
		a.t.Fatalf("no code: %d %q %.300s", resp.StatusCode, resp.Header.Get("Location"), page)
	}
	var got tokens
	a.form("/realms/mesh/protocol/openid-connect/token", url.Values{
		"grant_type": {"authorization_code"}, "client_id": {"app"}, "client_secret": {"app-secret"},
		"code": {back.Query().Get("code")}, "redirect_uri": {"http://127.0.0.1:9999/cb"},
	}, &got)
	return got
}

func (a *administrator) form(path string, form url.Values, into any) {
	a.t.Helper()
	req := a.request(http.MethodPost, path, form.Encode())
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	a.read(req, into)
}

func (a *administrator) call(method, path string, body, into any) {
	a.t.Helper()
	text := ""
	if body != nil {
		text = string(encode(a.t, body))
	}
	req := a.request(method, path, text)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+a.token)
	a.read(req, into)
}

func (a *administrator) read(req *http.Request, into any) {
	a.t.Helper()
	resp, text := a.do(req)
	if resp.StatusCode/100 != 2 {
		a.t.Fatalf("%s %s: %d %s", req.Method, req.URL.Path, resp.StatusCode, text)
	}
	if into == nil {
		return
	}
	if err := json.Unmarshal([]byte(text), into); err != nil {
		a.t.Fatalf("%s: %v in %.300s", req.URL.Path, err, text)
	}
}

func (a *administrator) request(method, path, body string) *http.Request {
	a.t.Helper()
	req, err := http.NewRequestWithContext(a.t.Context(), method, a.base+path, strings.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	return req
}

func (a *administrator) do(req *http.Request) (*http.Response, string) {
	a.t.Helper()
	resp, err := http.DefaultTransport.RoundTrip(req) // follows no redirect
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	return resp, string(text)
}
