// Package credential finds the one credential of a request and refuses two
// (RFC 6750 §2). It must not know what a token means.
//
// The idea: whoever stands behind may read the same header differently, taking
// the last field where this took the first. So what could be read in two ways
// is never read at all.
package credential

import (
	"errors"
	"strings"
)

// Errors of this package; test with errors.Is.
var (
	ErrNone      = errors.New("no credential")
	ErrMultiple  = errors.New("more than one credential")
	ErrMalformed = errors.New("malformed credential")
)

// bearer is the one scheme that is ours to judge; it is written in any case
// (RFC 9110 §11.1).
const bearer = "Bearer"

// Credential is a bearer token as it was presented.
type Credential struct {
	Scheme string // "Bearer"
	Token  string
}

// FromAuthorization reads the values of all Authorization header fields of
// one request. Two fields, or one that is comma-joined, are ErrMultiple; an
// Authorization of another scheme is ErrNone (it is not ours to judge).
// ErrMalformed is a field without a scheme, and a bearer token that has not
// the form of one (token68, RFC 9110 §11.2). The token may have any length.
func FromAuthorization(values []string) (Credential, error) {
	switch len(values) {
	case 0:
		return Credential{}, ErrNone
	case 1:
	default:
		return Credential{}, ErrMultiple
	}
	scheme, rest, _ := strings.Cut(strings.Trim(values[0], " \t"), " ")
	switch {
	case !strings.EqualFold(scheme, bearer):
		return Credential{}, otherScheme(scheme, rest)
	case strings.Contains(rest, ","):
		return Credential{}, ErrMultiple
	}
	token := strings.TrimLeft(rest, " ")
	if !isToken68(token) {
		return Credential{}, ErrMalformed
	}
	return Credential{Scheme: bearer, Token: token}, nil
}

// otherScheme judges a field that does not begin with a bearer token. Commas
// are part of some schemes (Digest), a bearer token behind one is not.
func otherScheme(scheme, rest string) error {
	first, joined, _ := strings.Cut(scheme, ",")
	if !isToken(first) {
		return ErrMalformed
	}
	for part := range strings.SplitSeq(joined+" "+rest, ",") {
		part = strings.TrimLeft(part, " \t")
		if len(part) >= len(bearer) && strings.EqualFold(part[:len(bearer)], bearer) {
			return ErrMultiple
		}
	}
	return ErrNone
}

// isToken reports whether s is a token of RFC 9110 §5.6.2.
func isToken(s string) bool { return s != "" && only(s, "!#$%&'*+-.^_`|~") }

// isToken68 reports whether s is a token68 of RFC 9110 §11.2, which RFC 6750
// §2.1 calls b64token.
func isToken68(s string) bool {
	s = strings.TrimRight(s, "=")
	return s != "" && only(s, "-._~+/")
}

// only reports whether s holds nothing but ASCII letters, digits and some of
// the ASCII marks.
func only(s, marks string) bool {
	var set [2]uint64 // a bit for each ASCII character: tokens are long
	for i := range len(marks) {
		set[marks[i]>>6] |= 1 << (marks[i] & 63)
	}
	set[0] |= (1<<10 - 1) << '0'
	set[1] |= (1<<26-1)<<('A'-64) | (1<<26-1)<<('a'-64)
	for i := range len(s) {
		c := s[i]
		if c >= 128 || set[c>>6]>>(c&63)&1 == 0 {
			return false
		}
	}
	return true
}
