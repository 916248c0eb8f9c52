package forwardauth

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// original is the request that is to be decided, as the proxy has it.
type original struct {
	method     string
	target     string // origin-form, with query: never decoded, never cleaned
	host       string // with port, if it was given
	scheme     string // "http", "https" or unknown
	client     netip.Addr
	headers    http.Header
	forwarded  []string // X-Forwarded-Client-Cert of a proxy that may say it
	body       string
	extensions map[string]string
}

// What is wrong with a question.
var (
	errMissing   = errors.New("incomplete")
	errAmbiguous = errors.New("ambiguous")
	errTooLarge  = errors.New("header fields too large")
	errTooLong   = errors.New("request target too long")
	errBody      = errors.New("body too large")
)

// single returns the value of a header that must be there once.
func single(headers http.Header, name string) (string, error) {
	switch v := headers[name]; len(v) {
	case 0:
		return "", fmt.Errorf("%w: no %s", errMissing, name)
	case 1:
		return v[0], nil
	default:
		return "", fmt.Errorf("%w: %s is there %d times", errAmbiguous, name, len(v))
	}
}

// scheme reads X-Forwarded-Proto, which may be missing. Traefik names the
// WebSocket schemes.
func scheme(headers http.Header) (string, error) {
	const name = "X-Forwarded-Proto"
	if len(headers[name]) == 0 {
		return "", nil
	}
	v, err := single(headers, name)
	if err != nil {
		return "", err
	}
	switch strings.ToLower(v) {
	case "http", "ws":
		return "http", nil
	case "https", "wss":
		return "https", nil
	}
	return "", fmt.Errorf("%w: %s is neither http nor https", errAmbiguous, name)
}

// last is the address that the nearest proxy added to X-Forwarded-For, the
// only one in it that was not written by strangers.
func last(values []string) netip.Addr {
	if len(values) == 0 {
		return netip.Addr{}
	}
	list := values[len(values)-1]
	address, err := netip.ParseAddr(strings.TrimSpace(list[strings.LastIndexByte(list, ',')+1:]))
	if err != nil {
		return netip.Addr{}
	}
	return address
}

// validate refuses what is no request line of RFC 9112 §3: two servers would
// read it in two ways.
func (o *original) validate() error {
	switch {
	case len(o.target) > maxTarget:
		return errTooLong
	case !strings.HasPrefix(o.target, "/"):
		return fmt.Errorf("%w: the request target is no path", errAmbiguous)
	case !visible(o.target) || strings.Contains(o.target, "#"):
		return fmt.Errorf("%w: the request target has characters that none may have", errAmbiguous)
	case !isToken(o.method) || len(o.method) > maxMethod:
		return fmt.Errorf("%w: no method", errAmbiguous)
	case o.host == "":
		return fmt.Errorf("%w: no host", errMissing)
	case !visible(o.host) || strings.ContainsAny(o.host, `,/\?#@"<>`) || len(o.host) > maxHost:
		return fmt.Errorf("%w: the host is none", errAmbiguous)
	}
	return nil
}

// visible reports whether s is of visible ASCII characters only.
func visible(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

// isToken reports whether s is a token of RFC 9110 §5.6.2.
func isToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

// isResolved reports whether the path of target has no segment "." or "..", in
// any spelling that somebody decodes. With one, it is one path for the proxy,
// which resolves it to choose a location, and another for the API that receives
// it as it is. So is a path that does not decode.
func isResolved(target string) bool {
	path, _, _ := strings.Cut(target, "?")
	decoded, err := url.PathUnescape(path)
	if err != nil {
		return false
	}
	for segment := range strings.FieldsFuncSeq(decoded, func(c rune) bool { return c == '/' || c == '\\' }) {
		segment, _, _ = strings.Cut(segment, ";")
		if segment == "." || segment == ".." {
			return false
		}
	}
	return true
}

// readBody reads what the proxy passed on of the body.
func readBody(r *http.Request, most int64) (string, error) {
	b, err := io.ReadAll(io.LimitReader(r.Body, most+1))
	if err != nil {
		return "", fmt.Errorf("%w: the body ends early", errAmbiguous)
	}
	if int64(len(b)) > most {
		return "", errBody
	}
	return string(b), nil
}
