package issuer_test

import (
	"crypto/rand"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tegata/tegata/issuer"
	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/revocation"
)

// tv is a device of client "tv".
type tv struct {
	*server
	code, typed string
}

func television() issuer.Client {
	return issuer.Client{
		ClientID: "tv", Name: "Television", PublicClient: true, Audience: []string{"rs"}, DefaultClientScopes: []string{"email"},
		Attributes: map[string]string{"oauth2.device.authorization.grant.enabled": "true"},
	}
}

// newTV is a device that waits.
func newTV(t *testing.T, s *server, scope string) tv {
	t.Helper()
	file := demoRealm()
	file.Clients = append(file.Clients, television())
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
	if p = b.answer(p, "accept"); p.status != http.StatusFound || p.location.String() != s.base+"/realms/demo/device/status" {
		t.Fatalf("accepted: %d %v\n%s", p.status, p.location, p.body)
	}
	if p = b.do(http.MethodGet, p.location.String(), nil); p.status != http.StatusOK || !strings.Contains(p.body, "Device Login Successful") {
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
	if p.location == nil || p.location.String() != s.base+"/realms/demo/device/status?error=access_denied" {
		t.Fatalf("refused: %d %v\n%s", p.status, p.location, p.body)
	}
	if p = b.do(http.MethodGet, p.location.String(), nil); !strings.Contains(p.body, "Device Login Failed") {
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

// TestAnApprovalThatIsTakenBack before the device has asked gives it nothing,
// nor when what ended is there again.
func TestAnApprovalThatIsTakenBack(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		end  func(*server, *session.Sessions, realm.Realm, string) error
		want string
	}{
		"the consent is withdrawn": {func(_ *server, sessions *session.Sessions, r realm.Realm, userID string) error {
			_, err := sessions.EndConsent(t.Context(), r, userID, "tv")
			return err
		}, "invalid_grant: Stale token"},
		"everything of the client is revoked": {func(_ *server, sessions *session.Sessions, r realm.Realm, _ string) error {
			_, err := sessions.EndClient(t.Context(), r, "tv", revocation.ReasonAdmin)
			return err
		}, "invalid_grant: Stale token"},
		"everything of the person is revoked": {func(_ *server, sessions *session.Sessions, r realm.Realm, userID string) error {
			_, err := sessions.EndUser(t.Context(), r, userID, revocation.ReasonAdmin)
			return err
		}, "invalid_grant: Session not active"},
		"the person is disabled": {func(s *server, _ *session.Sessions, _ realm.Realm, _ string) error {
			return s.switchUser(false)
		}, "invalid_grant: Session not active"},
		"the person was disabled for a while": {func(s *server, _ *session.Sessions, _ realm.Realm, _ string) error {
			return errors.Join(s.switchUser(false), s.switchUser(true))
		}, "invalid_grant: Session not active"},
		"the client is disabled": {func(s *server, _ *session.Sessions, _ realm.Realm, _ string) error {
			s.enable("tv", false)
			return nil
		}, "invalid_client: Invalid client or Invalid client credentials"},
		"the client was disabled for a while": {func(s *server, _ *session.Sessions, _ realm.Realm, _ string) error {
			s.enable("tv", false)
			s.enable("tv", true)
			return nil
		}, "invalid_grant: Stale token"},
		"the client may have no devices any more": {func(s *server, _ *session.Sessions, _ realm.Realm, _ string) error {
			s.file.Clients[len(s.file.Clients)-1].Attributes = nil
			return s.iss.Import(t.Context(), s.file)
		}, "invalid_grant: Client not allowed OAuth 2.0 Device Authorization Grant"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			d, b := newTV(t, s, "openid"), newBrowser(t, s)
			if p := b.answer(b.submit(b.enter(d.typed), "alice", "pw"), "accept"); p.location == nil || !strings.HasSuffix(p.location.String(), "/device/status") {
				t.Fatalf("not approved: %d\n%s", p.status, p.body)
			}
			s.file = demoRealm()
			s.file.Clients = append(s.file.Clients, television())
			r, err := realm.New(s.db.Realms(), s.base).ByName(t.Context(), "demo")
			if err != nil {
				t.Fatal(err)
			}
			sessions, err := session.New(session.Config{Store: s.db.Sessions(), Now: s.now, Rand: rand.Reader})
			if err != nil {
				t.Fatal(err)
			}
			alice := claimsOf(t, s.redeem(b.login("app", "alice", "openid"))["access_token"])["sub"].(string)
			if err := tt.end(s, sessions, r, alice); err != nil {
				t.Fatal(err)
			}
			if got, _ := d.poll(); got != tt.want {
				t.Errorf("polled: %q, want %q", got, tt.want)
			}
		})
	}
}

// switchUser disables or enables alice.
func (s *server) switchUser(on bool) error {
	s.file.Users[0].Enabled = &on
	return s.iss.Import(s.t.Context(), s.file)
}
