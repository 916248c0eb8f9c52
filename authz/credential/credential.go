// Package credential finds the one credential of a request and refuses two
// (RFC 6750 §2), finds what proves that it is its owner's (a DPoP proof, a
// client certificate), and writes the challenge for one that will not do. It
// must not know what a token means.
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

// The schemes that are ours to judge; they are written in any case (RFC 9110
// §11.1).
const (
	Bearer = "Bearer" // RFC 6750 §2.1
	DPoP   = "DPoP"   // RFC 9449 §7.1
)

// Credential is a token as it was presented.
type Credential struct {
	Scheme string // Bearer or DPoP
	Token  string
	Proof  string // value of the DPoP header field; empty if there is none
}

// FromRequest reads the values of all Authorization and all DPoP header fields
// of one request. Two fields of a kind, or one that is comma-joined, are
// ErrMultiple, also if only one of them would count; an Authorization of
// another scheme is ErrNone (it is not ours to judge). ErrMalformed is a field
// without a scheme, a token that has not the form of one (token68, RFC 9110
// §11.2) and a proof that cannot be a JWT. The token may have any length.
// Whether there has to be a proof is the token's to say.
func FromRequest(authorization, dpop []string) (Credential, error) {
	proof, err := proofOf(dpop)
	if err != nil {
		return Credential{}, err
	}
	c, err := FromAuthorization(authorization)
	if err != nil {
		return Credential{}, err
	}
	c.Proof = proof
	return c, nil
}

// proofOf reads the DPoP header field (RFC 9449 §4.1).
func proofOf(values []string) (string, error) {
	switch len(values) {
	case 0:
		return "", nil
	case 1:
	default:
		return "", ErrMultiple
	}
	proof := strings.Trim(values[0], " \t")
	switch {
	case strings.Contains(proof, ","):
		return "", ErrMultiple
	case !only(proof, inJWT) || strings.Count(proof, ".") != 2:
		return "", ErrMalformed
	}
	return proof, nil
}

// FromAuthorization is FromRequest for a caller that knows of no DPoP header
// field. The scheme may be DPoP all the same.
func FromAuthorization(values []string) (Credential, error) {
	switch len(values) {
	case 0:
		return Credential{}, ErrNone
	case 1:
	default:
		return Credential{}, ErrMultiple
	}
	scheme, rest, _ := strings.Cut(strings.Trim(values[0], " \t"), " ")
	known := canonical(scheme)
	switch {
	case known == "":
		return Credential{}, otherScheme(scheme, rest)
	case strings.Contains(rest, ","):
		return Credential{}, ErrMultiple
	}
	token := strings.TrimLeft(rest, " ")
	if !isToken68(token) {
		return Credential{}, ErrMalformed
	}
	return Credential{Scheme: known, Token: token}, nil
}

// canonical is the scheme as this package writes it, or empty if it is another.
func canonical(scheme string) string {
	switch {
	case strings.EqualFold(scheme, Bearer):
		return Bearer
	case strings.EqualFold(scheme, DPoP):
		return DPoP
	}
	return ""
}

// otherScheme judges a field that does not begin with a token of ours. Commas
// are part of some schemes (Digest), a token of ours behind one is not.
func otherScheme(scheme, rest string) error {
	first, joined, _ := strings.Cut(scheme, ",")
	if !isToken(first) {
		return ErrMalformed
	}
	for part := range strings.SplitSeq(joined+" "+rest, ",") {
		part = strings.TrimLeft(part, " \t")
		for _, ours := range [...]string{Bearer, DPoP} {
			if len(part) >= len(ours) && strings.EqualFold(part[:len(ours)], ours) {
				return ErrMultiple
			}
		}
	}
	return ErrNone
}

// isToken reports whether s is a token of RFC 9110 §5.6.2.
func isToken(s string) bool { return s != "" && only(s, inToken) }

// isToken68 reports whether s is a token68 of RFC 9110 §11.2, which RFC 6750
// §2.1 calls b64token.
func isToken68(s string) bool {
	s = strings.TrimRight(s, "=")
	return s != "" && only(s, inToken68)
}

// only reports whether s holds nothing but ASCII letters, digits and some of
// the ASCII marks. It looks up each byte in a table: tokens are long, and this
// was a fifth of a remembered decision.
func only(s string, in *[256]bool) bool {
	for i := range len(s) {
		if !in[s[i]] {
			return false
		}
	}
	return true
}

var (
	inJWT     = lettersDigitsAnd("-_.")
	inToken   = lettersDigitsAnd("!#$%&'*+-.^_`|~") // RFC 9110 §5.6.2
	inToken68 = lettersDigitsAnd("-._~+/")          // RFC 9110 §11.2
)

func lettersDigitsAnd(marks string) *[256]bool {
	var in [256]bool
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789" + marks) {
		in[c] = true
	}
	return &in
}
