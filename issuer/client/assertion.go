package client

import (
	"fmt"
	"strings"
)

// Attributes by which a client may speak for people with assertions of others.
// The first is Keycloak's; in the place of its identity providers, of which
// there are none here, the second names whom to believe.
const (
	attrAssertion        = "oauth2.jwt.authorization.grant.enabled"
	attrAssertionIssuers = "oauth2.jwt.authorization.grant.issuers"
)

// AssertionGrantEnabled reports whether the client may trade assertions for
// tokens (RFC 7523 §2.1).
func (c Client) AssertionGrantEnabled() bool { return c.Attributes[attrAssertion] == "true" }

// AssertionIssuers are the issuers whose assertions are taken from the client,
// with the jwks_uri of each: pairs of both, separated by white space.
func (c Client) AssertionIssuers() map[string]string {
	words := strings.Fields(c.Attributes[attrAssertionIssuers])
	issuers := make(map[string]string, len(words)/2)
	for i := 0; i+1 < len(words); i += 2 {
		issuers[words[i]] = words[i+1]
	}
	return issuers
}

func (c Client) checkAssertions() error {
	words := strings.Fields(c.Attributes[attrAssertionIssuers])
	if len(words)%2 != 0 {
		return fmt.Errorf("attribute %s: want pairs of an issuer and its jwks_uri", attrAssertionIssuers)
	}
	for i := 1; i < len(words); i += 2 {
		if !webAddress(words[i]) {
			return fmt.Errorf("attribute %s: %.100q is not a web address", attrAssertionIssuers, words[i])
		}
	}
	if c.AssertionGrantEnabled() && c.PublicClient {
		return fmt.Errorf("attribute %s: a public client cannot speak for others", attrAssertion)
	}
	return nil
}
