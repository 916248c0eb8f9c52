package client

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/tegata/tegata/internal/jose"
)

// How clients authenticate, as clientAuthenticatorType has it; names of
// Keycloak.
const (
	AuthSecret    = "client-secret"     // client_secret_basic or client_secret_post
	AuthJWT       = "client-jwt"        // private_key_jwt
	AuthSecretJWT = "client-secret-jwt" // client_secret_jwt
	AuthTLS       = "client-x509"       // tls_client_auth, see CertificateName

	// AuthSelfSigned is self_signed_tls_client_auth, by the client's keys.
	// Keycloak has not got it.
	AuthSelfSigned = "client-x509-self-signed"
)

var authenticators = []string{"", AuthSecret, AuthJWT, AuthSecretJWT, AuthTLS, AuthSelfSigned}

// Attributes with the name that is in the client's certificate. The first is
// Keycloak's, the others are called as in RFC 8705 §2.1.2.
const (
	attrSubjectDN = "x509.subjectdn"
	attrSANDNS    = "tls_client_auth_san_dns"
	attrSANURI    = "tls_client_auth_san_uri"
	attrSANIP     = "tls_client_auth_san_ip"
	attrSANEmail  = "tls_client_auth_san_email"
)

// CertificateName is what the client's certificate is known by: one of its
// members, the others are empty (RFC 8705 §2.1.2).
type CertificateName struct {
	Subject             string // RFC 4514
	DNS, URI, IP, Email string // of the subject alternative names
}

// CertificateName of the client.
func (c Client) CertificateName() CertificateName {
	return CertificateName{
		Subject: c.Attributes[attrSubjectDN],
		DNS:     c.Attributes[attrSANDNS], URI: c.Attributes[attrSANURI], IP: c.Attributes[attrSANIP], Email: c.Attributes[attrSANEmail],
	}
}

func (n CertificateName) check() error {
	given := 0
	for _, name := range []string{n.Subject, n.DNS, n.URI, n.IP, n.Email} {
		if name != "" {
			given++
		}
	}
	if given != 1 {
		return fmt.Errorf("%s needs one of the attributes %s, %s, %s, %s and %s, and not two",
			AuthTLS, attrSubjectDN, attrSANDNS, attrSANURI, attrSANIP, attrSANEmail)
	}
	if _, err := netip.ParseAddr(n.IP); err != nil && n.IP != "" {
		return fmt.Errorf("attribute %s: %q is no address", attrSANIP, n.IP)
	}
	return nil
}

// MutualTLS reports whether the client authenticates by a certificate
// (RFC 8705 §2).
func (c Client) MutualTLS() bool {
	return c.ClientAuthenticatorType == AuthTLS || c.ClientAuthenticatorType == AuthSelfSigned
}

// attrAssertionAlgorithm holds the client to one algorithm, as in Keycloak.
const attrAssertionAlgorithm = "token.endpoint.auth.signing.alg"

// AssertionAlgorithms are what the client may sign its assertions with: those of
// its method, or the one that it is held to.
func (c Client) AssertionAlgorithms() []jose.Algorithm {
	all := c.within(jose.SigningAlgorithms())
	if c.ClientAuthenticatorType == AuthSecretJWT {
		all = jose.SharedAlgorithms()
	}
	if alg := c.Attributes[attrAssertionAlgorithm]; alg != "" {
		return slices.DeleteFunc(all, func(a jose.Algorithm) bool { return string(a) != alg })
	}
	return all
}

// MinSignSecret is the shortest secret that the client can sign with, in bytes:
// that of the first of its algorithms.
func (c Client) MinSignSecret() int { return jose.MinSecret(c.AssertionAlgorithms()[0]) }

func (c Client) checkAuth() error {
	kind := c.ClientAuthenticatorType
	switch {
	case !slices.Contains(authenticators, kind):
		return fmt.Errorf("clientAuthenticatorType %q: want one of %q", kind, authenticators[1:])
	case len(c.AssertionAlgorithms()) == 0:
		return fmt.Errorf("attribute %s: %q is no algorithm of %s", attrAssertionAlgorithm, c.Attributes[attrAssertionAlgorithm], kind)
	case kind == AuthSelfSigned && len(c.JWKS) == 0 && c.JWKSURI == "":
		return fmt.Errorf("%s needs jwks or jwksUri", AuthSelfSigned)
	case kind == AuthSecretJWT && c.SecretHash != "":
		return errors.New("the secret of a client that signs with it is sealed, not hashed")
	case kind != AuthSecretJWT && c.SecretSealed != nil:
		return errors.New("a secret that is not signed with is kept as its hash alone")
	case kind == AuthTLS:
		return c.CertificateName().check()
	}
	return nil
}
