package client

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// AllowsRedirect reports whether uri is registered: exact match (RFC 9700
// §2.1), except that for loopback IP redirects any port matches (RFC 8252
// §7.3).
func (c Client) AllowsRedirect(uri string) bool { return registered(c.RedirectURIs, uri) }

// sameAsRedirects in PostLogoutRedirectURIs stands for the redirect URIs.
const sameAsRedirects = "+"

// noRedirects in PostLogoutRedirectURIs: there are none (Keycloak 26).
const noRedirects = "-"

// AllowsPostLogout is AllowsRedirect for post_logout_redirect_uri; "+" stands
// for the redirect URIs, and so does an empty list (Keycloak 26).
func (c Client) AllowsPostLogout(uri string) bool {
	if len(c.PostLogoutRedirectURIs) == 0 || slices.Contains(c.PostLogoutRedirectURIs, sameAsRedirects) {
		if c.AllowsRedirect(uri) {
			return true
		}
	}
	return uri != sameAsRedirects && uri != noRedirects && registered(c.PostLogoutRedirectURIs, uri)
}

func registered(list []string, uri string) bool {
	if uri == "" {
		return false
	}
	if slices.Contains(list, uri) {
		return true
	}
	bare, ok := withoutLoopbackPort(uri)
	return ok && slices.ContainsFunc(list, func(r string) bool {
		other, ok := withoutLoopbackPort(r)
		return ok && other == bare
	})
}

// withoutLoopbackPort returns a plain http URI of a loopback IP without its
// port; ok is false for any other URI. "localhost" is none: what it resolves
// to is somebody else's choice (RFC 8252 §8.3).
//
// It works on the bytes as they are. A URL parser would have to be trusted to
// see the same host as the browser that is sent there.
func withoutLoopbackPort(uri string) (bare string, ok bool) {
	for _, host := range []string{"http://127.0.0.1", "http://[::1]"} {
		rest, found := strings.CutPrefix(uri, host)
		if !found {
			continue
		}
		if port, hasPort := strings.CutPrefix(rest, ":"); hasPort {
			end := strings.IndexAny(port, "/?")
			if end < 0 {
				end = len(port)
			}
			if !validPort(port[:end]) {
				return "", false
			}
			rest = port[end:]
		}
		if rest != "" && rest[0] != '/' && rest[0] != '?' {
			return "", false // 127.0.0.1.example.com, 127.0.0.1@example.com
		}
		return host + rest, true
	}
	return "", false
}

// validPort takes 1 to 65535 as decimal digits, without a sign or leading zero.
func validPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0 && s[0] != '0'
}

// maxRedirect is the longest URI that may be registered, in bytes.
const maxRedirect = 2048

// checkRedirect holds what may be registered to RFC 6749 §3.1.2 and RFC 9700
// §2.1, and refuses what a browser would run.
func checkRedirect(uri string) error {
	switch {
	case len(uri) > maxRedirect:
		return fmt.Errorf("is longer than %d bytes", maxRedirect)
	case strings.ContainsFunc(uri, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '\\' }):
		return errors.New("has a space, control character or backslash, which browsers and servers read differently")
	case strings.Contains(uri, "#"):
		return errors.New("has a fragment")
	case strings.Contains(uri, "*"):
		return errors.New("has a wildcard: redirect URIs are matched exactly (RFC 9700 §2.1), list each one")
	}
	u, err := url.Parse(uri)
	switch {
	case err != nil || u.Scheme == "":
		return errors.New("is not an absolute URI")
	case u.User != nil:
		return errors.New("has user information")
	case slices.Contains([]string{"javascript", "data", "vbscript", "blob", "file", "about", "view-source"}, u.Scheme):
		return errors.New("has a scheme that browsers run or keep to themselves")
	case (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() == "":
		return errors.New("has no host")
	}
	return nil
}

// inTheClear reports whether a registered URI is plain http and of another
// machine (RFC 9700 §2.6, RFC 8252 §7.3).
func inTheClear(uri string) bool {
	u, err := url.Parse(uri)
	if err != nil || u.Scheme != "http" {
		return false
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return u.Hostname() != "localhost" && (err != nil || !ip.IsLoopback())
}
