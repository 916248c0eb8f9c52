package grant

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/tegata/tegata/issuer/claims"
	"github.com/tegata/tegata/issuer/client"
	"github.com/tegata/tegata/issuer/oauth"
	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/issuer/token"
)

// exchangeAccount exchanges a token that a client got for itself: the caller
// gets one about that client's service account. It dies with either client, and
// ends no later than the one that it came from.
func (h *Handler) exchangeAccount(ctx context.Context, req request, subject token.Read, actor json.RawMessage, issued string) (response, error) {
	if issued != typeAccess { // nobody has logged in
		return response{}, oauth.InvalidRequest("requested_token_type unsupported")
	}
	account, err := h.accountOf(ctx, req, subject)
	if err != nil {
		return response{}, err
	}
	scope, err := req.scope()
	if err != nil {
		return response{}, err
	}
	scope = session.WithoutOffline(scope)
	released := h.c.Claims.ForAccount(req.realm, req.client, account, scope)
	target, err := h.target(ctx, req, released)
	if err != nil {
		return response{}, err
	}
	if len(target) > 0 {
		released.Audience = target
	}
	// The revision is read before the subject is looked at once more: what
	// killed it meanwhile is then newer than the new token, and kills that too.
	rev, err := h.c.Sessions.MintPoint(ctx, req.realm, req.client.ClientID, req.accessLife())
	if err == nil {
		err = h.c.Sessions.Alive(ctx, session.Subject{Realm: req.realm, Token: subject.Token})
	}
	if err != nil {
		return response{}, subjectError(err)
	}
	set, err := h.c.Tokens.MintClient(ctx, req.realm, token.ClientOrder{
		Client: req.minting(), Subject: account.ID, Scope: scope, Rev: rev, Binding: req.binding,
		Claims:    token.Claims{Access: released.Access, Audience: released.Audience},
		Exchanged: true, Actor: actor, Expires: subject.Expires,
	})
	if errors.Is(err, token.ErrSessionOver) {
		return response{}, invalidSubject(err)
	}
	if err != nil {
		return response{}, err
	}
	answer := respond(set)
	answer.IssuedTokenType = typeAccess
	return answer, nil
}

// accountOf is the client whose service account a token is about.
func (h *Handler) accountOf(ctx context.Context, req request, subject token.Read) (client.Client, error) {
	id, ok := claims.Account(subject.Claims)
	if !ok {
		return client.Client{}, invalidSubject(errors.New("a token of neither a person nor a service account"))
	}
	account, err := h.c.Directory.ByClientID(ctx, req.realm, id)
	if err == nil && account.ID == subject.Token.Subject && account.Enabled && account.ServiceAccountsEnabled {
		return account, nil
	}
	if err == nil || errors.Is(err, client.ErrNotFound) {
		return client.Client{}, invalidSubject(errors.New("the service account is gone"))
	}
	return client.Client{}, err
}
