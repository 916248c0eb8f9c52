// Package oauth is the words of the protocol: error codes, the one Error
// type, and the one way to write it. It knows no realm, client or store.
package oauth

import "net/http"

// Error is an OAuth error response (RFC 6749 §5.2), the outer layer of errors.
// Description is shown to the caller; Cause is for our log only.
type Error struct {
	Code        string
	Description string
	Status      int         // HTTP status; 0 means 400 (401 for invalid_client)
	Header      http.Header // extra response headers
	Cause       error
}

func (e *Error) Error() string { panic("unbuilt") }

func (e *Error) Unwrap() error { return e.Cause }

// Constructors for the usual errors: InvalidRequest("…"), InvalidClient,
// InvalidGrant, UnauthorizedClient, UnsupportedGrantType, InvalidScope,
// UnsupportedTokenType, ServerError(cause).

// InvalidRequest is invalid_request.
func InvalidRequest(description string) *Error { panic("unbuilt") }

// InvalidClient is invalid_client, 401.
func InvalidClient(description string) *Error { panic("unbuilt") }

// UnauthorizedClient is unauthorized_client.
func UnauthorizedClient(description string) *Error { panic("unbuilt") }

// InvalidGrant is invalid_grant.
func InvalidGrant(description string) *Error { panic("unbuilt") }

// UnsupportedGrantType is unsupported_grant_type.
func UnsupportedGrantType(description string) *Error { panic("unbuilt") }

// InvalidScope is invalid_scope.
func InvalidScope(description string) *Error { panic("unbuilt") }

// ServerError is server_error, 500, hiding cause from the caller.
func ServerError(cause error) *Error { panic("unbuilt") }

// WriteError writes err as an OAuth error object with no-store headers. An
// error that is not an *Error becomes server_error.
func WriteError(w http.ResponseWriter, err error) { panic("unbuilt") }

// WriteJSON writes v with no-store headers.
func WriteJSON(w http.ResponseWriter, status int, v any) { panic("unbuilt") }

// ParseForm reads a form body of at most 64 KiB; a repeated parameter is an
// invalid_request "duplicated parameter"; query parameters do not count.
func ParseForm(r *http.Request) (Form, error) { panic("unbuilt") }

// Form is a parsed form without repeats.
type Form map[string]string
