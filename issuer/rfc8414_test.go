package issuer_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

// TestRFC8414 is Authorization Server Metadata.
func TestRFC8414(t *testing.T) {
	prove(t, []rule{
		{"2", "the issuer has no query and no fragment", issuerIsPlain},
		{"2", "issuer, endpoints and response types are there", announces("issuer", "authorization_endpoint", "token_endpoint", "response_types_supported", "jwks_uri")},
		{"2", "the key set has the keys that sign", keySetHasTheKeys},
		{"2", "algorithms of client assertions are there, since the methods are, and none is not among them", assertionAlgorithms},
		{"2", "what is announced of PKCE is there", announcesS256},
		{"3", "it is found below the issuer, and at RFC 8414's own place", told("discovery.txt", "RFC 8414, path of Keycloak", "RFC 8414 §3.1, path of the RFC")},
		{"3.1", "it is asked for by GET", metadataIsRead},
		{"3.2", "the answer is JSON, 200", metadataIsRead},
		{"3.2", "a member without elements is left out", nothingIsEmpty},
		{"3.3", "the issuer is the one that it was asked for", issuerIsWhoWasAsked},
		{"6.2", "the issuer is fixed by configuration, whatever host is asked", hostDoesNotMatter},
	})
}

func issuerIsPlain(t *testing.T, s *server) {
	if iss := s.metadata()["issuer"].(string); iss != s.base+"/realms/demo" || strings.ContainsAny(iss, "?#") {
		t.Errorf("issuer %s", iss)
	}
}

func keySetHasTheKeys(t *testing.T, s *server) {
	uri := strings.TrimPrefix(s.metadata()["jwks_uri"].(string), s.base)
	header, _ := s.response(s.clientToken(""))
	for _, k := range s.getJSON(uri)["keys"].([]any) {
		key := k.(map[string]any)
		for _, private := range []string{"d", "p", "q", "k"} {
			if key[private] != nil {
				t.Fatalf("a private key is published")
			}
		}
		if key["kid"] == header.KeyID && key["use"] == "sig" {
			return
		}
	}
	t.Errorf("no key %q", header.KeyID)
}

func assertionAlgorithms(t *testing.T, s *server) {
	document := s.metadata()
	for _, endpoint := range []string{"token", "introspection", "revocation"} {
		methods, _ := document[endpoint+"_endpoint_auth_methods_supported"].([]any)
		algorithms, _ := document[endpoint+"_endpoint_auth_signing_alg_values_supported"].([]any)
		if !slices.Contains(methods, any("private_key_jwt")) || len(algorithms) == 0 || slices.Contains(algorithms, any("none")) {
			t.Errorf("%s: %v with %v", endpoint, methods, algorithms)
		}
	}
}

func metadataIsRead(t *testing.T, s *server) {
	resp := s.get("../../.well-known/oauth-authorization-server", nil)
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%d %s", resp.StatusCode, resp.Header.Get("Content-Type"))
	}
}

func nothingIsEmpty(t *testing.T, s *server) {
	for name, v := range s.metadata() {
		if list, ok := v.([]any); v == nil || v == "" || ok && len(list) == 0 {
			t.Errorf("%s is %v", name, v)
		}
	}
}

func issuerIsWhoWasAsked(t *testing.T, s *server) {
	for _, path := range []string{"/realms/demo/.well-known/openid-configuration", "/.well-known/oauth-authorization-server/realms/demo"} {
		if iss := s.getJSON(path)["issuer"]; iss != s.base+"/realms/demo" {
			t.Errorf("%s: issuer %v", path, iss)
		}
	}
	if claims := claimsOf(t, s.clientToken("")); claims["iss"] != s.base+"/realms/demo" {
		t.Errorf("iss %v", claims["iss"])
	}
}

func hostDoesNotMatter(t *testing.T, s *server) {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.base+"/realms/demo/.well-known/openid-configuration", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "evil.example"
	req.Header.Set("X-Forwarded-Host", "evil.example")
	req.Header.Set("X-Forwarded-Proto", "https")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if body := readAll(t, resp); strings.Contains(body, "evil.example") || !strings.Contains(body, `"issuer":"`+s.base) {
		t.Errorf("%s", body)
	}
}
