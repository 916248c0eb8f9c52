package jose

import (
	"encoding/base64"
	"strings"
)

// encoding is base64url without padding whose unused bits must be zero, so
// that no token has a second spelling (RFC 7515 §2, RFC 4648 §3.5).
var encoding = base64.RawURLEncoding.Strict()

// compact is a token taken apart; nothing in it is verified.
type compact struct {
	header    Header
	signing   string // header "." payload, as sent
	payload   []byte
	signature []byte
}

// ParseHeader reads the header without verifying anything: strict base64url,
// strict JSON (no duplicates, no invalid UTF-8), crit refused, no jku/x5u/jwk
// followed. The other two segments are not decoded.
func ParseHeader(compact string) (Header, error) {
	header, _, _, err := split(compact)
	if err != nil {
		return Header{}, err
	}
	return readHeader(header)
}

// parse takes a token apart (RFC 7515 §5.2 steps 1 to 7).
func parse(token string) (compact, error) {
	header, payload, signature, err := split(token)
	if err != nil {
		return compact{}, err
	}
	c := compact{signing: token[:len(header)+1+len(payload)]}
	if c.header, err = readHeader(header); err != nil {
		return compact{}, err
	}
	if c.payload, err = decode(payload); err != nil {
		return compact{}, err
	}
	if c.signature, err = decode(signature); err != nil {
		return compact{}, err
	}
	return c, nil
}

// split finds the three segments. The size limit comes first, so that nothing
// below sees more than MaxCompact bytes.
func split(token string) (header, payload, signature string, err error) {
	if len(token) > MaxCompact {
		return "", "", "", malformed("too large")
	}
	header, rest, ok := strings.Cut(token, ".")
	payload, signature, ok2 := strings.Cut(rest, ".")
	if !ok || !ok2 || header == "" || payload == "" || signature == "" || strings.Contains(signature, ".") {
		return "", "", "", malformed("not three segments")
	}
	return header, payload, signature, nil
}

// decode is strict base64url. The standard decoder skips line breaks; those
// would be a second spelling.
func decode(segment string) ([]byte, error) {
	if strings.ContainsAny(segment, "\r\n") {
		return nil, malformed("line break in base64url")
	}
	data, err := encoding.DecodeString(segment)
	if err != nil {
		return nil, malformed("base64url")
	}
	return data, nil
}

// readHeader decodes a protected header. Parameters that name keys by
// reference or by value (jku, jwk, x5u, x5c) are not looked at (RFC 8725
// §3.10); those that change processing are refused.
func readHeader(segment string) (Header, error) {
	data, err := decode(segment)
	if err != nil {
		return Header{}, err
	}
	members, err := ReadObject(data)
	if err != nil {
		return Header{}, err
	}
	for _, name := range []string{"crit", "b64", "zip", "enc"} {
		if _, ok := members[name]; ok {
			return Header{}, malformed("unsupported header parameter")
		}
	}
	var h Header
	alg, ok := members["alg"].(string)
	if !ok {
		return Header{}, malformed("no alg")
	}
	h.Algorithm = Algorithm(alg)
	if h.KeyID, err = optionalString(members, "kid"); err != nil {
		return Header{}, err
	}
	h.Type, err = optionalString(members, "typ")
	return h, err
}

func optionalString(members map[string]any, name string) (string, error) {
	v, present := members[name]
	s, ok := v.(string)
	if present && !ok {
		return "", malformed("header parameter is not a string")
	}
	return s, nil
}

// Parsed is a token taken apart, of which nothing is verified.
type Parsed struct{ c compact }

// Parse takes a token apart once, for who looks at it before KeySet.VerifyParsed.
func Parse(token string) (Parsed, error) {
	c, err := parse(token)
	return Parsed{c}, err
}

// Header is what the token says of itself.
func (p Parsed) Header() Header { return p.c.header }

// Payload is not to be believed before VerifyParsed.
func (p Parsed) Payload() []byte { return p.c.payload }

// Unverified takes a token apart without verifying anything, as strictly as
// Verify: for choosing whose keys to verify it with (by iss), never for
// believing it.
func Unverified(token string) (Header, []byte, error) {
	c, err := parse(token)
	return c.header, c.payload, err
}
