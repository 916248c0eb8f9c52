package issuer_test

import (
	"net/url"
	"testing"
)

// TestRFC9101 is JWT-Secured Authorization Requests. Encrypted request objects
// are not offered.
func TestRFC9101(t *testing.T) {
	prove(t, []rule{
		{"4", "a request object holds no request and no request_uri", by(TestBrokenRequestObjects)},
		{"4", "it is signed", by(TestBrokenRequestObjects)},
		{"5", "request and request_uri exclude each other", atAuth(url.Values{"request": {"x"}, "request_uri": {"urn:x"}}, "invalid_request: request and request_uri exclude each other")},
		{"5", "client_id is beside them, and the same as within", by(TestBrokenRequestObjects, TestPushedRequestsAreTheirClients)},
		{"5.2", "a request_uri is one of the client's and is fetched within limits", by(TestRequestObjectsByReference)},
		{"6.2", "the signature is checked, with an algorithm that the client has", by(TestBrokenRequestObjects)},
		{"6.3", "what is within counts, and nothing beside it", by(TestASignedRequestIsWhatCounts)},
		{"6.3", "the parameters within are checked as any", by(TestBrokenRequestObjects)},
		{"7", "errors are invalid_request_uri, invalid_request_object, request_uri_not_supported", by(TestBrokenRequestObjects, TestRequestObjectsByReference)},
		{"7", "a request object is never just ignored", atAuth(url.Values{"request": {"x"}}, "invalid_request_object: ")},
		{"9", "discovery says whether objects are required and that they can be had", announcesObjects},
		{"10.2", "a stranger's object is refused", by(TestBrokenRequestObjects)},
		{"10.4", "nothing is fetched from an address that is not registered", atAuth(url.Values{"request_uri": {"http://127.0.0.1:1/object"}}, "request_uri_not_supported: ")},
		{"10.5", "alg none is refused, and a client that must sign cannot do without", by(TestBrokenRequestObjects)},
		{"10.8", "a client assertion is no request", by(TestBrokenRequestObjects)},
	})
}

func announcesObjects(t *testing.T, s *server) {
	document := s.metadata()
	if document["request_parameter_supported"] != true || document["request_uri_parameter_supported"] != true || document["require_request_uri_registration"] != true {
		t.Errorf("%v", document)
	}
	for _, alg := range document["request_object_signing_alg_values_supported"].([]any) {
		if alg == "none" {
			t.Error("none is announced")
		}
	}
}
