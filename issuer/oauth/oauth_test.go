package oauth

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
)

func TestWriteErrorSaysWhatTheCallerMaySee(t *testing.T) {
	t.Parallel()
	cause := errors.New("disk s3cret")
	tests := []struct {
		name   string
		err    error
		status int
		body   string
	}{
		{"invalid_request", InvalidRequest("x"), 400, `{"error":"invalid_request","error_description":"x"}`},
		{"invalid_client", InvalidClient("x"), 401, `{"error":"invalid_client","error_description":"x"}`},
		{"invalid_grant", InvalidGrant("x"), 400, `{"error":"invalid_grant","error_description":"x"}`},
		{"unauthorized_client", UnauthorizedClient("x"), 400, `{"error":"unauthorized_client","error_description":"x"}`},
		{"unsupported_grant_type", UnsupportedGrantType("x"), 400, `{"error":"unsupported_grant_type","error_description":"x"}`},
		{"unsupported_token_type", UnsupportedTokenType("x"), 400, `{"error":"unsupported_token_type","error_description":"x"}`},
		{"invalid_scope", InvalidScope("Invalid scopes: \"b\u00f6s\nx"), 400, `{"error":"invalid_scope","error_description":"Invalid scopes: ?b?s?x"}`},
		{"no description", &Error{Code: "login_required"}, 400, `{"error":"login_required"}`},
		{"own status", &Error{Code: CodeUnauthorizedClient, Status: 401}, 401, `{"error":"unauthorized_client"}`},
		{"wrapped", fmt.Errorf("a: %w", InvalidGrant("x")), 400, `{"error":"invalid_grant","error_description":"x"}`},
		{"server_error", ServerError(cause), 500, `{"error":"server_error","error_description":"internal error"}`},
		{"inner error", cause, 500, `{"error":"server_error","error_description":"internal error"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := httptest.NewRecorder()
			WriteError(w, tt.err)
			if w.Code != tt.status || w.Body.String() != tt.body {
				t.Errorf("got %d %s\nwant %d %s", w.Code, w.Body, tt.status, tt.body)
			}
			for name, want := range map[string]string{"Cache-Control": "no-store", "Pragma": "no-cache", "Content-Type": "application/json"} {
				if got := w.Header().Get(name); got != want {
					t.Errorf("%s = %q, want %q", name, got, want)
				}
			}
		})
	}
}

func TestWriteErrorSendsItsHeaders(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	WriteError(w, &Error{Code: "invalid_token", Status: 401, Header: http.Header{"Www-Authenticate": {`Bearer realm="a"`}}})
	if got := w.Header().Get("WWW-Authenticate"); got != `Bearer realm="a"` {
		t.Errorf("WWW-Authenticate = %q", got)
	}
}

func TestErrorKeepsItsCauseForTheLog(t *testing.T) {
	t.Parallel()
	cause := errors.New("disk full")
	err := ServerError(cause)
	if !errors.Is(err, cause) || err.Error() != "server_error: internal error: disk full" {
		t.Errorf("got %q", err)
	}
}

func TestWriteJSONOfTheInexpressibleIsAServerError(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	WriteJSON(w, 200, func() {})
	if w.Code != 500 || !json.Valid(w.Body.Bytes()) {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}

func TestParseForm(t *testing.T) {
	t.Parallel()
	const form = "application/x-www-form-urlencoded"
	tests := []struct {
		name, contentType, body string
		want                    Form
		status                  int // of the error
		description             string
	}{
		{"usual", form, "grant_type=client_credentials&scope=a+b%2Bc", Form{"grant_type": "client_credentials", "scope": "a b+c"}, 0, ""},
		{"charset", form + "; charset=UTF-8", "a=1", Form{"a": "1"}, 0, ""},
		{"media type in capitals", "Application/X-WWW-Form-URLEncoded", "a=1", Form{"a": "1"}, 0, ""},
		{"without a value (RFC 6749 §3.2)", form, "a=&b&c=1", Form{"c": "1"}, 0, ""},
		{"empty body", form, "", Form{}, 0, ""},
		{"nothing at all", "", "", Form{}, 0, ""},
		{"repeated (Keycloak 26)", form, "scope=a&scope=b", nil, 400, "duplicated parameter"},
		{"repeated, empty", form, "scope=&scope=b", nil, 400, "duplicated parameter"},
		{"repeated, written differently", form, "scope=a&%73cope=b", nil, 400, "duplicated parameter"},
		{"JSON", "application/json", `{"grant_type":"x"}`, nil, 400, "Content-Type must be application/x-www-form-urlencoded"},
		{"no type", "", `a=1`, nil, 400, "Content-Type must be application/x-www-form-urlencoded"},
		{"multipart", "multipart/form-data; boundary=x", "a=1", nil, 400, "Content-Type must be application/x-www-form-urlencoded"},
		{"bad escape", form, "a=%zz", nil, 400, "malformed form"},
		{"semicolon", form, "a=1;b=2", nil, 400, "malformed form"},
		{"not UTF-8", form, "a=%ff", nil, 400, "malformed form"},
		{"NUL", form, "a=%00", nil, 400, "malformed form"},
		{"too large", form, "a=" + strings.Repeat("x", maxForm), nil, 413, "request body too large"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest("POST", "/token?grant_type=query&scope=query", strings.NewReader(tt.body))
			r.Header.Set("Content-Type", tt.contentType)
			got, err := ParseForm(r)
			if tt.want != nil {
				if err != nil || !maps.Equal(got, tt.want) {
					t.Errorf("ParseForm = %v, %v; want %v", got, err, tt.want)
				}
				return
			}
			var e *Error
			if !errors.As(err, &e) || e.HTTPStatus() != tt.status || e.Code != CodeInvalidRequest || e.Description != tt.description {
				t.Errorf("ParseForm = %v, %v; want %d %s", got, err, tt.status, tt.description)
			}
		})
	}
}

// FuzzParseForm: what is accepted, written again, reads the same.
func FuzzParseForm(f *testing.F) {
	for _, s := range []string{"", "a=1", "a=1&a=2", "a=%zz", "=x", "a=%00", "grant_type=client_credentials&scope=a+b", "&&&", "a=1;b=2", "\xff=1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		form, lists, err := parseForm(body, "a")
		if err != nil {
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("error %v is not an *Error", err)
			}
			return
		}
		values := url.Values{}
		for name, v := range form {
			if v == "" {
				t.Fatalf("empty value of %q kept", name)
			}
			values.Set(name, v)
		}
		for name, v := range lists {
			if name != "a" || len(v) == 0 || len(v) > maxRepeats || slices.Contains(v, "") {
				t.Fatalf("list %q: %q", name, v)
			}
			values[name] = v
		}
		again, lists2, err := parseForm(values.Encode(), "a")
		if err != nil || !maps.Equal(again, form) || !maps.EqualFunc(lists2, lists, slices.Equal) {
			t.Fatalf("%q reads %v %v, written again %v %v, %v", body, form, lists, again, lists2, err)
		}
	})
}
