package oauth

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	maxForm    = 64 << 10 // the largest form body that is read, in bytes
	maxRepeats = 32       // how often one parameter may be there that may be repeated
)

// Form is a parsed form without repeats. Parameters without a value are not in
// it (RFC 6749 §3.2 treats them as omitted).
type Form map[string]string

// Lists are the parameters of a form that may be repeated: by name, their
// values in order, without empty ones.
type Lists map[string][]string

// ParseForm reads a form body of at most 64 KiB; a repeated parameter is an
// invalid_request "duplicated parameter" (RFC 6749 §3.2, text of Keycloak 26);
// query parameters do not count. A body of another media type, and values that
// are not UTF-8 or hold a NUL, are invalid_request too. Every error is an
// *Error.
func ParseForm(r *http.Request) (Form, error) {
	form, _, err := ParseLists(r)
	return form, err
}

// ParseLists is ParseForm for a form in which the named parameters may be
// repeated, as "resource" (RFC 8707 §2) and "audience" (RFC 8693 §2.1) may. They
// are in the lists then, and not in the form.
func ParseLists(r *http.Request, names ...string) (Form, Lists, error) {
	body, err := readBody(r)
	if err != nil {
		return nil, nil, err
	}
	if len(body) == 0 {
		return Form{}, Lists{}, nil
	}
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/x-www-form-urlencoded" {
		return nil, nil, InvalidRequest("Content-Type must be application/x-www-form-urlencoded")
	}
	return parseForm(string(body), names...)
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

func parseForm(body string, lists ...string) (Form, Lists, error) {
	values, err := url.ParseQuery(body)
	if err != nil {
		// The error quotes the body, which holds secrets.
		return nil, nil, InvalidRequest("malformed form")
	}
	form, repeated := make(Form, len(values)), make(Lists, len(lists))
	for name, v := range values {
		many := slices.Contains(lists, name)
		if len(v) > 1 && !many || len(v) > maxRepeats {
			return nil, nil, InvalidRequest("duplicated parameter")
		}
		if !Plain(name) || slices.ContainsFunc(v, func(s string) bool { return !Plain(s) }) {
			return nil, nil, InvalidRequest("malformed form")
		}
		switch v = slices.DeleteFunc(v, func(s string) bool { return s == "" }); {
		case len(v) == 0:
		case many:
			repeated[name] = v
		default:
			form[name] = v[0]
		}
	}
	return form, repeated, nil
}

// Plain reports whether every store can keep s and give it back as it was:
// PostgreSQL has no NUL in text, JSON only UTF-8.
func Plain(s string) bool { return utf8.ValidString(s) && !strings.Contains(s, "\x00") }
