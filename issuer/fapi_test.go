package issuer_test

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tegata/tegata/internal/jose"
	"github.com/tegata/tegata/issuer"
	"github.com/tegata/tegata/issuer/oauth"
)

// fapi is a server with two clients that are held to FAPI 2.0, each with a key
// of its own. The tests below are the conditions of the OpenID Foundation's plan
// fapi2-security-profile-final (private_key_jwt, DPoP, plain_response), named as
// its modules are.
type fapi struct {
	*server
	b     *browser
	keys  map[string]jose.Signer
	proof prover
}

func newFAPI(t *testing.T) *fapi {
	t.Helper()
	f := &fapi{server: start(t), keys: map[string]jose.Signer{}}
	var clients []issuer.Client
	for _, id := range []string{"fapi", "fapi2"} {
		key, jwks := signer(t)
		f.keys[id] = key
		clients = append(clients, issuer.Client{
			ClientID: id, ClientAuthenticatorType: "client-jwt", JWKS: jwks, Audience: []string{"rs"}, ConsentRequired: true,
			RedirectURIs:         []string{callback, callback + "?dummy1=lorem&dummy2=ipsum"},
			OptionalClientScopes: []string{"offline_access"}, DefaultClientScopes: []string{"email"},
			Attributes: map[string]string{"security.profile": "fapi-2-security-profile", "dpop.bound.access.tokens": "true"},
		})
	}
	f.importMore(clients...)
	f.b, f.proof = newBrowser(t, f.server), newProver(f.server)
	return f
}

// assertion is a client's, for the issuer, changed.
func (f *fapi) assertion(clientID string, change map[string]any) string {
	f.t.Helper()
	now := f.now().Unix()
	claims := map[string]any{"iss": clientID, "sub": clientID, "aud": f.base + "/realms/demo", "jti": rand.Text(), "iat": now, "exp": now + 60}
	for name, v := range change {
		if claims[name] = v; v == nil {
			delete(claims, name)
		}
	}
	data, err := json.Marshal(claims)
	if err != nil {
		f.t.Fatal(err)
	}
	compact, err := f.keys[clientID].Sign("JWT", data)
	if err != nil {
		f.t.Fatal(err)
	}
	return compact
}

// as adds a client's authentication to a form.
func (f *fapi) as(clientID string, form url.Values) url.Values {
	form = maps.Clone(form)
	form.Set("client_assertion_type", oauth.AssertionJWT)
	form.Set("client_assertion", f.assertion(clientID, nil))
	return form
}

// par pushes an ordinary request that was changed.
func (f *fapi) par(clientID string, change url.Values, header http.Header) (int, map[string]any) {
	f.t.Helper()
	form := authorize(clientID, "openid")
	for name, v := range change {
		if form[name] = v; v == nil {
			form.Del(name)
		}
	}
	if form.Get("client_assertion") == "" {
		form = f.as(clientID, form)
	}
	status, _, answer := f.call("ext/par/request", form, header)
	return status, answer
}

// code goes through the browser with a pushed request.
func (f *fapi) code(clientID string, change url.Values, header http.Header) string {
	f.t.Helper()
	status, answer := f.par(clientID, change, header)
	if status != http.StatusCreated {
		f.t.Fatalf("pushed: %d %v", status, answer)
	}
	p := f.visit(clientID, answer["request_uri"])
	if p.location == nil || p.location.Query().Get("code") == "" {
		f.t.Fatalf("no code: %d %v\n%s", p.status, p.location, p.body)
	}
	return p.location.Query().Get("code")
}

// visit is the browser, which accepts what it is asked.
func (f *fapi) visit(clientID string, uri any) page {
	f.t.Helper()
	p := f.b.ask(url.Values{"client_id": {clientID}, "request_uri": {uri.(string)}})
	if p.status == http.StatusOK && strings.Contains(p.body, "kc-form-login") {
		p = f.b.submit(p, "alice", "pw")
	}
	if asksConsent(p) {
		p = f.b.answer(p, "accept")
	}
	return p
}

// token asks with a proof of the client's current key, or what change has.
func (f *fapi) token(clientID string, form url.Values, change func(url.Values, http.Header)) (int, http.Header, map[string]any) {
	f.t.Helper()
	form = f.as(clientID, form)
	header := http.Header{"Dpop": {f.proof.proof(http.MethodPost, "token", nil)}}
	if change != nil {
		change(form, header)
	}
	return f.call("token", form, header)
}

func codeForm(code string) url.Values {
	return url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {callback}, "code_verifier": {verifier}}
}

// userinfo asks with the scheme as it is written.
func (f *fapi) userinfo(scheme string, token any, change map[string]any) int {
	f.t.Helper()
	req, err := http.NewRequestWithContext(f.t.Context(), http.MethodGet, f.oidc("userinfo"), nil)
	if err != nil {
		f.t.Fatal(err)
	}
	req.Header.Set("Authorization", scheme+" "+token.(string))
	all := map[string]any{"ath": hashOf(token.(string))}
	maps.Copy(all, change)
	req.Header.Set("DPoP", f.proof.proof(http.MethodGet, "userinfo", all))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

// TestFAPI2HappyFlow also with a DPoP scheme in another case
// (access-token-type-header-case-sensitivity), proofs that have nbf and exp
// (check-dpop-proof-nbf-exp), and an iat ten seconds off.
func TestFAPI2HappyFlow(t *testing.T) {
	t.Parallel()
	f := newFAPI(t)
	status, header, tokens := f.token("fapi", codeForm(f.code("fapi", nil, nil)), nil)
	if status != http.StatusOK || tokens["token_type"] != "DPoP" || tokens["id_token"] == nil || !strings.Contains(header.Get("Cache-Control"), "no-store") {
		t.Fatalf("%d %v", status, tokens)
	}
	for name, tt := range map[string]struct {
		scheme string
		change map[string]any
		want   int
	}{
		"plain":                   {"DPoP", nil, 200},
		"case":                    {"dPOp", nil, 200},
		"nbf and exp":             {"DPoP", map[string]any{"nbf": f.now().Unix(), "exp": f.now().Unix() + 300}, 200},
		"iat ten seconds before":  {"DPoP", map[string]any{"iat": f.now().Unix() - 10}, 200},
		"iat ten seconds after":   {"DPoP", map[string]any{"iat": f.now().Unix() + 10}, 200},
		"htu with a query":        {"DPoP", map[string]any{"htu": f.oidc("userinfo") + "?a=b#c"}, 200},
		"as a bearer token":       {"Bearer", nil, 401},
		"iat an hour before":      {"DPoP", map[string]any{"iat": f.now().Unix() - 3600}, 401},
		"iat an hour after":       {"DPoP", map[string]any{"iat": f.now().Unix() + 3600}, 401},
		"htu of another endpoint": {"DPoP", map[string]any{"htu": f.oidc("token")}, 401},
		"htm of another method":   {"DPoP", map[string]any{"htm": "PUT"}, 401},
		"another token's hash":    {"DPoP", map[string]any{"ath": hashOf("x")}, 401},
	} {
		if got := f.userinfo(tt.scheme, tokens["access_token"], tt.change); got != tt.want {
			t.Errorf("%s: %d, want %d", name, got, tt.want)
		}
	}
	if id := claimsOf(t, tokens["id_token"]); id["nonce"] != "n" || id["aud"] != "fapi" {
		t.Errorf("ID token: %v", id)
	}
}

// TestFAPI2PushedRequests: what may be pushed, and what may not.
func TestFAPI2PushedRequests(t *testing.T) {
	t.Parallel()
	f := newFAPI(t)
	realm := f.base + "/realms/demo"
	with := func(aud any) url.Values {
		return url.Values{
			"client_assertion_type": {oauth.AssertionJWT}, "client_assertion": {f.assertion("fapi", map[string]any{"aud": aud})},
		}
	}
	other := newProver(f.server)
	proof := http.Header{"Dpop": {f.proof.proof(http.MethodPost, "ext/par/request", nil)}}
	for module, tt := range map[string]struct {
		change url.Values
		header http.Header
		errors []string
	}{
		"par-test-token-endpoint-as-audience-fails":             {with(realm + "/protocol/openid-connect/token"), nil, []string{"invalid_client"}},
		"par-test-par-endpoint-as-audience-fails":               {with(realm + "/protocol/openid-connect/ext/par/request"), nil, []string{"invalid_client"}},
		"par-test-array-as-audience-fails":                      {with([]string{realm, "https://other.example"}), nil, []string{"invalid_client"}},
		"an array of the issuer alone (§5.3.2.1)":               {with([]string{realm}), nil, []string{"invalid_client"}},
		"par-ensure-pkce-required":                              {url.Values{"code_challenge": nil, "code_challenge_method": nil}, nil, []string{"invalid_request"}},
		"par-ensure-plain-pkce-rejected":                        {url.Values{"code_challenge": {verifier}, "code_challenge_method": {"plain"}}, nil, []string{"invalid_request"}},
		"par-authorization-request-containing-request_uri-form": {url.Values{"request_uri": {"https://a.example/"}}, nil, []string{"invalid_request"}},
		"ensure-registered-redirect-uri":                        {url.Values{"redirect_uri": {callback + "x"}}, nil, []string{"invalid_request"}},
		"ensure-redirect-uri-in-authorization-request":          {url.Values{"redirect_uri": nil}, nil, []string{"invalid_request"}},
		"ensure-response-type-code-idtoken-fails":               {url.Values{"response_type": {"code id_token"}}, nil, []string{"unsupported_response_type", "invalid_request"}},
		"ensure-response-type-token-fails":                      {url.Values{"response_type": {"token"}}, nil, []string{"unsupported_response_type", "invalid_request"}},
		"ensure-mismatched-dpop-jkt-fails":                      {url.Values{"dpop_jkt": {other.thumbprint()}}, proof, []string{"invalid_dpop_proof"}},
		"a broken proof":                                        {nil, http.Header{"Dpop": {other.proof(http.MethodPost, "token", nil)}}, []string{"invalid_dpop_proof"}},
	} {
		status, answer := f.par("fapi", tt.change, tt.header)
		said, _ := answer["error"].(string)
		if status != http.StatusBadRequest && status != http.StatusUnauthorized || !slices.Contains(tt.errors, said) {
			t.Errorf("%s: %d %v", module, status, answer)
		}
	}
	for module, change := range map[string]url.Values{
		"ensure-authorization-request-with-64-char-nonce-success": {"nonce": {strings.Repeat("n", 64)}},
		"ensure-authorization-request-with-long-nonce":            {"nonce": {strings.Repeat("n", 384)}},
		"ensure-authorization-request-with-long-state":            {"state": {strings.Repeat("s", 1000)}},
		"ensure-authorization-request-without-nonce-success":      {"nonce": nil},
		"ensure-authorization-request-without-state-success":      {"state": nil},
		"ensure-other-scope-order-succeeds":                       {"scope": {"email openid"}},
	} {
		status, _, tokens := f.token("fapi", codeForm(f.code("fapi", change, nil)), nil)
		if status != http.StatusOK {
			t.Errorf("%s: %d %v", module, status, tokens)
		}
		if nonce := claimsOf(t, tokens["id_token"])["nonce"]; change["nonce"] != nil && nonce != change.Get("nonce") {
			t.Errorf("%s: nonce %v", module, nonce)
		}
	}
	req := httptest.NewRequest(http.MethodPut, f.oidc("ext/par/request"), nil)
	w := httptest.NewRecorder()
	f.iss.Handler().ServeHTTP(w, req)
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("par-attempt-invalid-http-method: %d", w.Code)
	}
	if got := outcome(f.server, f.b.ask(authorize("fapi", "openid")), "s"); !strings.HasPrefix(got, "invalid_request:") {
		t.Errorf("ensure-unsigned-authorization-request-without-using-par-fails: %q", got)
	}
}

// TestFAPI2RequestURIs: a request_uri may be visited until its code is made, not
// after, and not when it is too old.
func TestFAPI2RequestURIs(t *testing.T) {
	t.Parallel()
	f := newFAPI(t)
	_, answer := f.par("fapi", nil, nil)
	uri := answer["request_uri"]
	f.b.ask(url.Values{"client_id": {"fapi"}, "request_uri": {uri.(string)}})
	if p := f.visit("fapi", uri); p.location == nil || p.location.Query().Get("code") == "" {
		t.Errorf("par-ensure-reused-request-uri-prior-to-auth-completion-succeeds: %d\n%s", p.status, p.body)
	}
	if p := f.visit("fapi", uri); p.location != nil && p.location.Query().Get("code") != "" || p.location == nil && p.status < 400 {
		t.Errorf("par-attempt-reuse-request_uri: %d %v", p.status, p.location)
	}
	_, answer = f.par("fapi", nil, nil)
	if life := answer["expires_in"].(float64); life < 5 || life >= 600 {
		t.Errorf("expires_in %v (FAPI 2.0 §5.3.2.2)", life)
	}
	f.clock.Add(int64(time.Minute))
	if p := f.visit("fapi", answer["request_uri"]); p.location != nil && p.location.Query().Get("code") != "" || p.status < 400 {
		t.Errorf("par-attempt-to-use-expired-request_uri: %d %v", p.status, p.location)
	}
	_, answer = f.par("fapi", nil, nil)
	if p := f.visit("fapi2", answer["request_uri"]); p.location != nil || p.status < 400 {
		t.Errorf("another client's: %d %v", p.status, p.location)
	}
}

// TestFAPI2TokenRequests: what the token endpoint takes for a code.
func TestFAPI2TokenRequests(t *testing.T) {
	t.Parallel()
	f := newFAPI(t)
	other := newProver(f.server)
	bound := http.Header{"Dpop": {f.proof.proof(http.MethodPost, "ext/par/request", nil)}}
	set := func(name, value string) func(url.Values, http.Header) {
		return func(form url.Values, _ http.Header) { form.Set(name, value) }
	}
	for module, tt := range map[string]struct {
		push   url.Values
		header http.Header
		change func(url.Values, http.Header)
		status []int
		errors []string
	}{
		"ensure-dpop-auth-code-binding-success":              {url.Values{"dpop_jkt": {f.proof.thumbprint()}}, nil, nil, []int{200}, nil},
		"ensure-dpopproof-at-par-endpoint-binding-success":   {nil, bound, nil, []int{200}, nil},
		"ensure-token-endpoint-fails-with-mismatched-...jkt": {url.Values{"dpop_jkt": {other.thumbprint()}}, nil, nil, []int{400}, []string{"invalid_dpop_proof", "invalid_grant", "invalid_request"}},
		"...-with-mismatched-dpop-proof-jkt": {nil, http.Header{"Dpop": {f.proof.proof(http.MethodPost, "ext/par/request", nil)}}, func(_ url.Values, h http.Header) {
			h.Set("DPoP", other.proof(http.MethodPost, "token", nil))
		}, []int{400}, []string{"invalid_dpop_proof", "invalid_grant", "invalid_request"}},
		"ensure-holder-of-key-required":                    {nil, nil, func(_ url.Values, h http.Header) { h.Del("DPoP") }, []int{400}, []string{"invalid_dpop_proof", "invalid_request"}},
		"par-ensure-pkce-code-verifier-required":           {nil, nil, func(form url.Values, _ http.Header) { form.Del("code_verifier") }, []int{400}, []string{"invalid_grant", "invalid_request"}},
		"par-ensure-incorrect-pkce-code-verifier-rejected": {nil, nil, set("code_verifier", strings.Repeat("x", 43)), []int{400}, []string{"invalid_grant", "invalid_request"}},
		"ensure-authorization-code-is-bound-to-client":     {nil, nil, set("client_assertion", f.assertion("fapi2", nil)), []int{400}, []string{"invalid_grant"}},
		"ensure-client-id-in-token-endpoint":               {nil, nil, set("client_id", "fapi2"), []int{400, 401}, []string{"invalid_client", "invalid_grant"}},
		"ensure-client-assertion-in-token-endpoint":        {nil, nil, func(form url.Values, _ http.Header) { form.Del("client_assertion"); form.Del("client_assertion_type") }, []int{400, 401}, []string{"invalid_client", "invalid_request"}},
		"ensure-client-assertion-with-exp-5-minutes-past":  {nil, nil, set("client_assertion", f.assertion("fapi", map[string]any{"exp": f.now().Unix() - 300})), []int{400, 401}, []string{"invalid_client", "invalid_request"}},
		"ensure-client-assertion-with-wrong-aud-fails":     {nil, nil, set("client_assertion", f.assertion("fapi", map[string]any{"aud": "https://other.example"})), []int{400, 401}, []string{"invalid_client", "invalid_request"}},
		"ensure-client-assertion-with-no-sub-fails":        {nil, nil, set("client_assertion", f.assertion("fapi", map[string]any{"sub": nil})), []int{400, 401}, []string{"invalid_client", "invalid_request"}},
		"ensure-client-assertion-with-the-token-endpoint":  {nil, nil, set("client_assertion", f.assertion("fapi", map[string]any{"aud": f.oidc("token")})), []int{400, 401}, []string{"invalid_client", "invalid_request"}},
		"ensure-authorization-code-with-another-redirect":  {nil, nil, set("redirect_uri", callback+"?dummy1=lorem&dummy2=ipsum"), []int{400}, []string{"invalid_grant"}},
		"ensure-token-endpoint-fails-with-expired-authcode": {nil, nil, func(form url.Values, h http.Header) {
			f.clock.Add(int64(62 * time.Second))
			h.Set("DPoP", f.proof.proof(http.MethodPost, "token", nil))
			form.Set("client_assertion", f.assertion("fapi", nil))
		}, []int{400}, []string{"invalid_grant"}},
	} {
		if tt.header != nil { // the clock may have gone on
			tt.header = http.Header{"Dpop": {f.proof.proof(http.MethodPost, "ext/par/request", nil)}}
		}
		code := f.code("fapi", tt.push, tt.header)
		change := tt.change
		if strings.HasPrefix(module, "ensure-client-assertion-with-exp") { // relative to now
			change = set("client_assertion", f.assertion("fapi", map[string]any{"exp": f.now().Unix() - 300}))
		}
		status, _, answer := f.token("fapi", codeForm(code), change)
		said, _ := answer["error"].(string)
		if !slices.Contains(tt.status, status) || tt.errors != nil && !slices.Contains(tt.errors, said) {
			t.Errorf("%s: %d %v", module, status, answer)
		}
	}
}

// TestFAPI2CodeReuse (attempt-reuse-authorization-code-after-one-second).
func TestFAPI2CodeReuse(t *testing.T) {
	t.Parallel()
	f := newFAPI(t)
	code := f.code("fapi", nil, nil)
	_, _, tokens := f.token("fapi", codeForm(code), nil)
	if got := f.userinfo("DPoP", tokens["access_token"], nil); got != http.StatusOK {
		t.Fatalf("before: %d", got)
	}
	f.clock.Add(int64(time.Second))
	if status, _, answer := f.token("fapi", codeForm(code), nil); status != http.StatusBadRequest || answer["error"] != "invalid_grant" {
		t.Errorf("again: %d %v", status, answer)
	}
	if got := f.userinfo("DPoP", tokens["access_token"], nil); got != http.StatusUnauthorized {
		t.Errorf("what the first use minted: %d", got)
	}
}

// TestFAPI2RefreshTokens (refresh-token): a lost answer costs nothing, another
// key may be used by a confidential client, and no other client can use it.
func TestFAPI2RefreshTokens(t *testing.T) {
	t.Parallel()
	f := newFAPI(t)
	_, _, tokens := f.token("fapi", codeForm(f.code("fapi", nil, nil)), nil)
	first := tokens["refresh_token"].(string)
	refresh := func(clientID, token string, change func(url.Values, http.Header)) (int, map[string]any) {
		status, _, answer := f.token(clientID, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}, change)
		return status, answer
	}
	f.clock.Add(int64(time.Second))
	f.proof = newProver(f.server)
	status, second := refresh("fapi", first, nil)
	if status != http.StatusOK || second["token_type"] != "DPoP" || f.userinfo("DPoP", second["access_token"], nil) != http.StatusOK {
		t.Fatalf("refreshed: %d %v", status, second)
	}
	was, is := claimsOf(t, tokens["id_token"]), claimsOf(t, second["id_token"])
	for _, name := range []string{"iss", "sub", "aud", "azp", "auth_time", "sid"} { // OpenID Connect Core §12.2
		if was[name] != is[name] {
			t.Errorf("%s was %v, is %v", name, was[name], is[name])
		}
	}
	for _, after := range []time.Duration{30 * time.Second, 25 * time.Minute, 25 * time.Minute} { // FAPI 2.0 §5.3.2.1-9: the answer was lost
		f.clock.Add(int64(after))
		if status, answer := refresh("fapi", second["refresh_token"].(string), nil); status != http.StatusOK {
			t.Fatalf("the one before, %v later: %d %v", after, status, answer)
		} else if after > time.Minute {
			second = answer
		}
	}
	last := second["refresh_token"].(string)
	if status, answer := refresh("fapi", last, func(_ url.Values, h http.Header) { h.Del("DPoP") }); status != http.StatusBadRequest || answer["error"] != "invalid_dpop_proof" {
		t.Errorf("without a proof: %d %v", status, answer)
	}
	if status, answer := refresh("fapi", last, func(form url.Values, _ http.Header) { form.Del("client_assertion"); form.Del("client_assertion_type") }); status != http.StatusUnauthorized || answer["error"] != "invalid_client" {
		t.Errorf("without authentication: %d %v", status, answer)
	}
	if status, answer := refresh("fapi2", last, nil); status != http.StatusBadRequest || answer["error"] != "invalid_grant" {
		t.Errorf("by another client: %d %v", status, answer)
	}
	if status, answer := refresh("fapi", last, nil); status != http.StatusOK {
		t.Errorf("at the end: %d %v", status, answer)
	}
}

// TestFAPI2UserRejects (user-rejects-authentication), also with a redirect URI
// that has a query.
func TestFAPI2UserRejects(t *testing.T) {
	t.Parallel()
	f := newFAPI(t)
	for _, redirect := range []string{callback, callback + "?dummy1=lorem&dummy2=ipsum"} {
		_, answer := f.par("fapi", url.Values{"redirect_uri": {redirect}, "prompt": {"consent"}, "state": {strings.Repeat("s", 128)}}, nil)
		p := f.b.ask(url.Values{"client_id": {"fapi"}, "request_uri": {answer["request_uri"].(string)}})
		if strings.Contains(p.body, "kc-form-login") {
			p = f.b.submit(p, "alice", "pw")
		}
		p = f.b.answer(p, "cancel")
		if p.location == nil {
			t.Fatalf("%s: %d\n%s", redirect, p.status, p.body)
		}
		got := p.location.Query()
		want := url.Values{"error": {"access_denied"}, "state": {strings.Repeat("s", 128)}, "iss": {f.base + "/realms/demo"}}
		if strings.Contains(redirect, "?") {
			want.Set("dummy1", "lorem")
			want.Set("dummy2", "ipsum")
		}
		got.Del("error_description")
		if got.Encode() != want.Encode() {
			t.Errorf("%s: %v, want %v", redirect, got, want)
		}
	}
}

// TestFAPI2Clients: a profile that its client cannot keep is refused.
func TestFAPI2Clients(t *testing.T) {
	t.Parallel()
	s := start(t)
	_, jwks := signer(t)
	good := func() issuer.Client {
		return issuer.Client{
			ClientID: "x", ClientAuthenticatorType: "client-jwt", JWKS: jwks, RedirectURIs: []string{callback},
			Attributes: map[string]string{"security.profile": "fapi-2-security-profile", "dpop.bound.access.tokens": "true"},
		}
	}
	for name, change := range map[string]func(*issuer.Realm, *issuer.Client){
		"a secret": func(_ *issuer.Realm, c *issuer.Client) { c.ClientAuthenticatorType, c.Secret = "", "s3cret" },
		"a secret that signs": func(_ *issuer.Realm, c *issuer.Client) {
			c.ClientAuthenticatorType, c.Secret = "client-secret-jwt", longSecret
		},
		"public":               func(_ *issuer.Realm, c *issuer.Client) { c.ClientAuthenticatorType, c.PublicClient = "", true },
		"bearer tokens":        func(_ *issuer.Realm, c *issuer.Client) { delete(c.Attributes, "dpop.bound.access.tokens") },
		"passwords":            func(_ *issuer.Realm, c *issuer.Client) { c.DirectAccessGrantsEnabled = true },
		"RS256 of its own":     func(_ *issuer.Realm, c *issuer.Client) { c.Attributes["id.token.signed.response.alg"] = "RS256" },
		"RS256 of the realm":   func(r *issuer.Realm, _ *issuer.Client) { r.DefaultSignatureAlgorithm = "RS256" },
		"codes of two minutes": func(r *issuer.Realm, _ *issuer.Client) { r.AccessCodeLifespan = 120 },
		"requests of an hour":  func(r *issuer.Realm, _ *issuer.Client) { r.PARRequestURILifespan = 3600 },
		"RS256 to sign with":   func(_ *issuer.Realm, c *issuer.Client) { c.Attributes["token.endpoint.auth.signing.alg"] = "RS256" },
		"another profile":      func(_ *issuer.Realm, c *issuer.Client) { c.Attributes["security.profile"] = "fapi-9" },
		"":                     func(*issuer.Realm, *issuer.Client) {},
	} {
		c := good()
		file := issuer.Realm{Realm: "other"}
		change(&file, &c)
		file.Clients = []issuer.Client{c}
		if err := s.iss.Import(t.Context(), file); (err == nil) != (name == "") {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// hashOf is a proof's ath (RFC 9449 §4.2).
func hashOf(token string) string {
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// TestFAPI2WithCertificates is the same plan with client_auth_type=mtls and
// sender_constrain=mtls, behind a proxy that ends TLS.
func TestFAPI2WithCertificates(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	s := startWith(t, nil, func(c *issuer.Config) {
		c.ClientCAs, c.CertificateHeader, c.TrustedProxies = ca.pool(), issuer.HeaderNGINX, []netip.Prefix{netip.MustParsePrefix("10.0.0.7/32")}
	})
	var clients []issuer.Client
	certs := map[string]string{}
	for _, id := range []string{"mfapi", "mfapi2"} {
		certs[id] = escaped(ca.issue(pkix.Name{CommonName: "x"}, func(c *x509.Certificate) { c.DNSNames = []string{id + ".example.com"} }).Leaf)
		clients = append(clients, issuer.Client{
			ClientID: id, ClientAuthenticatorType: "client-x509", RedirectURIs: []string{callback}, Audience: []string{"rs"},
			Attributes: map[string]string{
				"security.profile": "fapi-2-security-profile", "tls.client.certificate.bound.access.tokens": "true", "tls_client_auth_san_dns": id + ".example.com",
			},
		})
	}
	s.importMore(clients...)
	b := newBrowser(t, s)
	call := func(path, clientID, cert string, form url.Values) (int, map[string]any) {
		form = maps.Clone(form)
		form.Set("client_id", clientID)
		return s.through(trustedPeer, path, form, http.Header{"Ssl-Client-Cert": {cert}})
	}
	code := func() string {
		t.Helper()
		status, answer := call("ext/par/request", "mfapi", certs["mfapi"], authorize("mfapi", "openid"))
		if status != http.StatusCreated {
			t.Fatalf("pushed: %d %v", status, answer)
		}
		p := b.ask(url.Values{"client_id": {"mfapi"}, "request_uri": {answer["request_uri"].(string)}})
		if p.location == nil {
			p = b.submit(p, "alice", "pw")
		}
		return p.location.Query().Get("code")
	}
	status, tokens := call("token", "mfapi", certs["mfapi"], codeForm(code()))
	if status != http.StatusOK || tokens["token_type"] != "Bearer" || claimsOf(t, tokens["access_token"])["cnf"] == nil {
		t.Fatalf("%d %v", status, tokens)
	}
	info := func(cert string) int {
		req := httptest.NewRequest(http.MethodGet, s.oidc("userinfo"), nil)
		req.Header.Set("Authorization", "Bearer "+tokens["access_token"].(string))
		req.Header.Set("Ssl-Client-Cert", cert)
		req.RemoteAddr = trustedPeer
		w := httptest.NewRecorder()
		s.iss.Handler().ServeHTTP(w, req)
		return w.Code
	}
	for name, tt := range map[string]struct {
		cert string
		want int
	}{"its own": {certs["mfapi"], 200}, "another client's": {certs["mfapi2"], 401}, "none": {"", 401}} {
		if got := info(tt.cert); got != tt.want {
			t.Errorf("UserInfo with the certificate %s: %d", name, got)
		}
	}
	for module, tt := range map[string]struct {
		path, clientID, cert string
		form                 url.Values
		errors               []string
	}{
		"ensure-holder-of-key-required":                {"token", "mfapi", "", codeForm(code()), []string{"invalid_client", "invalid_request"}},
		"ensure-client-id-in-token-endpoint":           {"token", "mfapi2", certs["mfapi"], codeForm(code()), []string{"invalid_client", "invalid_grant"}},
		"ensure-authorization-code-is-bound-to-client": {"token", "mfapi2", certs["mfapi2"], codeForm(code()), []string{"invalid_grant"}},
		"a request pushed without a certificate":       {"ext/par/request", "mfapi", "", authorize("mfapi", "openid"), []string{"invalid_client"}},
		"a request pushed by another client":           {"ext/par/request", "mfapi", certs["mfapi2"], authorize("mfapi", "openid"), []string{"invalid_client"}},
		"refresh-token, without a certificate":         {"token", "mfapi", "", refreshForm(tokens), []string{"invalid_client", "invalid_request", "invalid_grant"}},
		"refresh-token, by another client":             {"token", "mfapi2", certs["mfapi2"], refreshForm(tokens), []string{"invalid_grant"}},
	} {
		status, answer := call(tt.path, tt.clientID, tt.cert, tt.form)
		said, _ := answer["error"].(string)
		if status != http.StatusBadRequest && status != http.StatusUnauthorized || !slices.Contains(tt.errors, said) {
			t.Errorf("%s: %d %v", module, status, answer)
		}
	}
	for range 2 {
		if status, answer := call("token", "mfapi", certs["mfapi"], refreshForm(tokens)); status != http.StatusOK {
			t.Errorf("refreshed: %d %v", status, answer)
		}
		s.clock.Add(int64(30 * time.Second))
	}
}

func refreshForm(tokens map[string]any) url.Values {
	return url.Values{"grant_type": {"refresh_token"}, "refresh_token": {tokens["refresh_token"].(string)}}
}
