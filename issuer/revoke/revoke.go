// Package revoke is the revocation endpoint (RFC 7009). It must not know what
// a revocation is made of: session decides what each end revokes.
//
// An access token dies alone. A refresh token takes its client's part of the
// session with it, and the session too if that was the last client (Keycloak
// 26). So does one that was rotated, as it would at the token endpoint: it is of
// a grant that lives. One whose chain has ended kills nothing, whatever the
// client has in that session by now; in Keycloak it does. The answer leaves
// after the commit and after the watchers have applied the revocation, or after
// as long as the caller or the issuer waits for them (RFC 7240: wait,
// respond-async); its header says which, see Config.Revoked, and its body too
// for who prefers return=representation. The hint is not needed and not looked
// at: our tokens say what they are.
//
// An unknown, foreign or dead token is answered with 200 and nothing else
// (RFC 7009 §2.2); Keycloak adds an error object, which we do not.
package revoke

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/tegata/tegata/issuer/clientauth"
	"github.com/tegata/tegata/issuer/oauth"
	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/issuer/token"
	"github.com/tegata/tegata/revocation"
)

// ClientAuth finds out which client is calling; clientauth.Authenticator does.
type ClientAuth interface {
	Authenticate(ctx context.Context, r realm.Realm, req *http.Request, form oauth.Form) (clientauth.Result, error)
}

// Tokens reads tokens; token.Tokens does.
type Tokens interface {
	Read(ctx context.Context, r realm.Realm, compact string) (token.Read, error)
}

// Sessions kills; session.Sessions does.
type Sessions interface {
	RevokeToken(ctx context.Context, r realm.Realm, jti string, exp time.Time, why revocation.Reason) (revocation.Revision, error)
	EndFamily(ctx context.Context, r realm.Realm, sid, clientID, familyID string, why revocation.Reason) (revocation.Revision, error)
}

var (
	_ ClientAuth = (*clientauth.Authenticator)(nil)
	_ Tokens     = (*token.Tokens)(nil)
	_ Sessions   = (*session.Sessions)(nil)
)

// Config configures a Handler. All fields are required.
type Config struct {
	Clients  ClientAuth
	Tokens   Tokens
	Sessions Sessions

	// Revoked is called after the commit. It waits until the watchers have
	// applied rev, for as long as the caller prefers or the issuer is
	// configured to, and states the outcome in the answer's header.
	Revoked func(w http.ResponseWriter, req *http.Request, rev revocation.Revision, why revocation.Reason) revocation.Outcome
}

// Handler is the revocation endpoint of every realm.
type Handler struct{ c Config }

// New checks the configuration.
func New(c Config) (*Handler, error) {
	if c.Clients == nil || c.Tokens == nil || c.Sessions == nil || c.Revoked == nil {
		return nil, errors.New("revoke: every field of Config is required")
	}
	return &Handler{c}, nil
}

// ServeRealm answers a POST to a realm's revocation endpoint.
func (h *Handler) ServeRealm(w http.ResponseWriter, req *http.Request, r realm.Realm) {
	form, err := oauth.ParseForm(req)
	if err != nil {
		oauth.WriteError(w, err)
		return
	}
	caller, err := h.c.Clients.Authenticate(req.Context(), r, req, form)
	if err != nil {
		oauth.WriteError(w, err)
		return
	}
	if !clientauth.AllowOrigin(w, req, caller.Client) {
		return
	}
	if form["token"] == "" {
		oauth.WriteError(w, oauth.InvalidRequest("Token not provided"))
		return
	}
	rev, err := h.revoke(revocation.By(req.Context(), revocation.ActorClient(caller.Client.ClientID)), r, caller.Client.ClientID, form["token"])
	if err != nil {
		oauth.WriteError(w, err)
		return
	}
	outcome := revocation.Outcome{Pending: []string{}, Unbounded: []string{}}
	if rev > 0 {
		outcome = h.c.Revoked(w, req, rev, revocation.ReasonRevoked)
	}
	h.answer(w, req, caller, outcome)
}

// answer is 200 (RFC 7009 §2.2), also for who prefers respond-async: what is
// committed is revoked. Names of watchers tell where gateways are, and which
// of them is cut off just now: they are for clients that have shown a secret,
// not for everybody who was given a token.
func (h *Handler) answer(w http.ResponseWriter, req *http.Request, caller clientauth.Result, o revocation.Outcome) {
	if !oauth.ParsePrefer(req.Header).Representation {
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(http.StatusOK)
		return
	}
	if caller.Client.PublicClient {
		o = o.Hidden()
	}
	w.Header().Add("Preference-Applied", "return=representation")
	oauth.WriteJSON(w, http.StatusOK, o)
}

// revoke returns the revision of what it committed, or 0 if there was nothing
// to kill.
func (h *Handler) revoke(ctx context.Context, r realm.Realm, clientID, compact string) (revocation.Revision, error) {
	read, err := h.c.Tokens.Read(ctx, r, compact)
	if errors.Is(err, token.ErrInvalid) {
		return 0, nil // RFC 7009 §2.2
	}
	if err != nil {
		return 0, err
	}
	if read.Kind == token.ID {
		return 0, oauth.UnsupportedTokenType("Unsupported token type")
	}
	if read.Token.Client != clientID {
		return 0, oauth.InvalidRequest("Unmatching clients")
	}
	var rev revocation.Revision
	switch {
	case read.Expired:
		return 0, nil
	case read.Kind == token.Access:
		rev, err = h.c.Sessions.RevokeToken(ctx, r, read.Token.ID, read.Expires, revocation.ReasonRevoked)
	default:
		rev, err = h.c.Sessions.EndFamily(ctx, r, read.Token.Session, clientID, read.FamilyID, revocation.ReasonRevoked)
	}
	if errors.Is(err, session.ErrNotFound) {
		return 0, nil
	}
	return rev, err
}
