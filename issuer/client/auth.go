package client

import (
	"errors"
	"fmt"
	"slices"
)

// How clients authenticate, as clientAuthenticatorType has it; names of
// Keycloak.
const (
	AuthSecret    = "client-secret"     // client_secret_basic or client_secret_post
	AuthJWT       = "client-jwt"        // private_key_jwt
	AuthSecretJWT = "client-secret-jwt" // client_secret_jwt
	AuthTLS       = "client-x509"       // tls_client_auth, by the attribute x509.subjectdn

	// AuthSelfSigned is self_signed_tls_client_auth, by the client's keys.
	// Keycloak has not got it.
	AuthSelfSigned = "client-x509-self-signed"
)

var authenticators = []string{"", AuthSecret, AuthJWT, AuthSecretJWT, AuthTLS, AuthSelfSigned}

// attrSubjectDN is the attribute with the subject of the client's certificate.
const attrSubjectDN = "x509.subjectdn"

// SubjectDN is the subject that the client's certificate has (RFC 4514).
func (c Client) SubjectDN() string { return c.Attributes[attrSubjectDN] }

// MutualTLS reports whether the client authenticates by a certificate
// (RFC 8705 §2).
func (c Client) MutualTLS() bool {
	return c.ClientAuthenticatorType == AuthTLS || c.ClientAuthenticatorType == AuthSelfSigned
}

// MinSignSecret is the shortest secret to sign with, in bytes: HS256's
// (RFC 7518 §3.2). A shorter one could be guessed from one assertion.
const MinSignSecret = 32

func (c Client) checkAuth() error {
	kind := c.ClientAuthenticatorType
	switch {
	case !slices.Contains(authenticators, kind):
		return fmt.Errorf("clientAuthenticatorType %q: want one of %q", kind, authenticators[1:])
	case kind == AuthTLS && c.SubjectDN() == "":
		return fmt.Errorf("%s needs the attribute %s", AuthTLS, attrSubjectDN)
	case kind == AuthSelfSigned && len(c.JWKS) == 0 && c.JWKSURI == "":
		return fmt.Errorf("%s needs jwks or jwksUri", AuthSelfSigned)
	case kind == AuthSecretJWT && c.SecretHash != "":
		return errors.New("the secret of a client that signs with it is sealed, not hashed")
	case kind != AuthSecretJWT && c.SecretSealed != nil:
		return errors.New("a secret that is not signed with is kept as its hash alone")
	}
	return nil
}
