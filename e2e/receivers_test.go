package e2e

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tegata/tegata/internal/stack"
)

// hear makes the issuer of a stack hear of another one, and authz trust that
// one with its revocations; entry is the latter's in authz.issuers.
func hear(t *testing.T, c *stack.Config, issuer, receiver, entry string) {
	t.Helper()
	edit(t, c, regexp.MustCompile(`\nauthz:\n`), "\n  receivers:\n    - name: sso\n      issuer: "+issuer+"\n"+receiver+"\nauthz:\n")
	moreIssuers(t, c, entry)
}

// tell sends a statement to a receiver of s.
func tell(t *testing.T, s *stack.Stack, path, media, authorization, body string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.IssuerURL+"/receivers/sso/"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", media)
	req.Header.Set("Authorization", authorization)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp
}

// TestALogoutElsewhereIsARefusalHere: what another issuer ends, or a client of
// ours on its behalf, is refused at Envoy as soon as it is answered; what is
// not meant passes. A restart of both forgets nothing.
func TestALogoutElsewhereIsARefusalHere(t *testing.T) {
	k := newForeign(t)
	s := ownStack(t, func(c *stack.Config) {
		hear(t, c, k.url, "      client_ids: [app1]\n      max_token_lifetime: 10m\n      realm: demo\n      events: { audience: tegata }\n",
			documented(t, 0, "https://sso.example.com/realms/main", k.url, "      revocations: none\n", ""))
		c.Set["authz.policy.dir"] = policyDir(t, "import rego.v1\n\nallow if input.token.client == \"app1\"\n")
		c.Realm = withScope("revocation:write")
	})
	token := func(sid, sub string, before time.Duration) string {
		return k.keycloak(t, map[string]any{"sid": sid, "sub": sub, "iat": time.Now().Add(-before).Unix()})
	}
	event := func(kind string, subject any) string {
		return k.signRS256(t, "secevent+jwt", map[string]any{
			"iss": k.url, "aud": "tegata", "jti": rand.Text(), "iat": time.Now().Unix(), "sub_id": subject, "events": map[string]any{kind: map[string]any{}},
		})
	}
	const caep, risc = "https://schemas.openid.net/secevent/caep/event-type/", "https://schemas.openid.net/secevent/risc/event-type/"
	for _, step := range []struct {
		what           string
		victim, others string // tokens
		tell           func() *http.Response
		want           int
	}{
		{
			"a logout there", token("S1", "alice", 0), token("S2", "alice", 0), func() *http.Response {
				now := time.Now().Unix()
				logout := k.signRS256(t, "logout+jwt", map[string]any{
					"iss": k.url, "aud": "app1", "iat": now, "exp": now + 120, "jti": rand.Text(), "sub": "alice", "sid": "S1", "typ": "Logout",
					"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}},
				})
				return tell(t, s, "backchannel-logout", "application/x-www-form-urlencoded", "", url.Values{"logout_token": {logout}}.Encode())
			}, http.StatusOK,
		},
		{
			"a session revoked there", token("S3", "carol", 0), token("S4", "carol", 0), func() *http.Response {
				return tell(t, s, "events", "application/secevent+jwt", "", event(caep+"session-revoked", map[string]any{
					"format": "complex", "session": map[string]any{"format": "opaque", "id": "S3"},
				}))
			}, http.StatusAccepted,
		},
		{
			"an account disabled there", token("S5", "dave", time.Minute), token("S6", "erin", time.Minute), func() *http.Response {
				return tell(t, s, "events", "application/secevent+jwt", "", event(risc+"account-disabled", map[string]any{
					"format": "iss_sub", "iss": k.url, "sub": "dave",
				}))
			}, http.StatusAccepted,
		},
		{
			"a call of ours", token("S7", "frank", time.Minute), token("S8", "erin", 0), func() *http.Response {
				return tell(t, s, "revocations", "application/json", "Bearer "+mustMint(t, s, "revocation:write"),
					fmt.Sprintf(`{"kind":"subject","id":"frank","issued_before":%d}`, time.Now().Unix()-30))
			}, http.StatusOK,
		},
	} {
		wantOK(t, step.what+": before", ask(s, http.MethodGet, "/orders", step.victim))
		if resp := step.tell(); resp.StatusCode != step.want || resp.Header.Get("Tegata-Revocation-Revision") == "" || resp.Header.Get("Tegata-Revocation-Pending") != "" {
			t.Fatalf("%s: %d %v", step.what, resp.StatusCode, resp.Header)
		}
		wantRefused(t, step.what, ask(s, http.MethodGet, "/orders", step.victim), http.StatusUnauthorized, "invalid_token")
		wantOK(t, step.what+": another's", ask(s, http.MethodGet, "/orders", step.others))
	}
	dead := token("S1", "alice", 0)
	wantRefused(t, "a new token of the session that is over", ask(s, http.MethodGet, "/orders", dead), http.StatusUnauthorized, "invalid_token")
	wantOK(t, "a later login of whom the call was about", ask(s, http.MethodGet, "/orders", token("S9", "frank", 0)))

	s.Issuer.Kill()
	s.Authz.Kill()
	for _, p := range []*stack.Process{s.Issuer, s.Authz} {
		if err := p.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	alive := token("S10", "grace", 0)
	eventually(t, 20*time.Second, "authz decides again", func() bool { return ask(s, http.MethodGet, "/orders", alive).status == http.StatusOK })
	wantRefused(t, "after a restart of both", ask(s, http.MethodGet, "/orders", dead), http.StatusUnauthorized, "invalid_token")
}

// withScope is the demo's realm, whose service client may ask for one scope more.
func withScope(scope string) []byte {
	return []byte(strings.NewReplacer(
		"clientScopes:\n", "clientScopes:\n  - name: "+scope+"\n",
		`optionalClientScopes: ["orders:read"`, `optionalClientScopes: ["`+scope+`", "orders:read"`,
	).Replace(string(stack.DemoRealm)))
}
