package issuer_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// FuzzDoors holds that whatever is posted to an endpoint that machines ask is
// answered with JSON or nothing, in the protocol's words, gives no token to who
// has not authenticated, and breaks nothing.
func FuzzDoors(f *testing.F) {
	s := start(f)
	s.importMore(service("anon", nil))
	doors := []string{"token", "token/introspect", "revoke", "userinfo", "ext/par/request", "auth/device", "logout"}
	for i, form := range []string{
		"grant_type=client_credentials", "token=x.y.z&token_type_hint=refresh_token&client_id=rs", "token=a&token=b", "access_token=x.y.z",
		authorize("spa", "openid").Encode(), "client_id=spa&scope=openid", "refresh_token=x&client_id=app&client_secret=x",
	} {
		f.Add(byte(i), form, "Basic YXBwOng=", "x.y.z")
	}
	for _, form := range []string{
		"grant_type=refresh_token&refresh_token=eyJhbGciOiJub25lIn0.e30.&client_id=spa", "grant_type=authorization_code&code=%00&client_id=spa",
		"grant_type=urn:ietf:params:oauth:grant-type:device_code&device_code=%ff&client_id=spa", "grant_type=password&username=%00&password=x&client_id=direct",
		"grant_type=client_credentials&client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer&client_assertion=e30.e30.e30",
		"grant_type=urn:ietf:params:oauth:grant-type:token-exchange&subject_token=x&client_id=spa", "grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer&assertion=x&client_id=spa", "%", "a=%zz", "&&==",
	} {
		f.Add(byte(0), form, "", "")
	}
	f.Fuzz(func(t *testing.T, door byte, form, authorization, proof string) {
		req := httptest.NewRequest(http.MethodPost, "/realms/demo/protocol/openid-connect/"+doors[int(door)%len(doors)], strings.NewReader(form))
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		for name, v := range map[string]string{"Authorization": authorization, "DPoP": proof} {
			if v != "" {
				req.Header[name] = []string{v}
			}
		}
		w := httptest.NewRecorder()
		s.iss.Handler().ServeHTTP(w, req)
		if w.Code >= http.StatusInternalServerError {
			t.Fatalf("%s: %d %s", req.URL.Path, w.Code, w.Body)
		}
		if w.Header().Get("Content-Type") != "application/json" {
			return // pages of the logout, and answers without a body
		}
		var answer map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || answer["access_token"] != nil {
			t.Fatalf("%s: %s, %v", req.URL.Path, w.Body, err)
		}
		if text, _ := answer["error_description"].(string); !errorCharacters.MatchString(text) {
			t.Errorf("%s: %q", req.URL.Path, text)
		}
	})
}
