package login

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/tegata/tegata/issuer/client"
	"github.com/tegata/tegata/issuer/clientauth"
	"github.com/tegata/tegata/issuer/dpop"
	"github.com/tegata/tegata/issuer/oauth"
	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/issuer/theme"
)

// Of pushed requests (RFC 9126): how they are called, and how large they may
// be, in bytes.
const (
	pushedPrefix = "urn:ietf:params:oauth:request_uri:"
	maxPushed    = 16 << 10
)

// pushedAnswer is RFC 9126 §2.2.
type pushedAnswer struct {
	RequestURI string `json:"request_uri"`
	ExpiresIn  int64  `json:"expires_in"`
}

// Push answers a POST to the pushed authorization request endpoint: the
// request is checked as the authorization endpoint would, but by a client that
// has said who it is, and kept.
func (h *Handler) Push(w http.ResponseWriter, req *http.Request, r realm.Realm) {
	c, p, ok := h.caller(w, req, r)
	if !ok {
		return
	}
	key, err := h.proved(w, req, r, c)
	var value string
	if err == nil {
		value, err = h.push(req.Context(), r, c, p, key)
	}
	if err != nil {
		h.log(req, r, c.ClientID, err)
		oauth.WriteError(w, err)
		return
	}
	oauth.WriteJSON(w, http.StatusCreated, pushedAnswer{pushedPrefix + value, int64(r.Settings.PARLifespan / time.Second)})
}

func (h *Handler) push(ctx context.Context, r realm.Realm, c client.Client, p parameters, key string) (string, error) {
	if p.get("request_uri") != "" {
		return "", oauth.InvalidRequest("It is not allowed to include request_uri to PAR.")
	}
	p.values["client_id"] = c.ClientID
	for _, credential := range []string{"client_secret", "client_assertion", "client_assertion_type"} {
		delete(p.values, credential)
	}
	p.pushed = "now"
	p, err := h.resolve(ctx, r, p, c)
	if err != nil {
		return "", err
	}
	if err := p.bind(key); err != nil {
		return "", err
	}
	q, err := destination(p, c)
	if err != nil {
		return "", pushedError(err)
	}
	if err := h.complete(ctx, r, &q, p, c); err != nil {
		return "", err
	}
	body, err := json.Marshal(keptRequest{p.values, p.resources, p.byValue})
	if err != nil {
		return "", err
	}
	if len(body) > maxPushed {
		return "", &oauth.Error{Code: oauth.CodeInvalidRequest, Description: "request too large", Status: http.StatusRequestEntityTooLarge}
	}
	return h.c.Sessions.Push(ctx, r, c.ClientID, body, r.Settings.PARLifespan)
}

// proved is the thumbprint of the key of the DPoP proof that came with a pushed
// request, or nothing (RFC 9449 §10.1).
func (h *Handler) proved(w http.ResponseWriter, req *http.Request, r realm.Realm, c client.Client) (string, error) {
	if c.DPoPNonce() {
		h.c.Proofs.Offer(r, w.Header())
	}
	return h.c.Proofs.Prove(req.Context(), dpop.Call{
		Realm: r, Request: req, Path: "/protocol/openid-connect/ext/par/request", Nonce: c.DPoPNonce(), Algorithms: c.ProofAlgorithms(),
	})
}

// bind holds the request to a key that was proved, as dpop_jkt would; a
// dpop_jkt beside it has to be the same (RFC 9449 §10.1).
func (p parameters) bind(key string) error {
	switch said := p.get("dpop_jkt"); {
	case key == "":
	case said != "" && said != key:
		return dpop.Invalid("DPoP Proof public key thumbprint does not match dpop_jkt", nil)
	default:
		p.values["dpop_jkt"] = key
	}
	return nil
}

// pushedError is what the page of a wrong destination says, for a client.
func pushedError(err error) error {
	var page *theme.Error
	if !errors.As(err, &page) {
		return err
	}
	description := "Invalid Request"
	if page.Text == "invalidRedirect" {
		description = "Invalid parameter: redirect_uri"
	}
	e := oauth.InvalidRequest(description)
	e.Cause = err
	return e
}

// resolve is p, or the request that p refers to: of p only client_id is taken
// then (RFC 9126 §4, RFC 9101 §6.3).
func (h *Handler) resolve(ctx context.Context, r realm.Realm, p parameters, c client.Client) (parameters, error) {
	object, uri := p.get("request"), p.get("request_uri")
	if object == "" && uri == "" {
		return p, nil
	}
	if object != "" && uri != "" || slices.ContainsFunc(p.repeated, func(name string) bool { return strings.HasPrefix(name, "request") }) {
		return p, oauth.InvalidRequest("request and request_uri exclude each other") // RFC 9101 §5
	}
	if value, ok := strings.CutPrefix(uri, pushedPrefix); ok {
		return h.findPushed(ctx, r, c, value)
	}
	signed := parameters{pushed: p.pushed, byValue: true}
	var err error
	if uri != "" {
		signed.byValue, signed.byReference = false, true
		if object, err = h.fetchObject(ctx, c, uri); err != nil {
			return p, err
		}
	}
	signed.values, signed.resources, err = h.object(ctx, r, c, object)
	return signed, err
}

func (h *Handler) findPushed(ctx context.Context, r realm.Realm, c client.Client, value string) (parameters, error) {
	body, err := h.c.Sessions.Pushed(ctx, r, c.ClientID, value)
	if errors.Is(err, session.ErrNotFound) {
		return parameters{}, &oauth.Error{Code: "invalid_request_uri", Cause: err}
	}
	if err != nil {
		return parameters{}, err
	}
	var kept keptRequest
	err = json.Unmarshal(body, &kept)
	return parameters{values: kept.Values, resources: kept.Resources, pushed: value, byValue: kept.Signed}, err
}

// keptRequest is a pushed request as it is kept.
type keptRequest struct {
	Values    map[string]string `json:"values"`
	Resources []string          `json:"resources"`
	Signed    bool              `json:"signed"` // they came in a request object
}

// broken answers a request that refers to one that is not there or not whole:
// to the client, if p says by itself where that is, else on a page.
func (h *Handler) broken(w http.ResponseWriter, req *http.Request, r realm.Realm, c client.Client, p parameters, err error) {
	q, at := destination(p, c)
	if at != nil {
		h.refuse(w, req, r, &theme.Error{Text: "invalidRequest", Cause: err})
		return
	}
	h.fail(w, req, r, q, err)
}

// caller reads the form of a client that has said who it is; if it has not,
// the answer is written.
func (h *Handler) caller(w http.ResponseWriter, req *http.Request, r realm.Realm) (client.Client, parameters, bool) {
	p, err := readForm(req)
	if err != nil {
		oauth.WriteError(w, err)
		return client.Client{}, parameters{}, false
	}
	caller, err := h.c.ClientAuth.Authenticate(req.Context(), r, req, p.values)
	if err != nil {
		oauth.WriteError(w, err)
		return client.Client{}, parameters{}, false
	}
	return caller.Client, p, clientauth.AllowOrigin(w, req, caller.Client)
}
