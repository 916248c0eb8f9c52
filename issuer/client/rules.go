package client

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// HashSecret hashes a high-entropy client secret for storage: "sha256:" and
// the hex of SHA-256.
func HashSecret(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// CheckSecret reports, in constant time, whether secret is the client's
// current one, or its old one before its end.
func (c Client) CheckSecret(secret string, now time.Time) bool {
	hash := []byte(HashSecret(secret))
	current := subtle.ConstantTimeCompare(hash, []byte(c.SecretHash))
	old := subtle.ConstantTimeCompare(hash, []byte(c.OldSecretHash))
	if !now.Before(c.OldSecretUntil) {
		old = 0
	}
	return current|old == 1
}

// Grantable returns what of the requested scopes the client may have: its
// default scopes always, its optional ones when asked for, in a stable order
// ("openid" is asked for like any other). Anything else is in refused.
func (c Client) Grantable(requested []string) (granted, refused []string) {
	for _, scope := range requested {
		if !slices.Contains(c.DefaultClientScopes, scope) && !slices.Contains(c.OptionalClientScopes, scope) {
			refused = append(refused, scope)
		}
	}
	granted = append(granted, c.DefaultClientScopes...)
	for _, scope := range c.OptionalClientScopes {
		if slices.Contains(requested, scope) && !slices.Contains(granted, scope) {
			granted = append(granted, scope)
		}
	}
	return granted, refused
}

// AllowsRedirect reports whether uri is registered: exact match, except that
// for loopback IP redirects any port matches (RFC 8252 §7.3).
func (c Client) AllowsRedirect(uri string) bool { return matchesAny(c.RedirectURIs, uri) }

// AllowsPostLogout is AllowsRedirect for post_logout_redirect_uri; "+" stands
// for the redirect URIs, and so does an empty list (Keycloak 26).
func (c Client) AllowsPostLogout(uri string) bool {
	if len(c.PostLogoutRedirectURIs) == 0 || slices.Contains(c.PostLogoutRedirectURIs, "+") {
		if c.AllowsRedirect(uri) {
			return true
		}
	}
	return uri != "+" && matchesAny(c.PostLogoutRedirectURIs, uri)
}

func matchesAny(registered []string, uri string) bool {
	if uri == "" {
		return false
	}
	for _, r := range registered {
		if r == uri {
			return true
		}
		if bare, ok := withoutLoopbackPort(r); ok {
			if other, ok := withoutLoopbackPort(uri); ok && bare == other {
				return true
			}
		}
	}
	return false
}

// withoutLoopbackPort returns a plain http URI of a loopback IP without its
// port; ok is false for any other URI.
func withoutLoopbackPort(uri string) (bare string, ok bool) {
	u, err := url.Parse(uri)
	if err != nil || u.Scheme != "http" || u.User != nil || u.Fragment != "" {
		return "", false
	}
	host := u.Hostname()
	if host != "127.0.0.1" && host != "::1" {
		return "", false
	}
	// What stands before the port must be the host and nothing else, so that
	// removing the port is all that changes.
	prefix := "http://" + strings.TrimSuffix(u.Host, ":"+u.Port())
	rest, found := strings.CutPrefix(uri, "http://"+u.Host)
	if !found {
		return "", false
	}
	return prefix + rest, true
}

// check refuses what could never work or never be safe.
func (c Client) check() error {
	switch {
	case c.RealmID == "":
		return fmt.Errorf("client %q: no realm", c.ClientID)
	case c.ClientID == "" || len(c.ClientID) > maxClientID:
		return fmt.Errorf("clientId %q: 1 to %d bytes", c.ClientID, maxClientID)
	case c.PublicClient && c.ServiceAccountsEnabled:
		return fmt.Errorf("client %q: a public client has no service account; set publicClient or serviceAccountsEnabled", c.ClientID)
	}
	for _, uri := range c.RedirectURIs {
		if err := checkRedirect(uri); err != nil {
			return fmt.Errorf("client %q: redirectUris: %w", c.ClientID, err)
		}
	}
	for _, uri := range c.PostLogoutRedirectURIs {
		if uri == "+" {
			continue
		}
		if err := checkRedirect(uri); err != nil {
			return fmt.Errorf("client %q: postLogoutRedirectUris: %w", c.ClientID, err)
		}
	}
	for _, scope := range slices.Concat(c.DefaultClientScopes, c.OptionalClientScopes) {
		if scope == "" || strings.ContainsFunc(scope, notScopeToken) {
			return fmt.Errorf("client %q: %q is no scope (RFC 6749 §3.3)", c.ClientID, scope)
		}
	}
	return nil
}

// notScopeToken is the complement of RFC 6749's NQCHAR.
func notScopeToken(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' }

// checkRedirect holds RFC 9700 §2.1: absolute, exact, without a fragment.
func checkRedirect(uri string) error {
	u, err := url.Parse(uri)
	switch {
	case err != nil || !u.IsAbs():
		return fmt.Errorf("%q is not an absolute URI", uri)
	case u.Fragment != "" || strings.HasSuffix(uri, "#"):
		return fmt.Errorf("%q must not contain a fragment", uri)
	case strings.Contains(uri, "*"):
		return fmt.Errorf("%q: no wildcards, a redirect is matched exactly (RFC 9700 §2.1); list each URI", uri)
	case u.Scheme == "javascript" || u.Scheme == "data" || u.Scheme == "vbscript":
		return fmt.Errorf("%q uses an illegal scheme", uri)
	case (u.Scheme == "http" || u.Scheme == "https") && u.Host == "":
		return fmt.Errorf("%q has no host", uri)
	}
	return nil
}
