package grant

import (
	"net/http"

	"github.com/tegata/tegata/issuer/dpop"
	"github.com/tegata/tegata/issuer/session"
)

// possession is what the request proves that its sender holds, which the
// tokens are bound to: the key of a DPoP proof (RFC 9449 §5). A client that
// wants bound tokens gets no others.
func (h *Handler) possession(w http.ResponseWriter, req *http.Request, asked request) (session.Binding, error) {
	if asked.client.DPoPNonce() {
		h.c.Proofs.Offer(asked.realm, w.Header())
	}
	key, err := h.c.Proofs.Prove(req.Context(), dpop.Call{
		Realm: asked.realm, Request: req, URL: asked.realm.Issuer + "/protocol/openid-connect/token", Nonce: asked.client.DPoPNonce(),
	})
	if err != nil {
		return session.Binding{}, err
	}
	if key == "" && asked.client.DPoPBound() {
		return session.Binding{}, dpop.Missing()
	}
	return session.Binding{JKT: key}, nil
}

// refreshBinding is what refresh tokens are bound to: a public client has
// nothing else that would keep a thief from using them, any other has its
// credentials (RFC 9449 §5).
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
	case want == "" || want == req.binding.JKT:
		return nil
	case req.binding.JKT == "":
		return dpop.Missing()
	}
	return dpop.Invalid("DPoP Proof public key thumbprint does not match dpop_jkt", nil)
}
