package grant

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/tegata/tegata/issuer/claims"
	"github.com/tegata/tegata/issuer/client"
	"github.com/tegata/tegata/issuer/oauth"
	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/issuer/token"
)

// Token types of an exchange (RFC 8693 §3).
const (
	typeAccess = "urn:ietf:params:oauth:token-type:access_token"
	typeID     = "urn:ietf:params:oauth:token-type:id_token"
)

// tokenExchange is the grant of RFC 8693, as Keycloak's standard token exchange
// (v2): a client that was sent an access token of a person's gets one of its
// own for that person, in the same session, with its own scopes and audiences
// or fewer. There is no refresh token. Of a client's own token, which has no
// session, comes one without a session; see exchangeAccount. For delegation
// see actor.
//
// Unlike Keycloak's, the new token does not outlive the old: else who was sent
// a token once could have it renewed as long as the session lasts.
func (h *Handler) tokenExchange(ctx context.Context, req request) (response, error) {
	if err := req.checkExchange(); err != nil {
		return response{}, err
	}
	subject, userID, err := h.subject(ctx, req)
	if err != nil {
		return response{}, err
	}
	issued, err := req.requestedType()
	if err != nil {
		return response{}, err
	}
	actor, err := h.actor(ctx, req, subject)
	if err != nil {
		return response{}, err
	}
	if subject.Token.Session == "" {
		return h.exchangeAccount(ctx, req, subject, actor, issued)
	}
	if issued == typeID {
		req = req.withOpenID()
	}
	scope, err := req.scope()
	if err != nil {
		return response{}, err
	}
	released, err := h.release(ctx, req, releasing{userID: userID, scope: scope})
	if err != nil {
		return response{}, err
	}
	target, err := h.target(ctx, req, released) // before the caller is let into the session
	if err != nil {
		return response{}, err
	}
	g, err := h.c.Sessions.Exchange(ctx, session.Exchanging{
		Realm: req.realm, SessionID: subject.Token.Session, UserID: userID,
		ClientID: req.client.ClientID, Scope: scope, AccessLife: req.accessLife(), Limits: req.limits(),
	})
	if err != nil {
		return response{}, subjectError(err)
	}
	g.Expires = earlier(g.Expires, subject.Expires)
	answer, err := h.mintUser(ctx, req, g, minting{kind: "te", noRefresh: true, noID: issued != typeID, audience: target, actor: actor})
	if err != nil {
		return response{}, err
	}
	answer.IssuedTokenType = issued
	if issued == typeID {
		answer.AccessToken, answer.IDToken, answer.TokenType = answer.IDToken, "", "N_A" // RFC 8693 §2.2.1
	}
	return answer, nil
}

// checkExchange is what can be said before any token is looked at.
func (req request) checkExchange() error {
	form := req.form
	switch {
	case req.client.PublicClient:
		return oauth.InvalidRequest("Public client is not allowed to exchange token")
	case !req.client.TokenExchangeEnabled():
		return oauth.InvalidRequest("Standard token exchange is not enabled for the requested client")
	case form["subject_token"] == "":
		return oauth.InvalidRequest("Parameter 'subject_token' required for standard token exchange")
	case form["subject_token_type"] == "":
		return oauth.InvalidRequest("Parameter 'subject_token_type' required for standard token exchange")
	case form["subject_token_type"] != typeAccess:
		return oauth.InvalidRequest("Parameter 'subject_token' supports access tokens only")
	}
	return req.checkActor()
}

// requestedType is what the caller wants to have.
func (req request) requestedType() (string, error) {
	switch want := req.form["requested_token_type"]; want {
	case "", typeAccess:
		return typeAccess, nil
	case typeID:
		return typeID, nil
	}
	return "", oauth.InvalidRequest("requested_token_type unsupported")
}

// withOpenID asks for the scope without which there is no ID token.
func (req request) withOpenID() request {
	form := maps.Clone(req.form)
	if !slices.Contains(strings.Fields(form["scope"]), "openid") {
		form["scope"] = strings.TrimSpace("openid " + form["scope"])
	}
	req.form = form
	return req
}

// subject is the live access token that is to be exchanged, sent to the caller
// or issued to it, and whose it is: nobody's, if it is a client's own.
func (h *Handler) subject(ctx context.Context, req request) (read token.Read, userID string, err error) {
	read, err = h.c.Tokens.Read(ctx, req.realm, req.form["subject_token"])
	if err != nil && !errors.Is(err, token.ErrInvalid) {
		return read, "", err
	}
	if err != nil || read.Kind != token.Access || read.Expired {
		return read, "", invalidSubject(err)
	}
	issuedTo, err := h.c.Directory.ByClientID(ctx, req.realm, read.Token.Client)
	if err != nil && !errors.Is(err, client.ErrNotFound) {
		return read, "", err
	}
	userID, err = h.c.Sessions.Whose(ctx, session.Subject{Realm: req.realm, Token: read.Token, Named: func(userID string) bool {
		return h.c.Claims.Subject(req.realm, issuedTo, userID) == read.Token.Subject
	}})
	if err != nil {
		return read, "", subjectError(err)
	}
	if read.Token.Client != req.client.ClientID && !slices.Contains(read.Audience, req.client.ClientID) {
		return read, "", &oauth.Error{
			Code: oauth.CodeAccessDenied, Description: "Client is not within the token audience", Status: http.StatusForbidden,
		}
	}
	return read, userID, nil
}

// target is where the new token is to be used: every audience and resource that
// is named, together (RFC 8693 §2.1). An audience is a client of the realm, and
// both are what the caller's tokens could have anyway, as released has them.
func (h *Handler) target(ctx context.Context, req request, released claims.Claims) ([]string, error) {
	audience := unique(req.lists["audience"])
	for _, name := range audience {
		c, err := h.c.Directory.ByClientID(ctx, req.realm, name)
		if errors.Is(err, client.ErrNotFound) || err == nil && !c.Enabled {
			e := oauth.InvalidClient("Audience not found")
			e.Status = http.StatusBadRequest
			return nil, e
		}
		if err != nil {
			return nil, err
		}
	}
	may := released
	if err := narrow(&may, audience); err != nil {
		return nil, err
	}
	if err := req.asked(&released, session.Asked{}); err != nil { // and the resources
		return nil, err
	}
	return unique(slices.Concat(audience, req.resources())), nil
}

// invalidSubject says nothing of why: the caller need not be the token's client.
func invalidSubject(cause error) error {
	e := oauth.InvalidRequest("Invalid token")
	e.Cause = cause
	return e
}

func subjectError(err error) error {
	var dead *session.Dead
	if errors.As(err, &dead) {
		return invalidSubject(err)
	}
	return err
}

// earlier of two ends, of which a is zero if there is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}
