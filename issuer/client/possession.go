package client

// Attributes by which a client's tokens are bound to what only it holds, as in
// Keycloak but for the nonce, which Keycloak has not.
const (
	attrDPoP      = "dpop.bound.access.tokens"
	attrDPoPNonce = "dpop.nonce.required"
	attrTLSBound  = "tls.client.certificate.bound.access.tokens"
)

// DPoPBound reports whether the client gets no token without a DPoP proof
// (RFC 9449 §5.2, dpop_bound_access_tokens). With a proof, any client's tokens
// are bound.
func (c Client) DPoPBound() bool { return c.Attributes[attrDPoP] == "true" }

// DPoPNonce reports whether the client's proofs must hold a nonce of the
// issuer's (RFC 9449 §8): they cannot be made in advance then.
func (c Client) DPoPNonce() bool { return c.Attributes[attrDPoPNonce] == "true" }

// CertificateBound reports whether the client's tokens are bound to its TLS
// certificate, and it gets none without one (RFC 8705 §3).
func (c Client) CertificateBound() bool { return c.Attributes[attrTLSBound] == "true" }
