package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/tegata/tegata/internal/jose"
)

// Limits on what is stored, in bytes.
const (
	maxClientID = 255
	maxScope    = 255
	maxClient   = 256 << 10 // a client as JSON
)

// validClientID holds what a client may be called: any text without control
// characters. Keycloak's own clients have URLs as their ids.
func validClientID(id string) bool {
	return id != "" && len(id) <= maxClientID && utf8.ValidString(id) && !strings.ContainsFunc(id, unicode.IsControl)
}

// check refuses what could never work or never be safe.
func (c Client) check() error {
	if !validClientID(c.ClientID) {
		return fmt.Errorf("clientId %q: want 1 to %d bytes without control characters", c.ClientID, maxClientID)
	}
	if err := errors.Join(c.checkKind(), c.checkRedirects(), c.checkScopes(), c.checkKeys(), c.checkAlgorithms(), c.checkLifespans(), c.checkLogout(), c.checkAssertions(), c.checkProfile(), c.checkSize()); err != nil {
		return fmt.Errorf("client %q: %w", c.ClientID, err)
	}
	return nil
}

func (c Client) checkKind() error {
	switch {
	case c.RealmID == "":
		return errors.New("it belongs to no realm")
	case c.PublicClient && c.ServiceAccountsEnabled:
		return errors.New("a public client has no service account: set publicClient or serviceAccountsEnabled")
	case c.PublicClient && c.SecretHash != "":
		return errors.New("a public client has no secret")
	case c.AccessTokenLifespan < 0:
		return errors.New("accessTokenLifespan is negative")
	}
	return c.checkAuth()
}

func (c Client) checkAlgorithms() error {
	for name, alg := range map[string]jose.Algorithm{
		attrAccessAlgorithm: c.AccessTokenAlgorithm(), attrIDAlgorithm: c.IDTokenAlgorithm(),
		attrResponseAlgorithm: c.ResponseAlgorithm(),
		attrInfoAlgorithm:     c.UserInfoAlgorithm(), attrIntrospectionAlgorithm: c.IntrospectionAlgorithm(),
	} {
		if err := jose.CheckSigning(alg); err != nil && alg != "" {
			return fmt.Errorf("attribute %s: %w", name, err)
		}
	}
	return nil
}

func (c Client) checkRedirects() error {
	for _, uri := range c.RedirectURIs {
		if err := checkRedirect(uri); err != nil {
			return fmt.Errorf("redirectUris: %.100q %w", uri, err)
		}
		if inTheClear(uri) {
			return fmt.Errorf("redirectUris: %.100q sends codes in the clear: https, but on loopback (RFC 9700 §2.6)", uri)
		}
	}
	for _, uri := range c.PostLogoutRedirectURIs {
		if uri == sameAsRedirects || uri == noRedirects {
			continue
		}
		if err := checkRedirect(uri); err != nil {
			return fmt.Errorf("postLogoutRedirectUris: %.100q %w", uri, err)
		}
	}
	return nil
}

func (c Client) checkScopes() error {
	for _, scope := range slices.Concat(c.DefaultClientScopes, c.OptionalClientScopes) {
		if scope == "" || len(scope) > maxScope || strings.ContainsFunc(scope, notScopeToken) {
			return fmt.Errorf("%q is not a scope (RFC 6749 §3.3)", scope)
		}
	}
	return nil
}

// notScopeToken is the complement of RFC 6749's NQCHAR.
func notScopeToken(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' }

func (c Client) checkKeys() error {
	if len(c.JWKS) > 0 && !json.Valid(c.JWKS) {
		return errors.New("jwks is not JSON")
	}
	if c.JWKSURI == "" {
		return nil
	}
	if !webAddress(c.JWKSURI) {
		return fmt.Errorf("jwksUri %q is not a web address", c.JWKSURI)
	}
	return nil
}

// webAddress reports whether uri is where a web server can be.
func webAddress(uri string) bool {
	u, err := url.Parse(uri)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && u.User == nil && u.Fragment == ""
}

func (c Client) checkSize() error {
	encoded, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("encoding: %w", err)
	}
	if len(encoded) > maxClient {
		return fmt.Errorf("larger than %d bytes as JSON", maxClient)
	}
	return nil
}
