package issuer_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tegata/tegata/issuer"
)

// tv is a device of client "tv".
type tv struct {
	*server
	code, typed string
}

// newTV is a device that waits.
func newTV(t *testing.T, s *server, scope string) tv {
	t.Helper()
	file := demoRealm()
	file.Clients = append(file.Clients, issuer.Client{
		ClientID: "tv", Name: "Television", PublicClient: true, Audience: []string{"rs"}, DefaultClientScopes: []string{"email"},
		Attributes: map[string]string{"oauth2.device.authorization.grant.enabled": "true"},
	})
	if err := s.iss.Import(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	status, answer := s.post("auth/device", "", "", url.Values{"client_id": {"tv"}, "scope": {scope}})
	if status != http.StatusOK || answer["expires_in"] != float64(600) || answer["interval"] != float64(5) ||
		answer["verification_uri"] != s.base+"/realms/demo/device" {
		t.Fatalf("started: %d %v", status, answer)
	}
	d := tv{s, answer["device_code"].(string), answer["user_code"].(string)}
	if answer["verification_uri_complete"] != s.base+"/realms/demo/device?user_code="+d.typed || len(d.typed) != 9 || d.typed[4] != '-' {
		t.Fatalf("started: %v", answer)
	}
	return d
}

// poll asks, after the interval.
func (d tv) poll() (string, map[string]any) {
	d.t.Helper()
	d.clock.Add(int64(5 * time.Second))
	return d.pollNow("tv")
}

func (d tv) pollNow(clientID string) (string, map[string]any) {
	d.t.Helper()
	_, answer := d.post("token", "", "", url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}, "client_id": {clientID}, "device_code": {d.code},
	})
	if answer["access_token"] != nil {
		return "tokens", answer
	}
	description, _ := answer["error_description"].(string)
	return answer["error"].(string) + ": " + description, answer
}

// enter types a user code.
func (b *browser) enter(code string) page {
	b.t.Helper()
	return b.do(http.MethodPost, b.s.base+"/realms/demo/device", url.Values{"device_user_code": {code}})
}

const (
	pending  = "authorization_pending: The authorization request is still pending"
	notValid = "invalid_grant: Device code not valid"
)

func TestADeviceGetsTokensWhenItsPersonSaysYes(t *testing.T) { // RFC 8628 §3
	t.Parallel()
	s := start(t)
	d, b := newTV(t, s, "openid"), newBrowser(t, s)
	if got, _ := d.poll(); got != pending {
		t.Errorf("before: %q", got)
	}
	if got, _ := d.pollNow("tv"); got != "slow_down: Slow down" { // §3.5
		t.Errorf("at once: %q", got)
	}
	if p := b.do(http.MethodGet, s.base+"/realms/demo/device", nil); p.status != http.StatusOK || !strings.Contains(p.body, `name="device_user_code"`) {
		t.Errorf("page: %d\n%s", p.status, p.body)
	}
	typed := strings.ToLower(strings.Replace(d.typed, "-", " ", 1)) // §6.1
	p := b.submit(b.enter(typed), "alice", "pw")
	if !asksConsent(p) || !strings.Contains(p.body, "Television") || !strings.Contains(p.body, `id="kc-user-code"`) {
		t.Fatalf("no consent page: %d\n%s", p.status, p.body)
	}
	if got, _ := d.poll(); got != pending {
		t.Errorf("before consent: %q", got)
	}
	if p = b.answer(p, "accept"); p.status != http.StatusOK || !strings.Contains(p.body, "Device Login Successful") {
		t.Fatalf("accepted: %d\n%s", p.status, p.body)
	}
	got, tokens := d.poll()
	if got != "tokens" || tokens["scope"] != "openid email" || tokens["id_token"] == nil || !s.active(tokens["access_token"]) {
		t.Fatalf("polled: %q %v", got, tokens)
	}
	_, about := s.post("token/introspect", "rs", "rs-secret", url.Values{"token": {tokens["access_token"].(string)}})
	if about["acr"] != "1" || !strings.HasPrefix(about["jti"].(string), "onrtdg:") {
		t.Errorf("token: %v", about)
	}
	if got, _ = d.poll(); got != notValid {
		t.Errorf("again: %q", got)
	}
	if p = b.enter(d.typed); !strings.Contains(p.body, "Invalid code") {
		t.Errorf("the user code again: %d", p.status)
	}
	// Consent is always asked for: the next device may be a thief's.
	if p = b.enter(newTV(t, s, "openid").typed); !asksConsent(p) {
		t.Errorf("a second device: %d\n%s", p.status, p.body)
	}
}

func TestADeviceLearnsOfARefusal(t *testing.T) { // RFC 8628 §3.5
	t.Parallel()
	s := start(t)
	d, b := newTV(t, s, "openid"), newBrowser(t, s)
	link := b.do(http.MethodGet, s.base+"/realms/demo/device?user_code="+d.typed, nil)
	p := b.answer(b.submit(link, "alice", "pw"), "cancel")
	if p.location != nil || !strings.Contains(p.body, "Device Login Failed") {
		t.Errorf("refused: %d %v\n%s", p.status, p.location, p.body)
	}
	if got, _ := d.poll(); got != "access_denied: The end user denied the authorization request" {
		t.Errorf("polled: %q", got)
	}
}

func TestDevicesThatGetNothing(t *testing.T) {
	t.Parallel()
	s := start(t)
	d, b := newTV(t, s, "openid"), newBrowser(t, s)
	if got, _ := d.pollNow("spa"); got != "invalid_grant: Client not allowed OAuth 2.0 Device Authorization Grant" {
		t.Errorf("another client: %q", got)
	}
	if got, _ := (tv{s, "bogus", ""}).poll(); got != notValid {
		t.Errorf("bogus: %q", got)
	}
	if got, _ := (tv{s, "", ""}).poll(); got != "invalid_request: Missing parameter: device_code" {
		t.Errorf("no code: %q", got)
	}
	for name, tt := range map[string]struct {
		form   url.Values
		status int
		code   string
	}{
		"not enabled":   {url.Values{"client_id": {"spa"}}, 400, "unauthorized_client"},
		"unknown":       {url.Values{"client_id": {"nobody"}}, 401, "invalid_client"},
		"unknown scope": {url.Values{"client_id": {"tv"}, "scope": {"bogus"}}, 400, "invalid_scope"},
	} {
		if status, answer := s.post("auth/device", "", "", tt.form); status != tt.status || answer["error"] != tt.code {
			t.Errorf("%s: %d %v", name, status, answer)
		}
	}
	s.clock.Add(int64(10 * time.Minute))
	if got, _ := d.poll(); got != "expired_token: Device code is expired" {
		t.Errorf("late: %q", got)
	}
	if p := b.enter(d.typed); !strings.Contains(p.body, "Invalid code") {
		t.Errorf("late user code: %d", p.status)
	}
}

func TestUserCodesAreNotGuessed(t *testing.T) { // RFC 8628 §5.1
	t.Parallel()
	s := start(t)
	d, b := newTV(t, s, "openid"), newBrowser(t, s)
	for range 10 {
		b.enter("BBBB-BBBB")
	}
	if p := b.enter(d.typed); !strings.Contains(p.body, "Invalid code") {
		t.Errorf("found after ten wrong ones: %d\n%s", p.status, p.body)
	}
	s.clock.Add(int64(10 * time.Minute))
	if p := b.enter(newTV(t, s, "openid").typed); !strings.Contains(p.body, "kc-form-login") {
		t.Errorf("not found after a while: %d\n%s", p.status, p.body)
	}
}
