package issuer_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

// TestOIDCDiscovery is OpenID Connect Discovery 1.0 (with errata set 2).
// WebFinger (§2) is not offered.
func TestOIDCDiscovery(t *testing.T) {
	prove(t, []rule{
		{"3", "what is required is there", announces("issuer", "authorization_endpoint", "token_endpoint", "jwks_uri", "response_types_supported", "subject_types_supported", "id_token_signing_alg_values_supported")},
		{"3", "code is a response type", lists("response_types_supported", "code")},
		{"3", "RS256 is an algorithm of ID tokens, and none is not", lists("id_token_signing_alg_values_supported", "RS256", "ES256")},
		{"3", "openid is a scope", lists("scopes_supported", "openid")},
		{"3", "what differs from a default is said", announces("request_uri_parameter_supported", "claims_parameter_supported", "token_endpoint_auth_methods_supported", "grant_types_supported", "response_modes_supported")},
		{"3", "endpoints are below the issuer", endpointsAreBelow},
		{"3", "keys of the set are for signing", keySetHasTheKeys},
		{"4", "the document is where the issuer is, without a slash between", told("discovery.txt", "openid-configuration")},
		{"4.1", "it is asked for by GET", discoveryIsRead},
		{"4.2", "it is JSON, 200", discoveryIsRead},
		{"4.2", "a member without elements is left out", nothingIsEmpty},
		{"4.3", "the issuer is that of the address and of ID tokens", issuerIsWhoWasAsked},
		{"7.1", "TLS", tlsRequired},
		{"7.2", "the issuer is nobody else's, whatever host is asked", hostDoesNotMatter},
	})
}

// lists checks that a list is announced that has values, and never none.
func lists(name string, want ...string) proof {
	return func(t *testing.T, s *server) {
		list, _ := s.metadata()[name].([]any)
		for _, v := range want {
			if !slices.Contains(list, any(v)) {
				t.Errorf("%s has no %s: %v", name, v, list)
			}
		}
		if slices.Contains(list, any("none")) {
			t.Errorf("%s has none", name)
		}
	}
}

func endpointsAreBelow(t *testing.T, s *server) {
	for name, v := range s.metadata() {
		if uri, ok := v.(string); ok && (strings.HasSuffix(name, "_endpoint") || name == "jwks_uri") && !strings.HasPrefix(uri, s.base+"/realms/demo/") {
			t.Errorf("%s is %s", name, uri)
		}
	}
}

func discoveryIsRead(t *testing.T, s *server) {
	resp := s.get("../../.well-known/openid-configuration", nil)
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%d %s", resp.StatusCode, resp.Header.Get("Content-Type"))
	}
}
