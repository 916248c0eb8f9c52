package issuer_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tegata/tegata/internal/jose"
	"github.com/tegata/tegata/issuer"
)

// TestOIDCCore is OpenID Connect Core 1.0 (with errata set 2). What it demands
// of request objects (§6) is proven by TestRFC9101.
func TestOIDCCore(t *testing.T) {
	prove(t, []rule{
		{"2", "an ID token has iss, sub, aud, exp and iat", idTokenClaims},
		{"2", "nonce is there as it was sent, and not if it was not", nonceIsTheRequests},
		{"2", "auth_time is there with max_age", authTimeIsThere},
		{"2", "sub is short, ASCII and nobody else's", idTokenClaims},
		{"2", "it is signed, and not with none", idTokenIsSigned},
		{"2", "nothing is in it that nobody asked for", nothingUnasked},
		{"3.1.2.1", "GET and POST are supported", getAndPost},
		{"3.1.2.1", "without openid there is no ID token", withoutOpenID},
		{"3.1.2.1", "prompt=none shows nothing", by(TestAuthorizationErrors)},
		{"3.1.2.1", "prompt=none is alone", atAuth(url.Values{"prompt": {"none login"}}, "invalid_request: Invalid parameter: prompt")},
		{"3.1.2.1", "prompt=login and max_age ask again", by(TestAuthorizationErrors, TestMaxAgeIsCountedFromTheLogin)},
		{"3.1.2.1", "prompt=consent asks for consent", by(TestConsentIsAskedOnceAndForWhatIsNew)},
		{"3.1.2.1", "id_token_hint is about who logs in, or login_required", by(TestWhoItHasToBe)},
		{"3.1.2.1", "display, ui_locales, claims_locales, login_hint and acr_values are no errors", optionalParameters},
		{"3.1.2.2", "what is not valid goes back as an error", by(TestAuthorizationErrors)},
		{"3.1.2.3", "who is not logged in is asked to, unless prompt=none", by(TestAuthorizationErrors)},
		{"3.1.2.3", "nobody is logged in by another site, or in its frame", by(TestLoginFormIsBoundToItsBrowser, TestLoginFromAnotherSiteIsRefused, TestLoginPageIsKeycloaksAndLockedDown)},
		{"3.1.2.4", "nothing is told of a person who has not agreed", by(TestConsentIsAskedOnceAndForWhatIsNew, TestAPasswordIsNoConsent)},
		{"3.1.2.6", "consent_required with prompt=none", consentRequired},
		{"3.1.2.6", "a bad redirect URI is not followed", by(TestNoOpenRedirect)},
		{"3.1.2.6", "state comes back with an error", atAuth(url.Values{"prompt": {"none"}, "state": {"x y"}}, "login_required: ")},
		{"3.1.3.2", "a code is redeemed by its client, once, with its redirect URI", told("token.txt", "code of another client (RFC 6749 §4.1.3)", "code: used twice (RFC 6749 §4.1.2)", "code without redirect_uri (RFC 6749 §4.1.3)")},
		{"3.1.3.3", "the answer has an ID token, is Bearer and is not kept", told("token.txt", "code: right (RFC 6749 §4.1.4, OpenID Connect Core §3.1.3.3)")},
		{"3.1.3.6", "at_hash is the access token's", by(TestRelyingPartyOfOthers)},
		{"3.1.3.7", "others' clients take the ID token", by(TestRelyingPartyOfOthers)},
		{"5.1", "updated times, addresses and booleans are of their types", claimTypes},
		{"5.3", "UserInfo takes GET and POST, and bearer tokens", told("introspect.txt", "userinfo, header (OpenID Connect Core §5.3)", "userinfo, form (RFC 6750 §2.2)")},
		{"5.3", "pages of the client's origin may read it, no others", by(TestOriginsAtTheDoors)},
		{"5.3.2", "sub is there, and is the ID token's", userinfoIsTheSame},
		{"5.3.2", "it is JSON, or if the client wants a JWT with iss and aud", signedUserinfo},
		{"5.3.3", "errors are RFC 6750's", told("introspect.txt", "userinfo, garbage", "userinfo, with an ID token")},
		{"5.4", "scopes say which claims are in UserInfo", scopesAreClaims},
		{"5.5", "an essential acr is met or refused", by(TestHowSureItHasToBe)},
		{"5.5", "claims that nobody knows are ignored", atAuth(url.Values{"claims": {`{"userinfo":{"x":{"essential":true}},"y":{}}`}}, "login")},
		{"5.5", "claims that are named are told where they are named, with consent", by(TestClaimsAreToldWhereTheyAreNamed, TestNamingAClaimNeedsConsent)},
		{"5.5.1", "a sub that is named is who it has to be", by(TestASubIsWhoItHasToBe)},
		{"5.7", "sub is never given to another, and stays", subStays},
		{"6", "a request object is taken or refused, not ignored", by(TestASignedRequestIsWhatCounts, TestBrokenRequestObjects)},
		{"8.1", "a pairwise sub is one sector's alone, and cannot be told back", by(TestASubjectIsKnownToItsSectorAlone, TestASubjectOfAnotherIsNoSubject)},
		{"9", "client_secret_basic, client_secret_post, client_secret_jwt and private_key_jwt", all(
			told("token.txt", "client credentials, Basic", "client credentials, body, an optional scope (RFC 6749 §2.3.1)"), by(TestClientSecretJWT, TestPrivateKeyJWT))},
		{"10.1", "a token says which key signed it, and the set has it", keySetHasTheKeys},
		{"10.1.1", "keys turn over without a token being refused", tested("keys/retire_test.go", "TestRotationNeverFailsAVerification", "TestTheNextKeyIsPublishedBeforeItSigns")},
		{"11", "offline access is for those who agreed, and outlives the session", by(TestOfflineAccess, TestConsentIsAskedOnceAndForWhatIsNew)},
		{"12.1", "a refresh token is its client's", told("token.txt", "refresh: of another client (RFC 6749 §6)")},
		{"12.2", "a refreshed ID token is about the same login, with a new iat and no other nonce", refreshedIDToken},
		{"15.1", "ID tokens can be signed with RS256", rs256IDToken},
		{"16.11", "tokens are not mixed up: an ID token opens nothing", idTokenIsNoAccessToken},
		{"16.17", "TLS", tlsRequired},
	},
		issuer.Client{
			ClientID: "rs256", Secret: "rs256-secret", RedirectURIs: []string{callback}, DefaultClientScopes: []string{"profile", "email"},
			Attributes: map[string]string{"id.token.signed.response.alg": "RS256", "user.info.response.signature.alg": "RS256"},
		},
		issuer.Client{
			ClientID: "bare", Secret: "bare-secret", RedirectURIs: []string{callback},
			DefaultClientScopes: []string{}, OptionalClientScopes: []string{"profile", "email", "phone", "address"},
		})
}

func idTokenClaims(t *testing.T, s *server) {
	_, claims := s.response(s.tokens(t, "app", "openid")["id_token"].(string))
	now := float64(s.now().Unix())
	sub, _ := claims["sub"].(string)
	if claims["iss"] != s.base+"/realms/demo" || claims["aud"] != "app" || sub == "" || len(sub) > 255 || strings.ContainsFunc(sub, func(r rune) bool { return r > '~' }) ||
		claims["exp"].(float64) <= now || claims["iat"].(float64) > now {
		t.Errorf("%v", claims)
	}
}

func nonceIsTheRequests(t *testing.T, s *server) {
	for _, nonce := range []string{"", "n", `a "b" ü+/=`} {
		query := authorize("app", "openid")
		query.Set("nonce", nonce)
		claims := claimsOf(t, s.redeem(boundCode(t, s, query))["id_token"])
		if got, there := claims["nonce"]; there != (nonce != "") || there && got != nonce {
			t.Errorf("nonce %q: %v", nonce, got)
		}
	}
}

func authTimeIsThere(t *testing.T, s *server) {
	query := authorize("app", "openid")
	query.Set("max_age", "100")
	claims := claimsOf(t, s.redeem(boundCode(t, s, query))["id_token"])
	if at, _ := claims["auth_time"].(float64); time.Since(time.Unix(int64(at), 0)) > time.Minute {
		t.Errorf("auth_time %v", claims["auth_time"])
	}
}

func idTokenIsSigned(t *testing.T, s *server) {
	header, _ := s.response(s.tokens(t, "app", "openid")["id_token"].(string))
	if header.Algorithm != jose.ES256 || header.KeyID == "" {
		t.Errorf("%+v", header)
	}
}

func nothingUnasked(t *testing.T, s *server) {
	claims := claimsOf(t, s.tokens(t, "bare", "openid")["id_token"])
	for _, name := range []string{"name", "given_name", "family_name", "preferred_username", "email", "email_verified", "address", "phone_number"} {
		if v, there := claims[name]; there {
			t.Errorf("%s is %v", name, v)
		}
	}
}

func withoutOpenID(t *testing.T, s *server) {
	if tokens := s.tokens(t, "app", "profile"); tokens["id_token"] != nil || tokens["access_token"] == nil {
		t.Errorf("%v", tokens)
	}
}

func optionalParameters(t *testing.T, s *server) {
	query := authorize("app", "openid")
	for name, value := range map[string]string{
		"display": "touch", "ui_locales": "ja de xx-YY", "claims_locales": "de", "login_hint": "alice", "acr_values": "gold 1", "prompt": "frobnicate",
	} {
		query.Set(name, value)
	}
	p := newBrowser(t, s).ask(query)
	if got := outcome(s, p, "s"); got != "login" || !strings.Contains(p.body, `value="alice"`) {
		t.Errorf("%q", got)
	}
}

func consentRequired(t *testing.T, s *server) {
	b := newBrowser(t, s)
	b.login("app", "alice", "openid")
	query := authorize("careful", "openid")
	query.Set("prompt", "none")
	if got := outcome(s, b.ask(query), "s"); !strings.HasPrefix(got, "consent_required: ") && !strings.HasPrefix(got, "interaction_required: ") {
		t.Errorf("%q", got)
	}
}

// userinfo is what UserInfo says with a token.
func (s *server) userinfo(tokens map[string]any) map[string]any {
	s.t.Helper()
	status, _, answer := s.call("userinfo", url.Values{"access_token": {tokens["access_token"].(string)}}, nil)
	if status != http.StatusOK {
		s.t.Fatalf("userinfo: %d %v", status, answer)
	}
	return answer
}

func claimTypes(t *testing.T, s *server) {
	answer := s.userinfo(s.tokens(t, "app", "openid"))
	if _, ok := answer["email_verified"].(bool); !ok {
		t.Errorf("email_verified %v", answer["email_verified"])
	}
	for name, v := range answer {
		if v == nil || v == "" {
			t.Errorf("%s is %v: it should not be there", name, v)
		}
	}
}

func userinfoIsTheSame(t *testing.T, s *server) {
	tokens := s.tokens(t, "app", "openid")
	if got, want := s.userinfo(tokens)["sub"], claimsOf(t, tokens["id_token"])["sub"]; got != want || got == nil {
		t.Errorf("sub %v, the ID token has %v", got, want)
	}
}

func signedUserinfo(t *testing.T, s *server) {
	plain := s.get("userinfo", bearer(s.tokens(t, "app", "openid")["access_token"]))
	if plain.Header.Get("Content-Type") != "application/json" {
		t.Errorf("plain: %s", plain.Header.Get("Content-Type"))
	}
	signed := s.get("userinfo", bearer(s.tokens(t, "rs256", "openid")["access_token"]))
	if signed.Header.Get("Content-Type") != "application/jwt" {
		t.Fatalf("signed: %d %s", signed.StatusCode, signed.Header.Get("Content-Type"))
	}
	header, claims := s.response(readAll(t, signed))
	if header.Algorithm != jose.RS256 || claims["iss"] != s.base+"/realms/demo" || claims["aud"] != "rs256" || claims["sub"] == nil {
		t.Errorf("%+v %v", header, claims)
	}
}

func scopesAreClaims(t *testing.T, s *server) {
	for scope, want := range map[string][]string{
		"openid":               nil,
		"openid email":         {"email", "email_verified"},
		"openid profile":       {"name", "given_name", "family_name", "preferred_username"},
		"openid email profile": {"email", "email_verified", "name", "given_name", "family_name", "preferred_username"},
	} {
		answer := s.userinfo(s.tokens(t, "bare", scope))
		if len(answer) != len(want)+1 {
			t.Errorf("%s: %v, want %v and sub", scope, answer, want)
		}
		for _, name := range want {
			if answer[name] == nil {
				t.Errorf("%s: no %s", scope, name)
			}
		}
	}
}

func subStays(t *testing.T, s *server) {
	one, two := claimsOf(t, s.tokens(t, "app", "openid")["id_token"])["sub"], claimsOf(t, s.tokens(t, "bare", "openid")["id_token"])["sub"]
	if one != two || one == "alice" || one == "alice@example.com" {
		t.Errorf("sub %v, then %v", one, two)
	}
}

func refreshedIDToken(t *testing.T, _ *server) {
	s := start(t)
	tokens := s.tokens(t, "app", "openid")
	s.clock.Add(int64(time.Minute))
	_, later := s.refreshed("app", tokens, nil)
	before, after := claimsOf(t, tokens["id_token"]), claimsOf(t, later["id_token"])
	for _, name := range []string{"iss", "sub", "aud", "azp", "auth_time", "sid"} {
		if before[name] == nil || before[name] != after[name] {
			t.Errorf("%s was %v, is %v", name, before[name], after[name])
		}
	}
	if after["iat"].(float64) <= before["iat"].(float64) || after["nonce"] != nil && after["nonce"] != before["nonce"] {
		t.Errorf("iat %v, then %v; nonce %v", before["iat"], after["iat"], after["nonce"])
	}
}

func rs256IDToken(t *testing.T, s *server) {
	header, _ := s.response(s.tokens(t, "rs256", "openid")["id_token"].(string))
	if header.Algorithm != jose.RS256 {
		t.Errorf("%+v", header)
	}
}
