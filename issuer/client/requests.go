package client

import (
	"slices"
	"strings"

	"github.com/tegata/tegata/internal/jose"
)

// Attributes that say how a client's authorization requests come, as in
// Keycloak.
const (
	attrPushedOnly       = "require.pushed.authorization.requests"
	attrRequestObject    = "request.object.required"
	attrRequestAlgorithm = "request.object.signature.alg"
	attrRequestURIs      = "request.uris"

	attrDeviceFlow = "oauth2.device.authorization.grant.enabled"

	attrDetailTypes = "authorization.details.types" // not Keycloak's
)

// PushedOnly reports whether every authorization request has to be pushed
// (RFC 9126 §6: require_pushed_authorization_requests).
func (c Client) PushedOnly() bool { return c.Attributes[attrPushedOnly] == "true" || c.FAPI() }

// RequestObject says how a client has to send request objects (RFC 9101).
type RequestObject struct{ ByValue, ByReference bool }

// RequiresObject is how a client may send a request object; both false: it may
// do without.
func (c Client) RequiresObject() RequestObject {
	switch c.Attributes[attrRequestObject] {
	case "", "not required":
		return RequestObject{}
	case "request only":
		return RequestObject{ByValue: true}
	case "request_uri only":
		return RequestObject{ByReference: true}
	default: // "request or request_uri"; what we do not know is not less strict
		return RequestObject{true, true}
	}
}

// RequestAlgorithms are those that a client may sign request objects with,
// "none" never (Keycloak's "any" takes it).
func (c Client) RequestAlgorithms() []jose.Algorithm {
	if alg := c.Attributes[attrRequestAlgorithm]; alg != "" && alg != "any" {
		return slices.DeleteFunc(c.within(jose.SigningAlgorithms()), func(a jose.Algorithm) bool { return string(a) != alg })
	}
	return c.within(jose.SigningAlgorithms())
}

// DeviceFlow reports whether the client may ask for people by a device
// (RFC 8628).
func (c Client) DeviceFlow() bool { return c.Attributes[attrDeviceFlow] == "true" }

// DetailTypes are the types of authorization details that the client may ask
// for (RFC 9396 §10, authorization_details_types).
func (c Client) DetailTypes() []string {
	types := strings.Split(c.Attributes[attrDetailTypes], "##")
	return slices.DeleteFunc(types, func(t string) bool { return t == "" })
}

// AllowsRequestURI reports whether a client registered uri as a place of
// request objects (OpenID Connect Registration §2, request_uris); exactly so,
// for we fetch what is there.
func (c Client) AllowsRequestURI(uri string) bool {
	return webAddress(uri) && slices.Contains(strings.Split(c.Attributes[attrRequestURIs], "##"), uri)
}
