package oauth

import (
	"net/url"
	"strings"
)

// maxResource is the longest resource indicator, in bytes.
const maxResource = 2 << 10

// SafeRedirect reports whether a browser may be sent to uri at all, whatever
// is registered: an absolute URI without a fragment (RFC 6749 §3.1.2), without
// user information, that no browser runs as a script, and without the
// characters that browsers and net/url read differently.
func SafeRedirect(uri string) bool {
	if strings.ContainsAny(uri, "#\\\x00\r\n\t ") {
		return false
	}
	u, err := url.Parse(uri)
	if err != nil || u.User != nil {
		return false
	}
	switch u.Scheme {
	case "", "javascript", "data", "vbscript", "blob", "file", "about", "view-source":
		return false
	case "http", "https":
		return u.Host != ""
	}
	return true // an app's private scheme, RFC 8252 §7.1
}

// IsResource reports whether uri can name a resource server: an absolute URI
// without a fragment (RFC 8707 §2).
func IsResource(uri string) bool {
	u, err := url.Parse(uri)
	return err == nil && len(uri) <= maxResource && u.IsAbs() && !strings.Contains(uri, "#")
}
