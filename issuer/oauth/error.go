package oauth

import (
	"net/http"
	"strconv"
	"time"
)

// Error is an OAuth error response (RFC 6749 §5.2), the outer layer of errors.
// Description is shown to the caller; Cause is for our log only.
type Error struct {
	Code        string
	Description string
	Status      int         // HTTP status; 0 means 400 (401 for invalid_client, 500 for server_error)
	Header      http.Header // extra response headers
	Cause       error
}

// Error is for the log: it holds the cause.
func (e *Error) Error() string {
	s := e.Code
	if e.Description != "" {
		s += ": " + e.Description
	}
	if e.Cause != nil {
		s += ": " + e.Cause.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// HTTPStatus is the HTTP status to send.
func (e *Error) HTTPStatus() int {
	switch {
	case e.Status != 0:
		return e.Status
	case e.Code == CodeInvalidClient:
		return http.StatusUnauthorized
	case e.Code == CodeServerError:
		return http.StatusInternalServerError
	default:
		return http.StatusBadRequest
	}
}

// InvalidRequest is invalid_request, 400.
func InvalidRequest(description string) *Error {
	return &Error{Code: CodeInvalidRequest, Description: description}
}

// InvalidClient is invalid_client, 401.
func InvalidClient(description string) *Error {
	return &Error{Code: CodeInvalidClient, Description: description}
}

// UnauthorizedClient is unauthorized_client, 400. Keycloak answers some of its
// cases with 401: set Status.
func UnauthorizedClient(description string) *Error {
	return &Error{Code: CodeUnauthorizedClient, Description: description}
}

// InvalidGrant is invalid_grant, 400.
func InvalidGrant(description string) *Error {
	return &Error{Code: CodeInvalidGrant, Description: description}
}

// UnsupportedGrantType is unsupported_grant_type, 400.
func UnsupportedGrantType(description string) *Error {
	return &Error{Code: CodeUnsupportedGrantType, Description: description}
}

// UnsupportedTokenType is unsupported_token_type, 400 (RFC 7009 §2.2.1).
func UnsupportedTokenType(description string) *Error {
	return &Error{Code: CodeUnsupportedTokenType, Description: description}
}

// InvalidScope is invalid_scope, 400.
func InvalidScope(description string) *Error {
	return &Error{Code: CodeInvalidScope, Description: description}
}

// SlowDown is 429 with Retry-After (RFC 6585 §4), under the code that RFC 6749
// has for a server that cannot answer now.
func SlowDown(description string, wait time.Duration) *Error {
	seconds := max(1, (wait+time.Second-1)/time.Second)
	return &Error{
		Code: CodeUnavailable, Description: description, Status: http.StatusTooManyRequests,
		Header: http.Header{"Retry-After": {strconv.Itoa(int(seconds))}},
	}
}

// ServerError is server_error, 500, hiding cause from the caller.
func ServerError(cause error) *Error {
	return &Error{Code: CodeServerError, Description: "internal error", Cause: cause}
}
