package grant

import (
	"context"
	"errors"

	"github.com/tegata/tegata/issuer/oauth"
	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/issuer/user"
)

// jwtBearer is the grant of RFC 7523 §2.1: an issuer that the client's
// assertions are taken from vouches for a person, by user id or username.
//
// There is no refresh token (RFC 7521 §4.1: who has an assertion can get
// another), no offline session, and no ID token: nobody has logged in here.
func (h *Handler) jwtBearer(ctx context.Context, req request) (response, error) {
	switch {
	case req.client.PublicClient:
		return response{}, oauth.UnauthorizedClient("Public client not allowed to use authorization grant")
	case !req.client.AssertionGrantEnabled():
		return response{}, oauth.UnauthorizedClient("JWT Authorization Grant is not supported for the requested client")
	case req.form["assertion"] == "":
		return response{}, oauth.InvalidRequest("Missing parameter:assertion")
	}
	scope, err := req.scope()
	if err != nil {
		return response{}, err
	}
	subject, err := h.c.Clients.Vouched(ctx, req.realm, req.client, req.form["assertion"])
	if err != nil {
		return response{}, err
	}
	person, err := h.named(ctx, req, subject)
	if err != nil {
		return response{}, err
	}
	return h.openDirect(ctx, req, direct{userID: person.ID, scope: session.WithoutOffline(scope), kind: "ag", acr: "0", vouched: true})
}

// named is the person of a user id, else of a username. An id comes first: a
// name can be chosen, an id cannot.
func (h *Handler) named(ctx context.Context, req request, subject string) (user.User, error) {
	u, err := h.c.Users.ByID(ctx, req.realm, subject)
	if errors.Is(err, user.ErrNotFound) {
		u, err = h.c.Users.ByUsername(ctx, req.realm, subject)
	}
	if errors.Is(err, user.ErrNotFound) {
		return user.User{}, refused("User not found", err)
	}
	return u, err
}
