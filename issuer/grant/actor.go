package grant

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/tegata/tegata/issuer/oauth"
	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/issuer/token"
)

// maxActors is how many may have acted one for another.
const maxActors = 8

// checkActor is RFC 8693 §2.1: a type with a token, and neither without the
// other.
func (req request) checkActor() error {
	switch kind := req.form["actor_token_type"]; {
	case req.form["actor_token"] == "" && kind != "":
		return oauth.InvalidRequest("Parameter 'actor_token_type' without 'actor_token'")
	case req.form["actor_token"] != "" && kind == "":
		return oauth.InvalidRequest("Parameter 'actor_token_type' required")
	case kind != "" && kind != typeAccess:
		return oauth.InvalidRequest("Parameter 'actor_token_type' supports access tokens only")
	}
	return nil
}

// actor is the claim act of the new token (RFC 8693 §4.1), nil if nobody acts
// for the subject: the caller, if it asks for that with an actor_token, and
// inside, whoever acted before.
//
// The actor can only be the caller itself, by a token that it got for itself.
// Whoever acts must be able to lose it: the new token is the caller's, and dies
// with the caller. For a third party's end nothing would kill it.
func (h *Handler) actor(ctx context.Context, req request, subject token.Read) (json.RawMessage, error) {
	if !mayAct(subject.Claims["may_act"], req) {
		return nil, oauth.InvalidRequest("Client may not act for the subject")
	}
	act := subject.Claims["act"]
	if compact := req.form["actor_token"]; compact != "" {
		if err := h.checkActorToken(ctx, req, compact); err != nil {
			return nil, err
		}
		now := map[string]any{"sub": req.client.ID, "client_id": req.client.ClientID}
		if act != nil {
			now["act"] = act
		}
		act = now
	}
	if actors(act) > maxActors {
		return nil, oauth.InvalidRequest("Too many have acted")
	}
	if act == nil {
		return nil, nil
	}
	return json.Marshal(act)
}

// checkActorToken: the actor's token is live, and the caller's for itself.
func (h *Handler) checkActorToken(ctx context.Context, req request, compact string) error {
	read, err := h.c.Tokens.Read(ctx, req.realm, compact)
	if err != nil && !errors.Is(err, token.ErrInvalid) {
		return err
	}
	if err != nil || read.Kind != token.Access || read.Expired ||
		read.Token.Session != "" || read.Token.Client != req.client.ClientID || read.Token.Subject != req.client.ID {
		return invalidActor(err)
	}
	err = h.c.Sessions.Alive(ctx, session.Subject{Realm: req.realm, Token: read.Token})
	var dead *session.Dead
	if errors.As(err, &dead) {
		return invalidActor(err)
	}
	return err
}

func invalidActor(cause error) error {
	e := oauth.InvalidRequest("Invalid actor token")
	e.Cause = cause
	return e
}

// mayAct is RFC 8693 §4.4: a token that says who may act for its subject is
// exchanged for nobody else, and for nobody if it says so in a way that is not
// understood.
func mayAct(claim any, req request) bool {
	if claim == nil {
		return true
	}
	members, ok := claim.(map[string]any)
	caller := map[string]any{"sub": req.client.ID, "client_id": req.client.ClientID, "iss": req.realm.Issuer}
	for name, value := range members {
		ok = ok && caller[name] == value
	}
	_, bySubject := members["sub"]
	_, byClient := members["client_id"]
	return ok && (bySubject || byClient)
}

// actors counts the acts inside each other.
func actors(act any) int {
	n := 0
	for act != nil {
		members, _ := act.(map[string]any)
		act = members["act"]
		n++
	}
	return n
}
