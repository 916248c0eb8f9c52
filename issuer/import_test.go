package issuer_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/tegata/tegata/issuer"
)

func TestImportRefusesWhatCannotBeMeant(t *testing.T) {
	t.Parallel()
	s := start(t)
	tests := []struct {
		name string
		file issuer.Realm
		want string
	}{
		{"no name", issuer.Realm{}, `realm ""`},
		{"a name that is a path", issuer.Realm{Realm: "a/b"}, `realm "a/b"`},
		{"unknown algorithm", issuer.Realm{Realm: "x", DefaultSignatureAlgorithm: "HS256"}, `"HS256"`},
		{"unknown token type", issuer.Realm{Realm: "x", AccessTokenType: "jwt"}, `"jwt"`},
		{"negative lifetime", issuer.Realm{Realm: "x", AccessTokenLifespan: -1}, "negative"},
		{"no client id", issuer.Realm{Realm: "x", Clients: []issuer.Client{{}}}, "clientId"},
		{"a client twice", issuer.Realm{Realm: "x", Clients: []issuer.Client{{ClientID: "a"}, {ClientID: "a"}}}, "client a is there twice"},
		{"public with secret", issuer.Realm{Realm: "x", Clients: []issuer.Client{{ClientID: "a", PublicClient: true, Secret: "s3cret"}}}, "public client a"},
		{"script as redirect", issuer.Realm{Realm: "x", Clients: []issuer.Client{{ClientID: "a", RedirectURIs: []string{"javascript:x"}}}}, "javascript:x"},
		{"no username", issuer.Realm{Realm: "x", Users: []issuer.User{{}}}, "username"},
		{"a user twice", issuer.Realm{Realm: "x", Users: []issuer.User{{Username: "a"}, {Username: "a"}}}, "user a is there twice"},
		{"an unknown mapper", issuer.Realm{Realm: "x", Clients: []issuer.Client{{ClientID: "a", ProtocolMappers: []issuer.ProtocolMapper{{Name: "m", ProtocolMapper: "oidc-magic-mapper"}}}}}, `"oidc-magic-mapper"`},
		{"an unknown mapper of a scope", issuer.Realm{Realm: "x", ClientScopes: []issuer.ClientScope{{Name: "s", ProtocolMappers: []issuer.ProtocolMapper{{Name: "m", ProtocolMapper: "oidc-magic-mapper"}}}}}, `client scope s`},
		{"another protocol", issuer.Realm{Realm: "x", ClientScopes: []issuer.ClientScope{{Name: "s", Protocol: "saml"}}}, `"saml"`},
		{"a group that is not there", issuer.Realm{Realm: "x", Users: []issuer.User{{Username: "a", Groups: []string{"/g"}}}}, `"/g"`},
		{"a service account of no client", issuer.Realm{Realm: "x", Users: []issuer.User{{Username: "a", ServiceAccountClientID: "c"}}}, `"c"`},
		{"unknown credential", issuer.Realm{Realm: "x", Users: []issuer.User{{Username: "a", Credentials: []issuer.Credential{{Type: "otp", Value: "s3cret"}}}}}, "password"},
	}
	for _, tt := range tests {
		err := s.iss.Import(t.Context(), tt.file)
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: got %v, want an error with %s", tt.name, err, tt.want)
		}
	}
}

func TestImportingAgainChangesNothing(t *testing.T) {
	t.Parallel()
	s := start(t)
	b := newBrowser(t, s)
	tokens := s.redeem(b.login("app", "alice", "openid"))
	if err := s.iss.Import(t.Context(), demoRealm()); err != nil {
		t.Fatal(err)
	}
	if !s.active(tokens["access_token"]) {
		t.Errorf("a token died of importing again")
	}
	if got := outcome(s, b.ask(authorize("app2", "openid")), "s"); got != "code" {
		t.Errorf("the session: %q, want a code", got)
	}
}

func TestImportKeepsWhatTheFileDoesNotName(t *testing.T) {
	t.Parallel()
	s := start(t)
	if err := s.iss.Import(t.Context(), issuer.Realm{Realm: "demo"}); err != nil {
		t.Fatal(err)
	}
	if status, answer := s.post("token", "svc", "svc-secret", url.Values{"grant_type": {"client_credentials"}}); status != http.StatusOK {
		t.Errorf("client svc is gone: %d %v", status, answer)
	}
}

func TestImportChangesASecret(t *testing.T) {
	t.Parallel()
	s := start(t)
	file := demoRealm()
	for i := range file.Clients {
		if file.Clients[i].ClientID == "svc" {
			file.Clients[i].Secret = "new-secret"
		}
	}
	file.Users[0].Credentials[0].Value = "new-pw"
	if err := s.iss.Import(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	for secret, want := range map[string]int{"new-secret": http.StatusOK, "svc-secret": http.StatusUnauthorized} {
		if status, answer := s.post("token", "svc", secret, url.Values{"grant_type": {"client_credentials"}}); status != want {
			t.Errorf("secret %s: %d %v, want %d", secret, status, answer, want)
		}
	}
	b := newBrowser(t, s)
	page := b.submit(b.ask(authorize("app", "openid")), "alice", "pw")
	if page.status != http.StatusOK {
		t.Errorf("the old password still works: %d", page.status)
	}
	if page = b.submit(page, "alice", "new-pw"); page.status != http.StatusFound {
		t.Errorf("the new password does not work: %d", page.status)
	}
}

func TestWhatTheFileDisablesIsDead(t *testing.T) {
	t.Parallel()
	no := false
	tests := []struct {
		name    string
		disable func(*issuer.Realm)
	}{
		{"user", func(r *issuer.Realm) { r.Users[0].Enabled = &no }},
		{"client", func(r *issuer.Realm) { r.Clients[0].Enabled = &no }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			tokens := s.redeem(newBrowser(t, s).login("app", "alice", "openid"))
			file := demoRealm()
			tt.disable(&file)
			if err := s.iss.Import(t.Context(), file); err != nil {
				t.Fatal(err)
			}
			if s.active(tokens["access_token"]) {
				t.Errorf("tokens of the disabled %s live on", tt.name)
			}
		})
	}
}

func TestADisabledRealmServesNothing(t *testing.T) {
	t.Parallel()
	s := start(t)
	no := false
	file := demoRealm()
	file.Enabled = &no
	if err := s.iss.Import(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	status, answer := s.post("token", "svc", "svc-secret", url.Values{"grant_type": {"client_credentials"}})
	if status != http.StatusForbidden || answer["error_description"] != "Realm not enabled" {
		t.Errorf("got %d %v", status, answer)
	}
}
