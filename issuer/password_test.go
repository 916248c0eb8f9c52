package issuer_test

import (
	"net/http"
	"net/url"
	"testing"
)

// TestGuessingAtTheTokenEndpoint is cut short as at the login page, and the
// right password says no more then than a wrong one.
func TestGuessingAtTheTokenEndpoint(t *testing.T) {
	t.Parallel()
	s := start(t)
	ask := func(password string) (int, map[string]any) {
		return s.post("token", "direct", "direct-secret", url.Values{
			"grant_type": {"password"}, "username": {"alice"}, "password": {password},
		})
	}
	if status, answer := ask("pw"); status != http.StatusOK {
		t.Fatalf("%d %v", status, answer)
	}
	for range 20 {
		ask("bad")
	}
	if status, answer := ask("pw"); status != http.StatusBadRequest || answer["error_description"] != "Invalid user credentials" {
		t.Errorf("after twenty guesses: %d %v", status, answer)
	}
}

// TestAPasswordIsNoConsent (Keycloak 26): a client that has to ask people
// first cannot get round it.
func TestAPasswordIsNoConsent(t *testing.T) {
	t.Parallel()
	s := start(t)
	file := demoRealm()
	for i := range file.Clients {
		if file.Clients[i].ClientID == "direct" {
			file.Clients[i].ConsentRequired = true
		}
	}
	if err := s.iss.Import(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	status, answer := s.post("token", "direct", "direct-secret", url.Values{
		"grant_type": {"password"}, "username": {"alice"}, "password": {"pw"},
	})
	if status != http.StatusBadRequest || answer["error"] != "invalid_client" || answer["error_description"] != "Client requires user consent" {
		t.Errorf("%d %v", status, answer)
	}
}
