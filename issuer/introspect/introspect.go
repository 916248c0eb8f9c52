// Package introspect is the introspection endpoint (RFC 7662). It must not
// know where sessions are kept or how a token is signed.
//
// Only a confidential client may ask, and it is told about a token only if the
// token is meant for it: if it is named in aud. Otherwise the answer is
// {"active":false}, as for a token that does not exist, and the log says why
// (Keycloak since 26.6.2, CVE-2026-37979; there without the log line). A client
// with the attribute AnyAudience set to "true" is told about every token of the
// realm: for a gateway that asks on behalf of many services.
//
// The answer is JSON, or signed for who asks (RFC 9701), or JSON with the token
// stated again in it (Keycloak); who may know what is the same for each.
package introspect

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/tegata/tegata/internal/jose"
	"github.com/tegata/tegata/issuer/claims"
	"github.com/tegata/tegata/issuer/client"
	"github.com/tegata/tegata/issuer/clientauth"
	"github.com/tegata/tegata/issuer/oauth"
	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/issuer/token"
	"github.com/tegata/tegata/issuer/user"
)

// AnyAudience is the client attribute that exempts a client from the audience
// check.
const AnyAudience = "introspection.any.audience"

// TokenInAnswer is the client attribute with which answers have the token in
// them, signed anew, if they are asked for as application/jwt: for a gateway
// that passes on what is released now (Keycloak).
const TokenInAnswer = "client.introspection.response.allow.jwt.claim.enabled"

// ClientAuth finds out which client is calling; clientauth.Authenticator does.
type ClientAuth interface {
	Authenticate(ctx context.Context, r realm.Realm, req *http.Request, form oauth.Form) (clientauth.Result, error)
}

// Tokens reads tokens; token.Tokens does.
type Tokens interface {
	Read(ctx context.Context, r realm.Realm, compact string) (token.Read, error)
	SignIntrospection(ctx context.Context, r realm.Realm, alg jose.Algorithm, clientID string, answer map[string]any) (string, error)
	Restate(ctx context.Context, r realm.Realm, alg jose.Algorithm, read token.Read, released map[string]any) (string, error)
}

// Sessions says whether a token is alive; session.Sessions does.
type Sessions interface {
	Whose(ctx context.Context, sub session.Subject) (userID string, err error)
}

// Users finds people; user.Users does.
type Users interface {
	ByID(ctx context.Context, r realm.Realm, id string) (user.User, error)
}

// ClientStore finds the clients that tokens were issued to; client.Clients does.
type ClientStore interface {
	ByClientID(ctx context.Context, r realm.Realm, clientID string) (client.Client, error)
}

var (
	_ Users       = (*user.Users)(nil)
	_ ClientStore = (*client.Clients)(nil)

	_ ClientAuth = (*clientauth.Authenticator)(nil)
	_ Tokens     = (*token.Tokens)(nil)
	_ Sessions   = (*session.Sessions)(nil)
)

// Config configures a Handler. All fields are required.
type Config struct {
	Clients  ClientAuth
	Tokens   Tokens
	Sessions Sessions
	Users    Users
	Issued   ClientStore
	Claims   *claims.Maker
	Logger   *slog.Logger
}

// Handler is the introspection endpoint of every realm.
type Handler struct{ c Config }

// New checks the configuration.
func New(c Config) (*Handler, error) {
	if c.Clients == nil || c.Tokens == nil || c.Sessions == nil || c.Users == nil || c.Issued == nil || c.Claims == nil || c.Logger == nil {
		return nil, errors.New("introspect: every field of Config is required")
	}
	return &Handler{c}, nil
}

// ServeRealm answers a POST to a realm's introspection endpoint.
func (h *Handler) ServeRealm(w http.ResponseWriter, req *http.Request, r realm.Realm) {
	form, err := oauth.ParseForm(req)
	if err != nil {
		oauth.WriteError(w, err)
		return
	}
	caller, err := h.caller(req, r, form)
	if err != nil {
		oauth.WriteError(w, err)
		return
	}
	answer, err := h.answer(req, r, caller, form)
	if err != nil {
		oauth.WriteError(w, err)
		return
	}
	if !accepts(req, typeSigned) {
		oauth.WriteJSON(w, http.StatusOK, answer)
		return
	}
	signed, err := h.c.Tokens.SignIntrospection(req.Context(), r, caller.IntrospectionAlgorithm(), caller.ClientID, answer)
	if err != nil {
		oauth.WriteError(w, err)
		return
	}
	oauth.WriteText(w, typeSigned, signed)
}

func (h *Handler) answer(req *http.Request, r realm.Realm, caller client.Client, form oauth.Form) (map[string]any, error) {
	compact, hint := form["token"], form["token_type_hint"]
	if compact == "" {
		return nil, oauth.InvalidRequest("Token not provided.")
	}
	if !slices.Contains([]string{"", "access_token", "refresh_token"}, hint) {
		return nil, oauth.InvalidRequest("Unsupported token type.")
	}
	read, err := h.c.Tokens.Read(req.Context(), r, compact)
	if errors.Is(err, token.ErrInvalid) {
		return h.inactive(req, caller, read, "not a token of this realm"), nil
	}
	if err != nil {
		return nil, err
	}
	if why := unfit(caller, read, hint); why != "" {
		return h.inactive(req, caller, read, why), nil
	}
	issuedTo, err := h.c.Issued.ByClientID(req.Context(), r, read.Token.Client)
	if errors.Is(err, client.ErrNotFound) {
		return h.inactive(req, caller, read, err.Error()), nil
	}
	if err != nil {
		return nil, err
	}
	userID, err := h.c.Sessions.Whose(req.Context(), session.Subject{
		Realm: r, Token: read.Token, FamilyID: read.FamilyID, Generation: read.Generation,
		Named: func(userID string) bool { return h.c.Claims.Subject(r, issuedTo, userID) == read.Token.Subject },
	})
	var dead *session.Dead
	if errors.As(err, &dead) {
		return h.inactive(req, caller, read, dead.Why), nil
	}
	if err != nil {
		return nil, err
	}
	now, err := h.released(req.Context(), r, issuedTo, userID, read)
	if errors.Is(err, user.ErrNotFound) || errors.Is(err, client.ErrNotFound) {
		return h.inactive(req, caller, read, err.Error()), nil
	}
	if err != nil {
		return nil, err
	}
	answer := active(read, now)
	if read.Kind == token.Access && caller.Attributes[TokenInAnswer] == "true" && accepts(req, typeToken) {
		answer["jwt"], err = h.c.Tokens.Restate(req.Context(), r, issuedTo.AccessTokenAlgorithm(), read, now)
	}
	return answer, err
}

// The media types of answers that are not plain JSON: RFC 9701 §4, and what
// Keycloak calls the one with a token in it.
const (
	typeSigned = "application/token-introspection+jwt"
	typeToken  = "application/jwt"
)

// accepts reports whether a request names a media type in Accept.
func accepts(req *http.Request, want string) bool {
	for _, ranges := range req.Header.Values("Accept") {
		for _, one := range strings.Split(ranges, ",") {
			kind, parameters, err := mime.ParseMediaType(one)
			weight, weighed := parameters["q"]
			if err == nil && kind == want && (!weighed || strings.Trim(weight, "0.") != "") {
				return true
			}
		}
	}
	return false
}

// released is what the token's client is told about the person now: a role that
// was taken away is not in it, whatever the token says. Refresh and ID tokens
// are what they are.
func (h *Handler) released(ctx context.Context, r realm.Realm, c client.Client, userID string, read token.Read) (map[string]any, error) {
	if read.Kind != token.Access {
		return nil, nil
	}
	if id, ok := claims.Account(read.Claims); ok && read.Token.Session == "" {
		return h.account(ctx, r, c, id, read)
	}
	u, err := h.c.Users.ByID(ctx, r, userID)
	if err != nil {
		return nil, err
	}
	return h.c.Claims.For(claims.Request{Realm: r, Client: c, User: u, Scope: read.Scope}).Introspection, nil
}

// account is what is released of a client that acts for itself: of the token's
// own client, or of another, whose token it was given.
func (h *Handler) account(ctx context.Context, r realm.Realm, c client.Client, id string, read token.Read) (map[string]any, error) {
	account, err := h.c.Issued.ByClientID(ctx, r, id)
	if err == nil && account.ID != read.Token.Subject {
		err = client.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return h.c.Claims.ForAccount(r, c, account, read.Scope).Introspection, nil
}

// caller authenticates; a public client has proved nothing.
func (h *Handler) caller(req *http.Request, r realm.Realm, form oauth.Form) (client.Client, error) {
	result, err := h.c.Clients.Authenticate(req.Context(), r, req, form)
	if err != nil {
		return client.Client{}, err
	}
	if result.Client.PublicClient {
		e := oauth.InvalidRequest("Client not allowed.")
		e.Status = http.StatusForbidden
		return client.Client{}, e
	}
	return result.Client, nil
}

// unfit says why a genuine token is not to be called active, or nothing. The
// hint counts, as in Keycloak: a refresh token is looked at only if the caller
// says that it is one, and then by its own client alone.
func unfit(caller client.Client, read token.Read, hint string) string {
	refresh := read.Kind == token.Refresh || read.Kind == token.Offline
	switch {
	case read.Expired:
		return "expired"
	case refresh != (hint == "refresh_token"):
		return "kind differs from token_type_hint"
	case refresh && read.Token.Client != caller.ClientID:
		return "refresh token of another client"
	case refresh, caller.Attributes[AnyAudience] == "true":
		return ""
	case !slices.Contains(read.Audience, caller.ClientID):
		return "caller not in aud"
	}
	return ""
}

// inactive says no more than RFC 7662 §2.2 allows, and the rest to our log.
func (h *Handler) inactive(req *http.Request, caller client.Client, read token.Read, why string) map[string]any {
	h.c.Logger.InfoContext(req.Context(), "introspected token is not active",
		"why", why, "caller", caller.ClientID, "azp", read.Token.Client, "jti", read.Token.ID)
	return map[string]any{"active": false}
}

// active is what the token says, with what is released now instead of what was
// when it was minted, and Keycloak's four members.
func active(read token.Read, released map[string]any) map[string]any {
	answer := maps.Clone(read.Claims)
	if released != nil {
		maps.DeleteFunc(answer, func(name string, _ any) bool { return !token.Reserved(name) })
		for name, value := range released {
			if !token.Reserved(name) {
				answer[name] = value
			}
		}
	}
	answer["active"] = true
	answer["token_type"] = read.Claims["typ"] // DPoP too (RFC 9449 §6.2)
	answer["client_id"] = read.Token.Client
	if name, ok := answer["preferred_username"]; ok {
		answer["username"] = name
	}
	return answer
}
