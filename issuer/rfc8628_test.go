package issuer_test

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/tegata/tegata/issuer"
)

const deviceGrant = "urn:ietf:params:oauth:grant-type:device_code"

// TestRFC8628 is the Device Authorization Grant.
func TestRFC8628(t *testing.T) {
	prove(t, []rule{
		{"3.1", "a device authorization is asked for by POST", deviceByPost},
		{"3.1", "a confidential client authenticates", atDoor("auth/device", "", url.Values{"client_id": {"tv-secret"}}, 401, "unauthorized_client")},
		{"3.1", "a public client says who it is", atDoor("auth/device", "", url.Values{}, 401, "invalid_client")},
		{"3.1", "a parameter without a value is as if it were not there, an unknown one is ignored", atDoor("auth/device", "", url.Values{"client_id": {"tv"}, "scope": {""}, "x": {"y"}}, 200, "")},
		{"3.1", "a repeated parameter is refused", atDoor("auth/device", "", url.Values{"client_id": {"tv"}, "scope": {"openid", "openid"}}, 400, "invalid_request")},
		{"3.1", "requests are over TLS", tlsRequired},
		{"3.2", "the answer has both codes, the address and the end", by(TestADeviceGetsTokensWhenItsPersonSaysYes)},
		{"3.2", "the answer is JSON that nobody keeps", deviceAnswerIsNotKept},
		{"3.3", "the person is asked, on a page that is not the device's", by(TestADeviceGetsTokensWhenItsPersonSaysYes)},
		{"3.3.1", "with the code in the address the person is asked too, and shown the code", by(TestADeviceLearnsOfARefusal, TestADeviceGetsTokensWhenItsPersonSaysYes)},
		{"3.4", "device_code is required", atDoor("token", "", url.Values{"grant_type": {deviceGrant}, "client_id": {"tv"}}, 400, "invalid_request")},
		{"3.4", "a confidential client authenticates for its tokens", atDoor("token", "", url.Values{"grant_type": {deviceGrant}, "client_id": {"tv-secret"}, "device_code": {"x"}}, 401, "unauthorized_client")},
		{"3.4", "a device code is its client's", deviceCodeOfAnother},
		{"3.5", "authorization_pending, slow_down, access_denied and expired_token", by(TestADeviceGetsTokensWhenItsPersonSaysYes, TestADeviceLearnsOfARefusal, TestDevicesThatGetNothing)},
		{"3.5", "a code gives tokens once", by(TestADeviceGetsTokensWhenItsPersonSaysYes)},
		{"4", "discovery says where", announces("device_authorization_endpoint")},
		{"5.1", "user codes are not found by trying", by(TestUserCodesAreNotGuessed)},
		{"5.2", "device codes cannot be guessed", deviceCodesAreLong},
		{"5.4", "the person sees what is being allowed", by(TestADeviceGetsTokensWhenItsPersonSaysYes)},
		{"6.1", "user codes are read whatever their case and punctuation", by(TestADeviceGetsTokensWhenItsPersonSaysYes)},
	}, device("tv", true), device("tv2", true), device("tv-secret", false))
}

// device is a client of devices.
func device(id string, public bool) issuer.Client {
	c := issuer.Client{
		ClientID: id, PublicClient: public, Audience: []string{"rs"}, DefaultClientScopes: []string{"email"},
		Attributes: map[string]string{"oauth2.device.authorization.grant.enabled": "true"},
	}
	if !public {
		c.Secret = id + "-secret"
	}
	return c
}

func deviceByPost(t *testing.T, s *server) {
	if resp := s.get("auth/device?client_id=tv", nil); resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d", resp.StatusCode)
	}
}

func deviceAnswerIsNotKept(t *testing.T, s *server) {
	_, header, _ := s.call("auth/device", url.Values{"client_id": {"tv"}}, nil)
	if header.Get("Content-Type") != "application/json" || header.Get("Cache-Control") != "no-store" {
		t.Errorf("%v", header)
	}
}

func deviceCodesAreLong(t *testing.T, s *server) {
	_, one := s.post("auth/device", "", "", url.Values{"client_id": {"tv"}})
	_, two := s.post("auth/device", "", "", url.Values{"client_id": {"tv"}})
	code := one["device_code"].(string)
	if len(code) < 22 || code == two["device_code"] || one["user_code"] == two["user_code"] {
		t.Errorf("%v, %v", one, two)
	}
}

func deviceCodeOfAnother(t *testing.T, s *server) {
	_, answer := s.post("auth/device", "", "", url.Values{"client_id": {"tv"}})
	form := url.Values{"grant_type": {deviceGrant}, "client_id": {"tv2"}, "device_code": {answer["device_code"].(string)}}
	if status, refused := s.post("token", "", "", form); status != http.StatusBadRequest || refused["error"] != "invalid_grant" {
		t.Errorf("another client's: %d %v", status, refused)
	}
	own := tv{s, answer["device_code"].(string), ""}
	for range 3 { // another client has not used it up
		if got, _ := own.pollNow("tv"); got != pending && got != "slow_down: Slow down" {
			t.Errorf("its own: %q", got)
		}
	}
}
