package userinfo

import (
	"errors"
	"mime"
	"net/http"
	"strings"

	"github.com/tegata/tegata/issuer/client"
	"github.com/tegata/tegata/issuer/clientauth"
	"github.com/tegata/tegata/issuer/dpop"
	"github.com/tegata/tegata/issuer/oauth"
	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/issuer/token"
)

// credential is the access token of a request, and how it was shown.
type credential struct {
	token string
	dpop  bool // by the scheme DPoP, which demands a proof (RFC 9449 §7.1)
}

// challenge is the scheme of a refusal.
func (c credential) challenge() string {
	if c.dpop {
		return "DPoP"
	}
	return "Bearer"
}

// presented is the token of the Authorization header or of a form body, never
// of both (RFC 6750 §2) and never of the query.
func presented(req *http.Request) (credential, error) {
	var c credential
	if fields := req.Header.Values("Authorization"); len(fields) > 1 {
		return c, &refusal{http.StatusBadRequest, "invalid_request", "More than one method used for including an access token", nil}
	}
	scheme, rest, _ := strings.Cut(req.Header.Get("Authorization"), " ")
	if c.dpop = strings.EqualFold(scheme, "DPoP"); c.dpop || strings.EqualFold(scheme, "Bearer") {
		c.token = strings.TrimSpace(rest)
	}
	kind, _, _ := mime.ParseMediaType(req.Header.Get("Content-Type"))
	if req.Method == http.MethodPost && kind == "application/x-www-form-urlencoded" {
		form, err := oauth.ParseForm(req)
		if err != nil {
			return c, err
		}
		if c.token != "" && form["access_token"] != "" {
			return c, &refusal{http.StatusBadRequest, "invalid_request", "More than one method used for including an access token", nil}
		}
		c.token += form["access_token"]
	}
	if c.token == "" {
		return c, &refusal{status: http.StatusUnauthorized}
	}
	return c, nil
}

// possession holds the request to what its token is bound to: a certificate
// (RFC 8705 §3), a key. What is bound to a key is no bearer token, and a bearer
// token proves nothing (RFC 9449 §7.1, §7.2).
func (h *Handler) possession(w http.ResponseWriter, req *http.Request, r realm.Realm, c client.Client, shown credential, read token.Read) error {
	if x5t := read.Binding.X5T; x5t != "" && x5t != clientauth.CertificateThumbprint(req) { // no secret: RFC 8705 §3
		return invalidToken("Client certificate missing, or not the one that the token is bound to", nil)
	}
	if (read.Binding.JKT != "") != shown.dpop {
		return invalidToken("The access token is not of the type "+shown.challenge(), nil)
	}
	if !shown.dpop {
		return nil
	}
	if c.DPoPNonce() {
		h.c.Proofs.Offer(r, w.Header())
	}
	key, err := h.c.Proofs.Prove(req.Context(), dpop.Call{
		Realm: r, Request: req, Path: "/protocol/openid-connect/userinfo", Token: shown.token, Nonce: c.DPoPNonce(),
		Algorithms: c.ProofAlgorithms(),
	})
	if err == nil && key == "" {
		err = dpop.Missing()
	}
	var refused *oauth.Error
	switch {
	case errors.As(err, &refused) && refused.Code != oauth.CodeServerError:
		return &refusal{http.StatusUnauthorized, refused.Code, refused.Description, err}
	case err != nil:
		return err
	case key != read.Binding.JKT:
		return invalidToken("DPoP proof and token binding verification failed", nil)
	}
	return nil
}
