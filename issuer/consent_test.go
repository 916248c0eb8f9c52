package issuer_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// answer submits the consent form of a page.
func (b *browser) answer(p page, button string) page {
	b.t.Helper()
	action, state := b.form(p)
	return b.do(http.MethodPost, action, url.Values{"session_code": {state}, button: {"x"}})
}

// asksConsent reports whether p is the consent page.
func asksConsent(p page) bool {
	return p.status == http.StatusOK && strings.Contains(p.body, `id="kc-form-consent"`)
}

func TestConsentIsAskedOnceAndForWhatIsNew(t *testing.T) { // Keycloak 26; OpenID Connect Core §3.1.2.4
	t.Parallel()
	s := start(t)
	b := newBrowser(t, s)
	p := b.submit(b.ask(authorize("careful", "openid")), "alice", "pw")
	if !asksConsent(p) {
		t.Fatalf("no consent page: %d\n%s", p.status, p.body)
	}
	for _, want := range []string{"Careful &amp; Co", `id="scope-email"`, "Email address", `name="accept"`, `name="cancel"`} {
		if !strings.Contains(p.body, want) {
			t.Errorf("page lacks %s:\n%s", want, p.body)
		}
	}
	if strings.Contains(p.body, `id="scope-openid"`) {
		t.Error("openid is shown: it says nothing to a person")
	}
	if p = b.answer(p, "accept"); p.location == nil || p.location.Query().Get("code") == "" {
		t.Fatalf("accepted: %d %v\n%s", p.status, p.location, p.body)
	}
	if b.cookie("AUTH_SESSION_ID") != "" {
		t.Error("the form cookie survived the login")
	}
	status, tokens := s.post("token", "careful", "careful-secret", url.Values{
		"grant_type": {"authorization_code"}, "code": {p.location.Query().Get("code")}, "redirect_uri": {callback}, "code_verifier": {verifier},
	})
	if status != http.StatusOK || tokens["scope"] != "openid email" {
		t.Fatalf("redeemed: %d %v", status, tokens)
	}

	if p = b.ask(authorize("careful", "openid")); p.location == nil || p.location.Query().Get("code") == "" {
		t.Errorf("asked again: %d\n%s", p.status, p.body)
	}
	if p = b.ask(authorize("careful", "openid orders:read")); !asksConsent(p) || !strings.Contains(p.body, "orders:read") {
		t.Errorf("not asked for more: %d\n%s", p.status, p.body)
	}
	again := authorize("careful", "openid")
	again.Set("prompt", "consent")
	if p = b.ask(again); !asksConsent(p) {
		t.Errorf("prompt=consent: %d %v", p.status, p.location)
	}
	if p = newBrowser(t, s).submit(newBrowser(t, s).ask(again), "alice", "pw"); p.location != nil {
		t.Errorf("form of another browser: %d %v", p.status, p.location)
	}
	silent := authorize("careful", "openid orders:read")
	silent.Set("prompt", "none")
	if p = b.ask(silent); outcome(s, p, "s") != "interaction_required: " {
		t.Errorf("prompt=none: %d %v", p.status, p.location)
	}
}

func TestConsentIsAPersonsOwn(t *testing.T) {
	t.Parallel()
	s := start(t)
	b := newBrowser(t, s)
	ask := func(b *browser) page { return b.submit(b.ask(authorize("careful", "openid")), "alice", "pw") }
	p := ask(b)
	action, state := b.form(p)

	if got := outcome(s, b.answer(p, "cancel"), "s"); got != "access_denied: " { // RFC 6749 §4.1.2.1
		t.Errorf("refused: %q", got)
	}
	if p = b.ask(authorize("careful", "openid")); !asksConsent(p) {
		t.Errorf("a refusal was taken for consent: %d %v", p.status, p.location)
	}
	for name, form := range map[string]url.Values{
		"no button":    {"session_code": {state}},
		"both buttons": {"session_code": {state}, "accept": {"Yes"}, "cancel": {"No"}},
	} {
		if got := outcome(s, b.do(http.MethodPost, action, form), "s"); got != "access_denied: " {
			t.Errorf("%s: %q", name, got)
		}
	}
	accept := url.Values{"session_code": {state}, "accept": {"Yes"}}
	other := newBrowser(t, s)
	ask(other)
	if p := other.do(http.MethodPost, action, accept); p.status != http.StatusBadRequest {
		t.Errorf("in another browser: %d %v", p.status, p.location)
	}
	if p := other.do(http.MethodPost, strings.Replace(action, "consent", "authenticate", 1), accept); p.status != http.StatusBadRequest {
		t.Errorf("as a login form: %d", p.status)
	}
	// A new login is a new session, perhaps another person's.
	again := authorize("app", "openid")
	again.Set("prompt", "login")
	b.submit(b.ask(again), "alice", "pw")
	if p := b.do(http.MethodPost, action, accept); p.status != http.StatusBadRequest {
		t.Errorf("in another session: %d %v", p.status, p.location)
	}
}

func TestAWithdrawnConsentEndsWhatTheClientHas(t *testing.T) {
	t.Parallel()
	s := start(t)
	b := newBrowser(t, s)
	p := b.answer(b.submit(b.ask(authorize("careful", "openid")), "alice", "pw"), "accept")
	_, tokens := s.post("token", "careful", "careful-secret", url.Values{
		"grant_type": {"authorization_code"}, "code": {p.location.Query().Get("code")}, "redirect_uri": {callback}, "code_verifier": {verifier},
	})
	mine := s.redeem(b.login("app", "alice", "openid"))
	_, about := s.post("token/introspect", "rs", "rs-secret", url.Values{"token": {tokens["access_token"].(string)}})
	if err := s.iss.WithdrawConsent(t.Context(), "demo", about["sub"].(string), "careful"); err != nil {
		t.Fatal(err)
	}
	if s.active(tokens["access_token"]) || !s.active(mine["access_token"]) {
		t.Error("want the client's tokens dead, and no others")
	}
	status, answer := s.post("token", "careful", "careful-secret", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {tokens["refresh_token"].(string)}})
	if status != http.StatusBadRequest || answer["error_description"] != "Session doesn't have required client" { // Keycloak 26
		t.Errorf("refresh: %d %v", status, answer)
	}
	if p = b.ask(authorize("careful", "openid")); !asksConsent(p) {
		t.Errorf("not asked again: %d %v", p.status, p.location)
	}
}
