// Package userinfo is OpenID Connect's UserInfo endpoint (OpenID Connect Core
// §5.3). It must not know how a token is signed or where people are kept.
//
// What it says is read now, not copied from the token. Its refusals are those
// of a resource server (RFC 6750 §3), with Keycloak 26's texts.
package userinfo

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/tegata/tegata/issuer/claims"
	"github.com/tegata/tegata/issuer/client"
	"github.com/tegata/tegata/issuer/clientauth"
	"github.com/tegata/tegata/issuer/oauth"
	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/issuer/token"
	"github.com/tegata/tegata/issuer/user"
)

// Tokens reads tokens; token.Tokens does.
type Tokens interface {
	Read(ctx context.Context, r realm.Realm, compact string) (token.Read, error)
}

// Sessions says whether a token is alive; session.Sessions does.
type Sessions interface {
	Alive(ctx context.Context, sub session.Subject) error
}

// Users finds people; user.Users does.
type Users interface {
	ByID(ctx context.Context, r realm.Realm, id string) (user.User, error)
}

// Clients finds clients, for CORS; client.Clients does.
type Clients interface {
	ByClientID(ctx context.Context, r realm.Realm, clientID string) (client.Client, error)
}

var (
	_ Tokens   = (*token.Tokens)(nil)
	_ Sessions = (*session.Sessions)(nil)
	_ Users    = (*user.Users)(nil)
	_ Clients  = (*client.Clients)(nil)
)

// Config configures a Handler. All fields are required.
type Config struct {
	Tokens   Tokens
	Sessions Sessions
	Users    Users
	Clients  Clients
}

// Handler is the UserInfo endpoint of every realm.
type Handler struct{ c Config }

// New checks the configuration.
func New(c Config) (*Handler, error) {
	if c.Tokens == nil || c.Sessions == nil || c.Users == nil || c.Clients == nil {
		return nil, errors.New("userinfo: every field of Config is required")
	}
	return &Handler{c}, nil
}

// refusal is an answer of RFC 6750 §3.1; without a code it only asks for a token.
type refusal struct {
	status            int
	code, description string
	cause             error
}

func (f *refusal) Error() string { return f.code + ": " + f.description }

func (f *refusal) Unwrap() error { return f.cause }

func invalidToken(description string, cause error) error {
	return &refusal{http.StatusUnauthorized, "invalid_token", description, cause}
}

// ServeRealm answers a GET or POST to a realm's UserInfo endpoint.
func (h *Handler) ServeRealm(w http.ResponseWriter, req *http.Request, r realm.Realm) {
	read, err := h.authorize(req, r)
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	c, err := h.c.Clients.ByClientID(req.Context(), r, read.Token.Client)
	if err != nil {
		oauth.WriteError(w, fmt.Errorf("finding the token's client: %w", err))
		return
	}
	if !clientauth.AllowOrigin(w, req, c) {
		return
	}
	u, err := h.c.Users.ByID(req.Context(), r, read.Token.Subject)
	if errors.Is(err, user.ErrNotFound) {
		h.refuse(w, r, invalidToken("user_not_found", err))
		return
	}
	if err != nil {
		oauth.WriteError(w, err)
		return
	}
	answer := claims.For(claims.Request{Client: c, User: u, Scope: read.Scope}).UserInfo
	answer["sub"] = u.ID
	oauth.WriteJSON(w, http.StatusOK, answer)
}

// authorize returns the live access token of a request.
func (h *Handler) authorize(req *http.Request, r realm.Realm) (token.Read, error) {
	compact, err := bearer(req)
	if err != nil {
		return token.Read{}, err
	}
	read, err := h.c.Tokens.Read(req.Context(), r, compact)
	if err != nil && !errors.Is(err, token.ErrInvalid) {
		return token.Read{}, err
	}
	if err != nil || read.Kind != token.Access || read.Expired {
		return token.Read{}, invalidToken("Token verification failed", err)
	}
	if !slices.Contains(strings.Fields(read.Scope), "openid") {
		return token.Read{}, &refusal{http.StatusForbidden, "insufficient_scope", "Missing openid scope", nil}
	}
	err = h.c.Sessions.Alive(req.Context(), session.Subject{Realm: r, Token: read.Token})
	var dead *session.Dead
	if errors.As(err, &dead) {
		return token.Read{}, invalidToken(deadText(dead.Why), err)
	}
	return read, err
}

func deadText(why string) string {
	switch why {
	case "session not found", "client session not found":
		return "user_session_not_found"
	default:
		return "Token verification failed"
	}
}

// bearer is the token of the Authorization header or of a form body, never of
// both (RFC 6750 §2) and never of the query.
func bearer(req *http.Request) (string, error) {
	var compact string
	if scheme, rest, ok := strings.Cut(req.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") {
		compact = strings.TrimSpace(rest)
	}
	kind, _, _ := mime.ParseMediaType(req.Header.Get("Content-Type"))
	if req.Method == http.MethodPost && kind == "application/x-www-form-urlencoded" {
		form, err := oauth.ParseForm(req)
		if err != nil {
			return "", err
		}
		if compact != "" && form["access_token"] != "" {
			return "", &refusal{http.StatusBadRequest, "invalid_request", "more than one token", nil}
		}
		compact += form["access_token"]
	}
	if compact == "" {
		return "", &refusal{status: http.StatusUnauthorized}
	}
	return compact, nil
}

// refuse writes a refusal, or any other error as a server error.
func (h *Handler) refuse(w http.ResponseWriter, r realm.Realm, err error) {
	var f *refusal
	if !errors.As(err, &f) {
		oauth.WriteError(w, err)
		return
	}
	challenge := fmt.Sprintf("Bearer realm=%q", r.Name)
	if f.code != "" {
		challenge += fmt.Sprintf(", error=%q, error_description=%q", f.code, f.description)
	}
	w.Header().Set("WWW-Authenticate", challenge)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(f.status)
}
