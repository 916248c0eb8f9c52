package client

import (
	"errors"
	"fmt"
	"slices"

	"github.com/tegata/tegata/internal/jose"
)

// attrProfile holds a client to a security profile. Keycloak does that by
// client policies; the value is the name of its profile.
const (
	attrProfile = "security.profile"
	profileFAPI = "fapi-2-security-profile"
)

// FAPI reports whether the client is held to the FAPI 2.0 Security Profile: it
// pushes its requests, with PKCE (§5.3.2.2), authenticates by a key or a
// certificate, its assertions are for the issuer alone (§5.3.2.1), its tokens
// are bound and its refresh tokens not rotated (§5.3.2.1), and it signs with
// strong algorithms only (§5.4.1).
func (c Client) FAPI() bool { return c.Attributes[attrProfile] == profileFAPI }

// fapiAlgorithms are FAPI 2.0's (§5.4.1).
var fapiAlgorithms = []jose.Algorithm{jose.PS256, jose.ES256, jose.EdDSA}

// within leaves those algorithms that the client's profile allows.
func (c Client) within(all []jose.Algorithm) []jose.Algorithm {
	if !c.FAPI() {
		return all
	}
	return slices.DeleteFunc(all, func(a jose.Algorithm) bool { return !slices.Contains(fapiAlgorithms, a) })
}

// ProofAlgorithms are what the client may sign DPoP proofs with; none: any.
func (c Client) ProofAlgorithms() []jose.Algorithm {
	if !c.FAPI() {
		return nil
	}
	return slices.Clone(fapiAlgorithms)
}

// Signs reports whether the client's profile lets its tokens be signed with an
// algorithm.
func (c Client) Signs(alg jose.Algorithm) bool {
	return !c.FAPI() || slices.Contains(fapiAlgorithms, alg)
}

func (c Client) checkProfile() error {
	if p := c.Attributes[attrProfile]; p != "" && p != profileFAPI {
		return fmt.Errorf("attribute %s: %q is not %s", attrProfile, p, profileFAPI)
	}
	if !c.FAPI() {
		return nil
	}
	switch {
	case c.PublicClient, !c.MutualTLS() && c.ClientAuthenticatorType != AuthJWT:
		return fmt.Errorf("attribute %s: the client has to authenticate by %s, %s or %s", attrProfile, AuthJWT, AuthTLS, AuthSelfSigned)
	case !c.DPoPBound() && !c.CertificateBound():
		return fmt.Errorf("attribute %s: the client's tokens have to be bound: set %s or %s", attrProfile, attrDPoP, attrTLSBound)
	case c.DirectAccessGrantsEnabled:
		return errors.New("attribute " + attrProfile + ": no password grant (FAPI 2.0 §5.3.2.1)")
	}
	return nil
}
