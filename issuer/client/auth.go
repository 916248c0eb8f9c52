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
)

var authenticators = []string{"", AuthSecret, AuthJWT, AuthSecretJWT}

// MinSignSecret is the shortest secret to sign with, in bytes: HS256's
// (RFC 7518 §3.2). A shorter one could be guessed from one assertion.
const MinSignSecret = 32

func (c Client) checkAuth() error {
	kind := c.ClientAuthenticatorType
	switch {
	case !slices.Contains(authenticators, kind):
		return fmt.Errorf("clientAuthenticatorType %q: want one of %q", kind, authenticators[1:])
	case kind == AuthSecretJWT && c.SecretHash != "":
		return errors.New("the secret of a client that signs with it is sealed, not hashed")
	case kind != AuthSecretJWT && c.SecretSealed != nil:
		return errors.New("a secret that is not signed with is kept as its hash alone")
	}
	return nil
}
