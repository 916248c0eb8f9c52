package grant

import (
	"context"
	"errors"

	"github.com/tegata/tegata/issuer/oauth"
	"github.com/tegata/tegata/issuer/session"
)

// deviceCode is the grant of RFC 8628 §3.4: a device asks whether its person
// has said yes in a browser meanwhile. The texts are Keycloak 26's.
func (h *Handler) deviceCode(ctx context.Context, req request) (response, error) {
	code := req.form["device_code"]
	if code == "" {
		return response{}, oauth.InvalidRequest("Missing parameter: device_code")
	}
	if !req.client.DeviceFlow() {
		return response{}, oauth.InvalidGrant("Client not allowed OAuth 2.0 Device Authorization Grant")
	}
	d, err := h.c.Sessions.PollDevice(ctx, req.realm, req.client.ClientID, code)
	if err != nil {
		return response{}, deviceError(err)
	}
	g, err := h.c.Sessions.OpenDirect(ctx, session.Direct{
		Login: session.Login{Realm: req.realm, UserID: d.UserID}, SessionID: d.SessionID, Approved: d.Rev,
		ClientID: req.client.ClientID, Scope: d.Scope, Asked: d.Asked, Binding: req.refreshBinding(),
		AccessLife: req.accessLife(), Limits: req.limits(),
	})
	if err != nil {
		return response{}, deadError(err)
	}
	g.User.ACR, g.User.AuthTime = d.ACR, d.AuthTime
	return h.mintUser(ctx, req, g, minting{kind: "dg"})
}

// deviceError is RFC 8628 §3.5.
func deviceError(err error) error {
	for _, e := range []struct {
		is                error
		code, description string
	}{
		{session.ErrPending, "authorization_pending", "The authorization request is still pending"},
		{session.ErrTooFast, "slow_down", "Slow down"},
		{session.ErrDenied, "access_denied", "The end user denied the authorization request"},
		{session.ErrTimedOut, "expired_token", "Device code is expired"},
		{session.ErrNotFound, oauth.CodeInvalidGrant, "Device code not valid"},
	} {
		if errors.Is(err, e.is) {
			return &oauth.Error{Code: e.code, Description: e.description, Cause: err}
		}
	}
	return err
}
