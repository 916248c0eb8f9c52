package oauth

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"
)

// maxForm is the largest form body that is read, in bytes.
const maxForm = 64 << 10

// Form is a parsed form without repeats. Parameters without a value are not in
// it (RFC 6749 §3.2 treats them as omitted).
type Form map[string]string

// ParseForm reads a form body of at most 64 KiB; a repeated parameter is an
// invalid_request "duplicated parameter" (RFC 6749 §3.2, text of Keycloak 26);
// query parameters do not count. A body of another media type, and values that
// are not UTF-8 or hold a NUL, are invalid_request too. Every error is an
// *Error.
func ParseForm(r *http.Request) (Form, error) {
	body, err := readBody(r)
	if err != nil {
		return nil, err
	}
	if len(body) == 0 {
		return Form{}, nil
	}
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/x-www-form-urlencoded" {
		return nil, InvalidRequest("Content-Type must be application/x-www-form-urlencoded")
	}
	return parseForm(string(body))
}

func readBody(r *http.Request) ([]byte, error) {
	if r.Body == nil {
		return nil, nil
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxForm+1))
	if err != nil {
		var tooLarge *http.MaxBytesError
		if !errors.As(err, &tooLarge) {
			e := InvalidRequest("request body could not be read")
			e.Cause = err
			return nil, e
		}
	}
	if err != nil || len(body) > maxForm {
		return nil, &Error{Code: CodeInvalidRequest, Description: "request body too large", Status: http.StatusRequestEntityTooLarge}
	}
	return body, nil
}

func parseForm(body string) (Form, error) {
	values, err := url.ParseQuery(body)
	if err != nil {
		// The error quotes the body, which holds secrets.
		return nil, InvalidRequest("malformed form")
	}
	form := make(Form, len(values))
	for name, v := range values {
		if len(v) > 1 {
			return nil, InvalidRequest("duplicated parameter")
		}
		if !plain(name) || !plain(v[0]) {
			return nil, InvalidRequest("malformed form")
		}
		if v[0] != "" {
			form[name] = v[0]
		}
	}
	return form, nil
}

// plain reports whether every store can keep s: PostgreSQL has no NUL in text.
func plain(s string) bool { return utf8.ValidString(s) && !strings.Contains(s, "\x00") }
