package issuer_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"html"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tegata/tegata/internal/jose"
	"github.com/tegata/tegata/issuer"
	"github.com/tegata/tegata/issuer/oauth"
)

// The tests of this file are conditions of the OpenID Foundation's plans for
// OpenID providers (Basic, Config, Form Post, RP-Initiated Logout) that are not
// named in others, called as the modules of the suite are. FAPI 2.0 is in
// fapi_test.go, Back- and Front-Channel Logout in channels_test.go.

// op is a provider as the suite wants one: its client gets no claims that it has
// not asked for. OpenID Connect Core §15.1 wants RS256 too, see opRS256, whose key
// takes a while to make.
func op(t *testing.T) (*server, *browser) {
	t.Helper()
	return opSigning(t, "")
}

func opRS256(t *testing.T) (*server, *browser) {
	t.Helper()
	return opSigning(t, "RS256")
}

func opSigning(t *testing.T, alg string) (*server, *browser) {
	t.Helper()
	s := start(t)
	file := demoRealm()
	file.DefaultSignatureAlgorithm = alg
	file.Users[0].Attributes = map[string][]string{
		"phoneNumber": {"+81 3 0000 0000"}, "phoneNumberVerified": {"true"}, "street": {"1-1"}, "locality": {"Tokyo"}, "country": {"Japan"},
	}
	for _, id := range []string{"oidf", "oidf2"} {
		file.Clients = append(file.Clients, issuer.Client{
			ClientID: id, Secret: id + "-secret", RedirectURIs: []string{callback}, PostLogoutRedirectURIs: []string{callback + "/out"},
			DefaultClientScopes: []string{}, OptionalClientScopes: []string{"profile", "email", "address", "phone", "offline_access"},
		})
	}
	s.file = file
	if err := s.iss.Import(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	return s, newBrowser(t, s)
}

// request is the suite's, without PKCE, changed.
func request(scope string, change url.Values) url.Values {
	query := authorize("oidf", scope)
	query.Del("code_challenge")
	query.Del("code_challenge_method")
	maps.Copy(query, change)
	return query
}

// redeemed are the tokens that a page's code is good for.
func (s *server) redeemed(t *testing.T, p page) map[string]any {
	t.Helper()
	if p.location == nil || p.location.Query().Get("code") == "" {
		t.Fatalf("no code: %d %v\n%s", p.status, p.location, p.body)
	}
	status, answer := s.post("token", "oidf", "oidf-secret", oidfCode(p.location.Query().Get("code")))
	if status != http.StatusOK {
		t.Fatalf("not redeemed: %d %v", status, answer)
	}
	return answer
}

func oidfCode(code string) url.Values {
	return url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {callback}}
}

// info is UserInfo's answer to a request.
func (s *server) info(t *testing.T, method string, token any, how string) (int, map[string]any) {
	t.Helper()
	form := url.Values{}
	header := http.Header{}
	if how == "body" {
		form.Set("access_token", token.(string))
	} else {
		header.Set("Authorization", "Bearer "+token.(string))
	}
	req := httptest.NewRequest(method, s.oidc("userinfo"), strings.NewReader(form.Encode()))
	req.Header = header
	if how == "body" {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	w := httptest.NewRecorder()
	s.iss.Handler().ServeHTTP(w, req)
	var answer map[string]any
	_ = json.Unmarshal(w.Body.Bytes(), &answer)
	return w.Code, answer
}

// TestOIDCCServer (oidcc-server, oidcc-idtoken-signature,
// oidcc-server-client-secret-post, oidcc-userinfo-*).
func TestOIDCCServer(t *testing.T) {
	t.Parallel()
	s, b := opRS256(t)
	p := b.submit(b.ask(request("openid", nil)), "alice", "pw")
	code := p.location.Query().Get("code")
	if len(code) < 22 { // 128 bits
		t.Errorf("code %q", code)
	}
	form := oidfCode(code)
	form.Set("client_id", "oidf")
	form.Set("client_secret", "oidf-secret") // client_secret_post
	status, header, tokens := s.call("token", form, nil)
	if status != http.StatusOK || tokens["token_type"] != "Bearer" || tokens["expires_in"] == nil ||
		header.Get("Content-Type") != "application/json" || !strings.Contains(header.Get("Cache-Control"), "no-store") {
		t.Fatalf("%d %v %v", status, header, tokens)
	}
	id := claimsOf(t, tokens["id_token"])
	var names []string
	for name := range id {
		names = append(names, name)
	}
	slices.Sort(names)
	// No claim about the person that nobody asked for. typ is Keycloak's, rev ours.
	want := []string{"acr", "at_hash", "aud", "auth_time", "azp", "exp", "iat", "iss", "jti", "nonce", "rev", "sid", "sub", "typ"}
	if !slices.Equal(names, want) {
		t.Errorf("ID token has %v, want %v", names, want)
	}
	sum := sha256.Sum256([]byte(tokens["access_token"].(string)))
	if id["iss"] != s.base+"/realms/demo" || id["aud"] != "oidf" || id["nonce"] != "n" || id["at_hash"] != base64.RawURLEncoding.EncodeToString(sum[:16]) {
		t.Errorf("ID token %v", id)
	}
	if h, err := jose.ParseHeader(tokens["id_token"].(string)); err != nil || h.Algorithm != jose.RS256 || h.KeyID == "" {
		t.Errorf("header %+v, %v", h, err)
	}
	for name, how := range map[string][2]string{
		"oidcc-userinfo-get": {http.MethodGet, "header"}, "oidcc-userinfo-post-header": {http.MethodPost, "header"}, "oidcc-userinfo-post-body": {http.MethodPost, "body"},
	} {
		if status, answer := s.info(t, how[0], tokens["access_token"], how[1]); status != http.StatusOK || len(answer) != 1 || answer["sub"] != id["sub"] {
			t.Errorf("%s: %d %v", name, status, answer)
		}
	}
}

// TestOIDCCScopes (oidcc-scope-*, oidcc-ensure-other-scope-order-succeeds).
func TestOIDCCScopes(t *testing.T) {
	t.Parallel()
	s, b := op(t)
	b.submit(b.ask(request("openid", nil)), "alice", "pw")
	for scope, want := range map[string][]string{
		"openid profile":                     {"name", "given_name", "family_name", "preferred_username"},
		"openid email":                       {"email", "email_verified"},
		"email openid":                       {"email", "email_verified"},
		"openid address":                     {"address"},
		"openid phone":                       {"phone_number", "phone_number_verified"},
		"openid email phone address profile": {"name", "email", "address", "phone_number"},
	} {
		tokens := s.redeemed(t, b.ask(request(scope, nil)))
		status, answer := s.info(t, http.MethodGet, tokens["access_token"], "header")
		for _, name := range want {
			if answer[name] == nil {
				t.Errorf("%s: %d %v lacks %s", scope, status, answer, name)
			}
		}
		if v, ok := answer["phone_number_verified"].(bool); answer["phone_number"] != nil && (!ok || !v) {
			t.Errorf("%s: phone_number_verified %v", scope, answer["phone_number_verified"])
		}
		if _, ok := answer["address"].(map[string]any); answer["address"] != nil && !ok {
			t.Errorf("%s: address %v", scope, answer["address"])
		}
	}
}

// TestOIDCCParameters: what a request may say without being refused
// (oidcc-ensure-request-with-unknown-parameter-succeeds, oidcc-display-*,
// oidcc-login-hint, oidcc-ui-locales, oidcc-claims-locales,
// oidcc-ensure-request-with-acr-values-succeeds, oidcc-claims-essential,
// oidcc-ensure-request-without-nonce-succeeds-for-code-flow,
// oidcc-ensure-request-with-valid-pkce-succeeds, oidcc-ensure-post-request-succeeds).
func TestOIDCCParameters(t *testing.T) {
	t.Parallel()
	s, b := op(t)
	b.submit(b.ask(request("openid", nil)), "alice", "pw")
	for name, change := range map[string]url.Values{
		"an unknown one":   {"extra": {"foobar"}},
		"display=page":     {"display": {"page"}},
		"display=popup":    {"display": {"popup"}},
		"login_hint":       {"login_hint": {"bob@example.com"}},
		"ui_locales":       {"ui_locales": {"se en"}},
		"claims_locales":   {"claims_locales": {"se en"}},
		"acr_values":       {"acr_values": {"1 2"}},
		"essential claims": {"claims": {`{"userinfo":{"name":{"essential":true}}}`}},
		"no nonce":         {"nonce": nil},
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			query := request("openid", change)
			p := b.ask(query)
			if method == http.MethodPost {
				p = b.do(method, s.oidc("auth"), query)
			}
			nonce := claimsOf(t, s.redeemed(t, p)["id_token"])["nonce"]
			if _, without := change["nonce"]; without != (nonce == nil) {
				t.Errorf("%s, by %s: nonce %v", name, method, nonce)
			}
		}
	}
	fresh := newBrowser(t, s)
	p := fresh.submit(fresh.do(http.MethodPost, s.oidc("auth"), authorize("oidf", "openid")), "alice", "pw")
	form := oidfCode(p.location.Query().Get("code"))
	form.Set("code_verifier", verifier)
	if status, answer := s.post("token", "oidf", "oidf-secret", form); status != http.StatusOK {
		t.Errorf("a POST that asks for a login, with PKCE: %d %v", status, answer)
	}
}

// TestOIDCCHowFresh (oidcc-prompt-*, oidcc-max-age-*, oidcc-id-token-hint):
// auth_time is of the login that counts, and there with max_age.
func TestOIDCCHowFresh(t *testing.T) {
	t.Parallel()
	s, b := op(t)
	if got := outcome(s, b.ask(request("openid", url.Values{"prompt": {"none"}})), "s"); got != "login_required: " {
		t.Errorf("oidcc-prompt-none-not-logged-in: %q", got)
	}
	first := s.redeemed(t, b.submit(b.ask(request("openid", nil)), "alice", "pw"))["id_token"]
	was := claimsOf(t, first)
	same := func(name string, change url.Values) {
		t.Helper()
		is := claimsOf(t, s.redeemed(t, b.ask(request("openid", change)))["id_token"])
		if is["auth_time"] == nil || is["auth_time"] != was["auth_time"] || is["sub"] != was["sub"] {
			t.Errorf("%s: auth_time %v of %v, sub %v of %v", name, is["auth_time"], was["auth_time"], is["sub"], was["sub"])
		}
	}
	later := func(name string, change url.Values) {
		t.Helper()
		s.clock.Add(int64(2 * time.Second))
		p := b.ask(request("openid", change))
		if outcome(s, p, "s") != "login" {
			t.Fatalf("%s: no login: %d %v", name, p.status, p.location)
		}
		is := claimsOf(t, s.redeemed(t, b.submit(p, "alice", "pw"))["id_token"])
		if at, _ := is["auth_time"].(float64); at <= was["auth_time"].(float64) || at > float64(s.now().Unix()) {
			t.Errorf("%s: auth_time %v after %v, now %d", name, is["auth_time"], was["auth_time"], s.now().Unix())
		}
		was = is
	}
	s.clock.Add(int64(2 * time.Second))
	same("oidcc-prompt-none-logged-in", url.Values{"prompt": {"none"}})
	same("oidcc-id-token-hint", url.Values{"prompt": {"none"}, "id_token_hint": {first.(string)}})
	same("oidcc-max-age-10000", url.Values{"max_age": {"10000"}})
	later("oidcc-max-age-1", url.Values{"max_age": {"1"}})
	later("oidcc-prompt-login", url.Values{"prompt": {"login"}})
}

// TestOIDCCCodeReuse (oidcc-codereuse, oidcc-codereuse-30seconds; RFC 6749
// §4.1.2): a second use kills what the first minted.
func TestOIDCCCodeReuse(t *testing.T) {
	t.Parallel()
	s, b := op(t)
	p := b.submit(b.ask(request("openid", nil)), "alice", "pw")
	for _, after := range []time.Duration{0, 30 * time.Second} {
		tokens := s.redeemed(t, p)
		if status, _ := s.info(t, http.MethodGet, tokens["access_token"], "header"); status != http.StatusOK {
			t.Fatalf("before: %d", status)
		}
		s.clock.Add(int64(after))
		status, answer := s.post("token", "oidf", "oidf-secret", oidfCode(p.location.Query().Get("code")))
		if status != http.StatusBadRequest || answer["error"] != "invalid_grant" {
			t.Errorf("after %v: %d %v", after, status, answer)
		}
		if status, _ := s.info(t, http.MethodGet, tokens["access_token"], "header"); status != http.StatusUnauthorized {
			t.Errorf("after %v: UserInfo says %d", after, status)
		}
		b = newBrowser(t, s)
		p = b.submit(b.ask(request("openid", nil)), "alice", "pw")
	}
}

// TestOIDCCRefreshToken (oidcc-refresh-token; OpenID Connect Core §12.2): with
// offline_access, whose consent is asked for.
func TestOIDCCRefreshToken(t *testing.T) {
	t.Parallel()
	s, b := op(t)
	p := b.submit(b.ask(request("openid offline_access", url.Values{"prompt": {"consent"}})), "alice", "pw")
	if !asksConsent(p) {
		t.Fatalf("no consent: %d\n%s", p.status, p.body)
	}
	tokens := s.redeemed(t, b.answer(p, "accept"))
	s.clock.Add(int64(time.Second))
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {tokens["refresh_token"].(string)}, "scope": {"openid offline_access"}}
	status, again := s.post("token", "oidf", "oidf-secret", form)
	if status != http.StatusOK {
		t.Fatalf("%d %v", status, again)
	}
	was, is := claimsOf(t, tokens["id_token"]), claimsOf(t, again["id_token"])
	for _, name := range []string{"iss", "sub", "aud", "azp", "auth_time"} {
		if was[name] == nil || was[name] != is[name] {
			t.Errorf("%s was %v, is %v", name, was[name], is[name])
		}
	}
	if was["iat"] == is["iat"] || tokens["access_token"] == again["access_token"] {
		t.Errorf("iat %v and %v", was["iat"], is["iat"])
	}
	form.Set("refresh_token", again["refresh_token"].(string))
	if status, answer := s.post("token", "oidf2", "oidf2-secret", form); status != http.StatusBadRequest || answer["error"] != "invalid_grant" {
		t.Errorf("by another client: %d %v", status, answer)
	}
}

// TestOIDCCRotatedKeys (oidcc-refresh-token-rp-key-rotation): a client's next
// key at its jwks_uri is good within a minute, and the one before no longer,
// whether it names its keys or not.
func TestOIDCCRotatedKeys(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, named := range []bool{true, false} {
		var serving atomic.Pointer[[]byte]
		web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(*serving.Load()) }))
		t.Cleanup(web.Close)
		turn := func(kid string) jose.Signer {
			key, jwks := signer(t)
			member := jwks["keys"].([]any)[0].(map[string]any)
			key.ID = ""
			delete(member, "kid")
			if named {
				key.ID, member["kid"] = kid, kid
			}
			data, err := json.Marshal(jwks)
			if err != nil {
				t.Fatal(err)
			}
			serving.Store(&data)
			return key
		}
		no := false
		s.importMore(issuer.Client{ClientID: "turning", ClientAuthenticatorType: "client-jwt", JWKSURI: web.URL, ServiceAccountsEnabled: true, StandardFlowEnabled: &no})
		ask := func(key jose.Signer) int {
			f := fapi{server: s, keys: map[string]jose.Signer{"turning": key}}
			status, _ := s.post("token", "", "", f.as("turning", url.Values{"grant_type": {"client_credentials"}}))
			return status
		}
		old := turn("k1")
		if status := ask(old); status != http.StatusOK {
			t.Fatalf("named %v: %d", named, status)
		}
		next := turn("k2")
		s.clock.Add(int64(time.Minute))
		if status := ask(next); status != http.StatusOK {
			t.Errorf("named %v: the next key: %d", named, status)
		}
		if status := ask(old); status == http.StatusOK {
			t.Errorf("named %v: the one before: %d", named, status)
		}
	}
}

// TestOIDCCFormPost (oidcc-formpost-basic-certification-test-plan; OAuth 2.0
// Form Post Response Mode §2): answers and errors alike.
func TestOIDCCFormPost(t *testing.T) {
	t.Parallel()
	s, b := op(t)
	posted := func(p page) url.Values {
		t.Helper()
		if p.status != http.StatusOK || p.location != nil || !strings.Contains(p.body, `method="post"`) || !strings.Contains(p.body, `action="`+callback+`"`) {
			t.Fatalf("no form: %d %v\n%s", p.status, p.location, p.body)
		}
		fields := url.Values{}
		for _, m := range regexp.MustCompile(`name="([^"]*)" value="([^"]*)"`).FindAllStringSubmatch(p.body, -1) {
			fields.Add(m[1], html.UnescapeString(m[2]))
		}
		return fields
	}
	mode := url.Values{"response_mode": {"form_post"}}
	if got := posted(b.ask(request("openid", url.Values{"response_mode": {"form_post"}, "prompt": {"none"}}))); got.Get("error") != "login_required" || got.Get("state") != "s" {
		t.Errorf("an error: %v", got)
	}
	missing := request("openid", mode)
	missing.Del("response_type")
	if got := posted(b.ask(missing)); got.Get("error") != "invalid_request" {
		t.Errorf("oidcc-response-type-missing: %v", got)
	}
	got := posted(b.submit(b.ask(request("openid", mode)), "alice", "pw"))
	if got.Get("state") != "s" || got.Get("iss") != s.base+"/realms/demo" {
		t.Errorf("an answer: %v", got)
	}
	if status, answer := s.post("token", "oidf", "oidf-secret", oidfCode(got.Get("code"))); status != http.StatusOK {
		t.Errorf("its code: %d %v", status, answer)
	}
	if p := b.ask(request("openid", url.Values{"response_mode": {"form_post"}, "redirect_uri": {callback + "x"}})); p.status != http.StatusBadRequest || strings.Contains(p.body, "<form") {
		t.Errorf("a redirect URI that is not registered: %d\n%s", p.status, p.body)
	}
}

// TestOIDCCRequestObjects (oidcc-unsigned-request-object-supported-correctly-or-
// rejected-as-unsupported and its siblings): unsigned ones are announced
// nowhere, and refused; none is ignored.
func TestOIDCCRequestObjects(t *testing.T) {
	t.Parallel()
	s, b := op(t)
	about := s.getJSON("/realms/demo/.well-known/openid-configuration")
	if algs, _ := about["request_object_signing_alg_values_supported"].([]any); len(algs) == 0 || slices.Contains(algs, any("none")) || !slices.Contains(algs, any("RS256")) {
		t.Errorf("request_object_signing_alg_values_supported %v", algs)
	}
	encode := base64.RawURLEncoding.EncodeToString
	unsigned := encode([]byte(`{"alg":"none"}`)) + "." + encode([]byte(`{"client_id":"oidf","response_type":"code","scope":"openid","redirect_uri":"`+callback+`x"}`)) + "."
	for name, change := range map[string]url.Values{
		"by value":     {"request": {unsigned}},
		"by reference": {"request_uri": {"https://rp.example/object"}},
	} {
		got := outcome(s, b.ask(request("openid", change)), "s")
		if want := map[string]string{"by value": "invalid_request_object: ", "by reference": "request_uri_not_supported: "}[name]; got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// schema are the members that the suite knows of metadata: those of RFC 8414, of
// OpenID Connect Discovery and of what has registered more at IANA.
var schema = strings.Fields(`
	issuer authorization_endpoint token_endpoint introspection_endpoint userinfo_endpoint end_session_endpoint jwks_uri grant_types_supported
	acr_values_supported response_types_supported subject_types_supported prompt_values_supported id_token_signing_alg_values_supported
	response_modes_supported token_endpoint_auth_methods_supported token_endpoint_auth_signing_alg_values_supported
	introspection_endpoint_auth_methods_supported introspection_endpoint_auth_signing_alg_values_supported claims_supported claim_types_supported
	claims_parameter_supported scopes_supported request_parameter_supported request_uri_parameter_supported require_request_uri_registration
	request_object_signing_alg_values_supported code_challenge_methods_supported ui_locales_supported
	tls_client_certificate_bound_access_tokens mtls_endpoint_aliases dpop_signing_alg_values_supported backchannel_logout_supported
	backchannel_logout_session_supported frontchannel_logout_supported frontchannel_logout_session_supported revocation_endpoint
	revocation_endpoint_auth_methods_supported revocation_endpoint_auth_signing_alg_values_supported device_authorization_endpoint
	pushed_authorization_request_endpoint require_pushed_authorization_requests authorization_signing_alg_values_supported
	authorization_response_iss_parameter_supported registration_endpoint userinfo_signing_alg_values_supported
	introspection_signing_alg_values_supported authorization_details_types_supported backchannel_authentication_endpoint
	backchannel_token_delivery_modes_supported op_policy_uri op_tos_uri service_documentation`)

// TestOIDCCDiscovery (oidcc-discovery-endpoint-verification, those of logout,
// fapi2-security-profile-final-discovery-end-point-verification).
func TestOIDCCDiscovery(t *testing.T) {
	t.Parallel()
	s, _ := opRS256(t)
	about := s.getJSON("/realms/demo/.well-known/openid-configuration")
	for name := range about {
		if !slices.Contains(schema, name) {
			t.Errorf("a member that nobody knows: %s", name)
		}
		if endpoint, ok := about[name].(string); strings.HasSuffix(name, "_endpoint") && (!ok || !strings.HasPrefix(endpoint, s.base+"/realms/demo/")) {
			t.Errorf("%s %v", name, about[name])
		}
	}
	has := func(name string, values ...string) {
		list, _ := about[name].([]any)
		for _, v := range values {
			if !slices.Contains(list, any(v)) {
				t.Errorf("%s %v lacks %s", name, list, v)
			}
		}
	}
	has("id_token_signing_alg_values_supported", "RS256")
	has("response_types_supported", "code")
	has("subject_types_supported", "public")
	has("grant_types_supported", "authorization_code", "refresh_token")
	has("scopes_supported", "openid", "profile", "email", "address", "phone", "offline_access")
	has("code_challenge_methods_supported", "S256")
	has("token_endpoint_auth_methods_supported", "private_key_jwt", "client_secret_basic", "client_secret_post")
	has("token_endpoint_auth_signing_alg_values_supported", "PS256", "ES256")
	has("dpop_signing_alg_values_supported", "PS256", "ES256")
	for _, name := range []string{
		"backchannel_logout_supported", "backchannel_logout_session_supported", "frontchannel_logout_supported", "frontchannel_logout_session_supported",
		"authorization_response_iss_parameter_supported",
	} {
		if about[name] != true {
			t.Errorf("%s %v", name, about[name])
		}
	}
	keys, _ := s.getJSON("/realms/demo/protocol/openid-connect/certs")["keys"].([]any)
	for _, k := range keys {
		for _, private := range []string{"d", "p", "q", "dp", "dq", "qi", "k"} {
			if k.(map[string]any)[private] != nil {
				t.Errorf("a key has %s", private)
			}
		}
	}
	if len(keys) == 0 {
		t.Error("no keys")
	}
}

// TestOIDCCLogout (oidcc-rp-initiated-logout-*): afterwards nobody is logged in,
// and nobody is sent where he has not asked for.
func TestOIDCCLogout(t *testing.T) {
	t.Parallel()
	const out = callback + "/out"
	for module, tt := range map[string]struct {
		query func(hint string) url.Values
		want  string // where to, or a text of the page
	}{
		"oidcc-rp-initiated-logout": {func(hint string) url.Values {
			return url.Values{"id_token_hint": {hint}, "post_logout_redirect_uri": {out}, "state": {strings.Repeat("x", 128)}}
		}, out + "?state=" + strings.Repeat("x", 128)},
		"...-no-state": {func(hint string) url.Values {
			return url.Values{"id_token_hint": {hint}, "post_logout_redirect_uri": {out}}
		}, out},
		"...-no-post-logout-redirect-uri": {func(hint string) url.Values { return url.Values{"id_token_hint": {hint}, "state": {"x"}} }, "You are logged out"},
		"...-no-params":                   {func(string) url.Values { return url.Values{} }, "kc-logout"},
		"...-only-state":                  {func(string) url.Values { return url.Values{"state": {"x"}} }, "kc-logout"},
		"...-bad-post-logout-redirect-uri": {func(hint string) url.Values {
			return url.Values{"id_token_hint": {hint}, "post_logout_redirect_uri": {out + "x"}}
		}, "Invalid redirect uri"},
		"...-query-added-to-post-logout-redirect-uri": {func(hint string) url.Values {
			return url.Values{"id_token_hint": {hint}, "post_logout_redirect_uri": {out + "?foo=bar"}}
		}, "Invalid redirect uri"},
		"...-no-id-token-hint": {func(string) url.Values { return url.Values{"post_logout_redirect_uri": {out}, "state": {"x"}} }, "Missing parameters: id_token_hint"},
		"...-bad-id-token-hint": {func(hint string) url.Values {
			return url.Values{"id_token_hint": {hint[:len(hint)-8] + "AAAAAAAA"}, "post_logout_redirect_uri": {out}}
		}, "Invalid parameter: id_token_hint"},
		"...-modified-id-token-hint": {func(hint string) url.Values {
			encode := base64.RawURLEncoding.EncodeToString
			return url.Values{"id_token_hint": {encode([]byte(`{"alg":"none"}`)) + "." + strings.Split(hint, ".")[1] + "."}, "post_logout_redirect_uri": {out}}
		}, "Invalid parameter: id_token_hint"},
	} {
		t.Run(module, func(t *testing.T) {
			t.Parallel()
			s, b := op(t)
			hint := s.redeemed(t, b.submit(b.ask(request("openid", nil)), "alice", "pw"))["id_token"].(string)
			p := b.logout(tt.query(hint))
			if strings.HasPrefix(tt.want, "http") {
				if p.location == nil || p.location.String() != tt.want {
					t.Errorf("%d %v\n%s", p.status, p.location, p.body)
				}
			} else if p.location != nil || !strings.Contains(p.body, tt.want) {
				t.Errorf("%d %v, want a page with %q\n%s", p.status, p.location, tt.want, p.body)
			}
			if tt.want == "kc-logout" { // the person is asked first (§2)
				action, state := b.form(p)
				if p = b.do(http.MethodPost, action, url.Values{"session_code": {state}, "confirmLogout": {"Logout"}}); p.location != nil || p.status != http.StatusOK {
					t.Errorf("confirmed: %d %v", p.status, p.location)
				}
			}
			got := outcome(s, b.ask(request("openid", url.Values{"prompt": {"none"}})), "s")
			ended := strings.HasPrefix(tt.want, "http") || tt.want == "kc-logout" || tt.want == "You are logged out"
			if ended != (got == "login_required: ") {
				t.Errorf("prompt=none afterwards: %q", got)
			}
		})
	}
}

// TestPagesAreFormsWithFixedNames: who drives a browser through them finds the
// same ids in every release, and needs no script.
func TestPagesAreFormsWithFixedNames(t *testing.T) {
	t.Parallel()
	_, b := op(t)
	login := b.ask(request("openid", url.Values{"prompt": {"consent"}}))
	consent := b.submit(login, "alice", "pw")
	broken := b.ask(request("openid", url.Values{"redirect_uri": {"https://evil.example/"}}))
	for name, tt := range map[string]struct {
		p    page
		want []string
	}{
		"login":   {login, []string{`<form id="kc-form-login"`, `id="username" name="username"`, `id="password" name="password"`, `id="kc-login"`, `method="post"`}},
		"consent": {consent, []string{`<form id="kc-form-consent"`, `id="kc-login" name="accept"`, `id="kc-cancel" name="cancel"`, `method="post"`}},
		"error":   {broken, []string{`id="kc-error-message"`, "Invalid parameter: redirect_uri"}},
	} {
		for _, want := range tt.want {
			if !strings.Contains(tt.p.body, want) {
				t.Errorf("%s lacks %s\n%s", name, want, tt.p.body)
			}
		}
		if strings.Contains(tt.p.body, "<script") {
			t.Errorf("%s has a script", name)
		}
	}
}

// TestAssertionsForTheIssuer (oidcc-ensure-client-assertion-with-iss-aud-succeeds),
// and for the endpoints that RFC 7523 §3 and RFC 9126 §2 name.
func TestAssertionsForTheIssuer(t *testing.T) {
	t.Parallel()
	s := start(t)
	key, jwks := signer(t)
	no := false
	s.importMore(issuer.Client{ClientID: "keyed", ClientAuthenticatorType: "client-jwt", JWKS: jwks, ServiceAccountsEnabled: true, StandardFlowEnabled: &no})
	f := fapi{server: s, keys: map[string]jose.Signer{"keyed": key}}
	for _, aud := range []any{s.base + "/realms/demo", s.oidc("token"), s.oidc("ext/par/request"), []string{s.base + "/realms/demo"}} {
		status, answer := s.post("token", "", "", url.Values{
			"grant_type": {"client_credentials"}, "client_assertion_type": {oauth.AssertionJWT}, "client_assertion": {f.assertion("keyed", map[string]any{"aud": aud})},
		})
		if status != http.StatusOK {
			t.Errorf("aud %v: %d %v", aud, status, answer)
		}
	}
}
