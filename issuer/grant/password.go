package grant

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/tegata/tegata/issuer/oauth"
	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/issuer/userauth"
)

// password is the grant of RFC 6749 §4.3, which RFC 9700 §2.4 forbids: the
// client sees the password. It is there for moving old clients, off unless
// directAccessGrantsEnabled says otherwise.
//
// A wrong name and a wrong password have one answer, after the same work, and
// so has an address that has tried too often.
func (h *Handler) password(ctx context.Context, req request) (response, error) {
	if !req.client.DirectAccessGrantsEnabled {
		return response{}, oauth.UnauthorizedClient("Client not allowed for direct access grants")
	}
	if req.client.ConsentRequired { // there is no page to ask on
		e := oauth.InvalidClient("Client requires user consent")
		e.Status = http.StatusBadRequest // Keycloak 26: the client did authenticate
		return response{}, e
	}
	scope, err := req.scope()
	if err != nil {
		return response{}, err
	}
	person, err := h.c.People.Password(ctx, req.realm, req.form["username"], req.form["password"], req.address)
	switch {
	case errors.Is(err, userauth.ErrInvalid), errors.Is(err, userauth.ErrLimited):
		return response{}, refused("Invalid user credentials", err)
	case errors.Is(err, userauth.ErrDisabled):
		return response{}, refused("Account disabled", err)
	case err != nil:
		return response{}, err
	}
	return h.openDirect(ctx, req, direct{userID: person.ID, scope: scope, kind: "ro", acr: "1", amr: []string{"pwd"}})
}

// direct is a session that a grant opens without a browser.
type direct struct {
	userID, scope string
	kind          string // see minting
	acr           string
	amr           []string
	vouched       bool // the person was not here: no refresh token, no ID token, no auth_time
}

// openDirect opens it, and mints.
func (h *Handler) openDirect(ctx context.Context, req request, d direct) (response, error) {
	g, err := h.c.Sessions.OpenDirect(ctx, session.Direct{
		Login: session.Login{
			Realm: req.realm, UserID: d.userID, ACR: d.acr, AMR: d.amr, IP: req.address, Agent: req.agent,
		},
		ClientID: req.client.ClientID, Scope: d.scope, Binding: req.refreshBinding(),
		AccessLife: req.accessLife(), Limits: req.limits(), NoRefresh: d.vouched,
	})
	if err != nil {
		return response{}, deadError(err)
	}
	if d.vouched {
		g.User.AuthTime = time.Time{}
	}
	return h.mintUser(ctx, req, g, minting{kind: d.kind, noRefresh: d.vouched, noID: d.vouched})
}
