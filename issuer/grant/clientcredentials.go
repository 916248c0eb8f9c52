package grant

import (
	"context"
	"errors"
	"net/http"

	"github.com/tegata/tegata/issuer/oauth"
	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/issuer/token"
)

// clientCredentials is the grant of RFC 6749 §4.4: a client for itself. There
// is no session and no refresh token (§4.4.3); Keycloak's subject is a service
// account, whose stable id here is the client's.
func (h *Handler) clientCredentials(ctx context.Context, req request) (response, error) {
	if req.client.PublicClient {
		return response{}, notAllowed("Public client not allowed to retrieve service account")
	}
	if !req.client.ServiceAccountsEnabled {
		return response{}, notAllowed("Client not enabled to retrieve service account")
	}
	scope, err := req.scope()
	if err != nil {
		return response{}, err
	}
	rev, err := h.c.Sessions.MintPoint(ctx, req.realm, req.client.ClientID, req.accessLife())
	var dead *session.Dead
	if errors.As(err, &dead) {
		return response{}, refused("Client or realm not enabled", err)
	}
	if err != nil {
		return response{}, err
	}
	released := h.c.Claims.ForClient(req.realm, req.client, scope)
	if err := req.asked(&released, session.Asked{}); err != nil {
		return response{}, err
	}
	set, err := h.c.Tokens.MintClient(ctx, req.realm, token.ClientOrder{
		Client: req.minting(), Subject: req.client.ID, Scope: scope, Rev: rev, Binding: req.binding,
		Claims: token.Claims{Access: released.Access, Audience: released.Audience},
	})
	if err != nil {
		return response{}, err
	}
	return respond(set), nil
}

// notAllowed is unauthorized_client with the status Keycloak gives it here.
func notAllowed(description string) error {
	e := oauth.UnauthorizedClient(description)
	e.Status = http.StatusUnauthorized
	return e
}
