package issuer_test

import (
	"net/url"
	"testing"
)

// TestRFC7523 is the JWT profile for client authentication and for grants. Its
// §3 is checked row by row in the tests that these name.
func TestRFC7523(t *testing.T) {
	const grant = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	prove(t, []rule{
		{"2.1", "a grant is one JWT", by(TestAssertionsForPeople)},
		{"2.1", "scope is as at the token endpoint, and client authentication too", atDoor("token", "", url.Values{"grant_type": {grant}, "assertion": {"x"}}, 401, "invalid_client")},
		{"2.2", "a client authenticates by one JWT", by(TestPrivateKeyJWT)},
		{"2.2", "another client_assertion_type is refused", atDoor("token", "", url.Values{
			"grant_type": {"client_credentials"}, "client_id": {"svc"}, "client_assertion": {"x.y.z"},
			"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:saml2-bearer"},
		}, 401, "invalid_client")},
		{"2.2", "an assertion is not beside a secret", atDoor("token", "svc", url.Values{
			"grant_type": {"client_credentials"}, "client_assertion": {"x.y.z"},
			"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		}, 400, "invalid_request")},
		{"3 1", "iss is there, and of somebody believed", by(TestAssertionsForPeople, TestPrivateKeyJWT)},
		{"3 2", "sub is there; for a client its client_id", by(TestAssertionsForPeople, TestPrivateKeyJWT)},
		{"3 3", "aud names this server, compared as text", by(TestAssertionsForPeople, TestPrivateKeyJWT, TestClientSecretJWT)},
		{"3 4", "exp is there and not over", by(TestAssertionsForPeople, TestPrivateKeyJWT)},
		{"3 5", "nbf is over", by(TestAssertionsForPeople)},
		{"3 7", "an assertion is good once", by(TestAssertionsForPeople, TestPrivateKeyJWT, TestClientSecretJWT)},
		{"3 9", "it is signed or has a MAC", by(TestAssertionsForPeople, TestClientSecretJWT)},
		{"3 10", "whatever else is wrong with it, it is refused", tested("clientauth/clientauth_test.go", "TestAssertions", "FuzzAssertion")},
		{"3.1", "a bad grant is invalid_grant", by(TestAssertionsForPeople)},
		{"3.2", "a bad client assertion is invalid_client", by(TestPrivateKeyJWT, TestClientSecretJWT)},
		{"5", "discovery says the methods and the algorithms", announces("token_endpoint_auth_methods_supported", "token_endpoint_auth_signing_alg_values_supported")},
	})
}
