// Package credential finds the one credential of a request and refuses two
// (RFC 6750 §2). It must not know what a token means.
package credential

import "errors"

// Errors of this package; test with errors.Is.
var (
	ErrNone      = errors.New("no credential")
	ErrMultiple  = errors.New("more than one credential")
	ErrMalformed = errors.New("malformed credential")
)

// Credential is a bearer token as it was presented.
type Credential struct {
	Scheme string // "Bearer"
	Token  string
}

// FromAuthorization reads the values of all Authorization header fields of
// one request. Two fields, or one that is comma-joined, are ErrMultiple; an
// Authorization of another scheme is ErrNone (it is not ours to judge).
func FromAuthorization(values []string) (Credential, error) { panic("unbuilt") }
