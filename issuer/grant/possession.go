package grant

import (
	"net/http"

	"github.com/tegata/tegata/issuer/clientauth"
	"github.com/tegata/tegata/issuer/dpop"
	"github.com/tegata/tegata/issuer/oauth"
	"github.com/tegata/tegata/issuer/session"
)

// possession is what the request proves that its sender holds: the key of a
// DPoP proof (RFC 9449 §5), the certificate of its TLS connection (RFC 8705 §3).
func (h *Handler) possession(w http.ResponseWriter, req *http.Request, asked request) (session.Binding, error) {
	if asked.client.DPoPNonce() {
		h.c.Proofs.Offer(asked.realm, w.Header())
	}
	key, err := h.c.Proofs.Prove(req.Context(), dpop.Call{
		Realm: asked.realm, Request: req, Path: "/protocol/openid-connect/token", Nonce: asked.client.DPoPNonce(),
		Algorithms: asked.client.ProofAlgorithms(),
	})
	return session.Binding{JKT: key, X5T: clientauth.CertificateThumbprint(req)}, err
}

// bind is what tokens are to be bound to: a key always, a certificate if the
// client wants that (as in Keycloak: it may have shown it to authenticate
// alone). A client that wants bound tokens gets no others.
func (req request) bind() (session.Binding, error) {
	b := req.proved
	switch {
	case b.JKT == "" && req.client.DPoPBound():
		return session.Binding{}, dpop.Missing()
	case !req.client.CertificateBound():
		b.X5T = ""
	case b.X5T == "":
		return session.Binding{}, oauth.InvalidRequest("Client Certification missing for MTLS HoK Token Binding")
	}
	return b, nil
}

// refreshBinding is what refresh tokens are bound to: a public client has
// nothing else that would keep a thief from using them, any other has its
// credentials (RFC 9449 §5, RFC 8705 §4).
func (req request) refreshBinding() session.Binding {
	if req.client.PublicClient {
		return req.binding
	}
	return session.Binding{}
}

// checkDPoPKey holds the request to the dpop_jkt of the authorization request
// (RFC 9449 §10).
func (req request) checkDPoPKey(want string) error {
	switch {
	case want == "" || want == req.proved.JKT:
		return nil
	case req.proved.JKT == "":
		return dpop.Missing()
	}
	return dpop.Invalid("DPoP Proof public key thumbprint does not match dpop_jkt", nil)
}
