package oauth

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"strings"
)

// errorResponse is the body of an error (RFC 6749 §5.2).
type errorResponse struct {
	Code        string `json:"error"`
	Description string `json:"error_description,omitempty"`
}

// WriteError writes err as an OAuth error object with no-store headers. An
// error that is not an *Error becomes server_error.
func WriteError(w http.ResponseWriter, err error) {
	var e *Error
	if !errors.As(err, &e) {
		e = ServerError(err)
	}
	maps.Copy(w.Header(), e.Header)
	WriteJSON(w, e.HTTPStatus(), errorResponse{e.Code, e.Said()})
}

// WriteJSON writes v with no-store headers (RFC 6749 §5.1). A v that JSON
// cannot express is a mistake of ours and becomes server_error.
func WriteJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"error":"server_error","error_description":"internal error"}`)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("Pragma", "no-cache")
	w.WriteHeader(status)
	w.Write(body) //nolint:errcheck // the caller has gone; nobody is left to tell
}

// WriteText writes a signed answer of a media type, with no-store headers.
func WriteText(w http.ResponseWriter, kind, body string) {
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("Cache-Control", "no-store")
	h.Set("Pragma", "no-cache")
	io.WriteString(w, body) //nolint:errcheck // the caller has gone; nobody is left to tell
}

// Said is the description as it may be sent: printable ASCII without quotation
// marks and backslashes (RFC 6749 §4.1.2.1, §5.2), since some quote what the
// caller sent.
func (e *Error) Said() string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '"' || r == '\\' {
			return '?'
		}
		return r
	}, e.Description)
}
