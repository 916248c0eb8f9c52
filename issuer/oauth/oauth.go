// Package oauth is the words of the protocol: error codes, grant and response
// types, the one Error type, and the one way to write it. It knows no realm,
// client or store.
//
// The idea: errors have two layers. Inner errors are for us; a door turns them
// into an *Error, whose code and description the caller may see, and whose
// Cause only our log sees. What is not an *Error reaches the caller as
// server_error and nothing more.
package oauth

// Error codes (RFC 6749 §5.2, RFC 7009 §2.2.1, RFC 8693 §2.2.2, RFC 9449 §5, §8).
const (
	CodeInvalidRequest       = "invalid_request"
	CodeInvalidClient        = "invalid_client"
	CodeInvalidGrant         = "invalid_grant"
	CodeUnauthorizedClient   = "unauthorized_client"
	CodeUnsupportedGrantType = "unsupported_grant_type"
	CodeUnsupportedTokenType = "unsupported_token_type"
	CodeInvalidScope         = "invalid_scope"
	CodeAccessDenied         = "access_denied"
	CodeInvalidTarget        = "invalid_target"
	CodeInvalidDPoPProof     = "invalid_dpop_proof"
	CodeUseDPoPNonce         = "use_dpop_nonce"
	CodeServerError          = "server_error"
	CodeUnavailable          = "temporarily_unavailable" // §4.1.2.1
)

// Grant types (RFC 6749 §4, RFC 7523 §2.1, RFC 8693 §2.1).
const (
	GrantAuthorizationCode = "authorization_code"
	GrantRefreshToken      = "refresh_token"
	GrantClientCredentials = "client_credentials"
	GrantPassword          = "password"
	GrantJWTBearer         = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	GrantDeviceCode        = "urn:ietf:params:oauth:grant-type:device_code"
	GrantTokenExchange     = "urn:ietf:params:oauth:grant-type:token-exchange"
)

// ResponseTypeCode is the response type of the code flow (RFC 6749 §3.1.1).
const ResponseTypeCode = "code"

// AssertionJWT is the client_assertion_type of a JWT (RFC 7523 §2.2).
const AssertionJWT = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
