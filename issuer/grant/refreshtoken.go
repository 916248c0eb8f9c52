package grant

import (
	"context"
	"errors"

	"github.com/tegata/tegata/issuer/oauth"
	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/issuer/token"
	"github.com/tegata/tegata/revocation"
)

// refreshToken is the grant of RFC 6749 §6, with rotation: each use gives a
// new refresh token, but to clients of FAPI 2.0 (§5.3.2.1: an answer that is
// lost must not cost the session, and those tokens are bound). The scope stays what was granted; as in Keycloak a
// narrower or wider request does not change it, an unknown scope is refused.
func (h *Handler) refreshToken(ctx context.Context, req request) (response, error) {
	compact := req.form["refresh_token"]
	if compact == "" {
		return response{}, oauth.InvalidRequest("No refresh token")
	}
	read, err := h.c.Tokens.Read(ctx, req.realm, compact)
	if errors.Is(err, token.ErrInvalid) {
		return response{}, refused("Invalid refresh token", err)
	}
	if err != nil {
		return response{}, err
	}
	if err := req.checkRefresh(read); err != nil {
		return response{}, err
	}
	g, err := h.c.Sessions.Refresh(ctx, session.Refreshing{
		// Whose it is the session knows; sub is what the client calls them.
		Realm:      req.realm,
		SessionID:  read.Token.Session,
		ClientID:   req.client.ClientID,
		FamilyID:   read.FamilyID,
		Generation: read.Generation,
		AccessLife: req.accessLife(), Limits: req.limits(), Binding: req.proved, Keep: req.client.FAPI(),
	})
	if errors.Is(err, session.ErrReused) {
		h.c.Reused(revocation.ReasonRefreshReuse)
		return response{}, refused("Maximum allowed refresh token reuse exceeded", err)
	}
	if errors.Is(err, session.ErrBinding) {
		return response{}, refused("Invalid refresh token: not presented as it is bound", err)
	}
	var dead *session.Dead
	if read.Kind == token.Offline && errors.As(err, &dead) && dead.Why == session.NoSession {
		return response{}, refused("Offline user session not found", err)
	}
	if err != nil {
		return response{}, deadError(err)
	}
	return h.mintUser(ctx, req, g, minting{kind: "rt"})
}

// checkRefresh is what can be said of a refresh token before its session is
// looked at.
func (req request) checkRefresh(read token.Read) error {
	switch {
	case read.Kind != token.Refresh && read.Kind != token.Offline:
		return oauth.InvalidGrant("Invalid refresh token")
	case read.Token.Client != req.client.ClientID:
		return oauth.InvalidGrant("Invalid refresh token. Token client and authorized client don't match")
	case read.Expired:
		return oauth.InvalidGrant("Token is not active")
	}
	_, err := req.scope()
	return err
}
