package issuer_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tegata/tegata/issuer"
)

// TestHowLongPushedRequestsAndDevicesWait is the realm's to say, as settings or
// as attributes of an export, and of devices also the client's (Keycloak's
// names).
func TestHowLongPushedRequestsAndDevicesWait(t *testing.T) {
	t.Parallel()
	s := start(t)
	file := demoRealm()
	device := map[string]string{"oauth2.device.authorization.grant.enabled": "true"}
	file.Clients = append(
		file.Clients,
		issuer.Client{ClientID: "tv", PublicClient: true, Attributes: device},
		issuer.Client{ClientID: "slow", PublicClient: true, Attributes: map[string]string{
			"oauth2.device.authorization.grant.enabled": "true", "oauth2.device.code.lifespan": "90", "oauth2.device.polling.interval": "30",
		}},
	)
	imported := func() {
		t.Helper()
		if err := s.iss.Import(t.Context(), file); err != nil {
			t.Fatal(err)
		}
	}
	asked := func(clientID string) (life, interval any, code string) {
		_, answer := s.post("auth/device", "", "", url.Values{"client_id": {clientID}})
		return answer["expires_in"], answer["interval"], answer["device_code"].(string)
	}

	file.PARRequestURILifespan, file.DeviceCodeLifespan, file.DevicePollingInterval = 300, 120, 20
	imported()
	if life, interval, _ := asked("slow"); life != 90.0 || interval != 30.0 {
		t.Errorf("a client of its own: %v s, every %v s", life, interval)
	}
	life, interval, code := asked("tv")
	if life != 120.0 || interval != 20.0 {
		t.Errorf("the realm's: %v s, every %v s", life, interval)
	}
	d := tv{s, code, ""}
	for _, step := range []struct {
		after time.Duration
		want  string
	}{
		{time.Second, pending}, {19 * time.Second, "slow_down: Slow down"}, {time.Second, pending}, {99 * time.Second, "expired_token: Device code is expired"},
	} {
		s.clock.Add(int64(step.after))
		if got, _ := d.pollNow("tv"); got != step.want {
			t.Errorf("after %v more: %q, want %q", step.after, got, step.want)
		}
	}

	status, answer := s.push("app", authorize("app", "openid"))
	if status != http.StatusCreated || answer["expires_in"] != 300.0 {
		t.Errorf("pushed: %d %v", status, answer)
	}
	query := url.Values{"client_id": {"app"}, "request_uri": {answer["request_uri"].(string)}}
	s.clock.Add(int64(299 * time.Second))
	if p := newBrowser(t, s).ask(query); p.status != http.StatusOK || !strings.Contains(p.body, "kc-form-login") {
		t.Errorf("in time: %d", p.status)
	}
	s.clock.Add(int64(time.Second))
	if p := newBrowser(t, s).ask(query); p.status != http.StatusBadRequest {
		t.Errorf("too late: %d", p.status)
	}

	file.PARRequestURILifespan, file.DeviceCodeLifespan, file.DevicePollingInterval = 0, 0, 0
	file.Attributes = map[string]string{"parRequestUriLifespan": "30", "oauth2DeviceCodeLifespan": "240", "oauth2DevicePollingInterval": "7"}
	imported()
	if life, interval, _ := asked("tv"); life != 240.0 || interval != 7.0 {
		t.Errorf("by attributes: %v s, every %v s", life, interval)
	}
	if _, answer := s.push("app", authorize("app", "openid")); answer["expires_in"] != 30.0 {
		t.Errorf("pushed, by an attribute: %v", answer)
	}
	for name, value := range map[string]string{"parRequestUriLifespan": "a minute", "bruteForceProtected": "true", "oauth2DeviceCodeLifespan": "-1"} {
		if err := s.iss.Import(t.Context(), issuer.Realm{Realm: "demo", Attributes: map[string]string{name: value}}); err == nil {
			t.Errorf("attribute %s: %q was imported", name, value)
		}
	}
}
