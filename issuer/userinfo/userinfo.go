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
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/tegata/tegata/internal/jose"
	"github.com/tegata/tegata/issuer/claims"
	"github.com/tegata/tegata/issuer/client"
	"github.com/tegata/tegata/issuer/clientauth"
	"github.com/tegata/tegata/issuer/dpop"
	"github.com/tegata/tegata/issuer/oauth"
	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/issuer/token"
	"github.com/tegata/tegata/issuer/user"
)

// Tokens reads tokens and signs answers; token.Tokens does.
type Tokens interface {
	Read(ctx context.Context, r realm.Realm, compact string) (token.Read, error)
	SignUserInfo(ctx context.Context, r realm.Realm, alg jose.Algorithm, clientID, subject string, claims map[string]any) (string, error)
}

// Sessions says whether a token is alive; session.Sessions does.
type Sessions interface {
	Whose(ctx context.Context, sub session.Subject) (userID string, err error)
}

// Users finds people; user.Users does.
type Users interface {
	ByID(ctx context.Context, r realm.Realm, id string) (user.User, error)
}

// Clients finds clients, for CORS; client.Clients does.
type Clients interface {
	ByClientID(ctx context.Context, r realm.Realm, clientID string) (client.Client, error)
}

// Proofs judges proofs of possession; dpop.Verifier does.
type Proofs interface {
	Prove(ctx context.Context, c dpop.Call) (thumbprint string, err error)
	Offer(r realm.Realm, answer http.Header)
}

var (
	_ Proofs   = (*dpop.Verifier)(nil)
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
	Proofs   Proofs
	Claims   *claims.Maker
}

// Handler is the UserInfo endpoint of every realm.
type Handler struct{ c Config }

// New checks the configuration.
func New(c Config) (*Handler, error) {
	if c.Tokens == nil || c.Sessions == nil || c.Users == nil || c.Clients == nil || c.Proofs == nil || c.Claims == nil {
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
	shown, err := presented(req)
	if err != nil {
		h.refuse(w, r, shown, err)
		return
	}
	read, c, userID, err := h.authorize(req, r, shown)
	if err != nil {
		h.refuse(w, r, shown, err)
		return
	}
	if !clientauth.AllowOrigin(w, req, c) {
		return
	}
	if err := h.possession(w, req, r, c, shown, read); err != nil {
		h.refuse(w, r, shown, err)
		return
	}
	u, err := h.c.Users.ByID(req.Context(), r, userID)
	if errors.Is(err, user.ErrNotFound) {
		h.refuse(w, r, shown, invalidToken("user_not_found", err))
		return
	}
	if err != nil {
		oauth.WriteError(w, err)
		return
	}
	released := h.c.Claims.For(claims.Request{Realm: r, Client: c, User: u, Scope: read.Scope, Named: claims.Named{UserInfo: read.UserInfo}})
	answer := released.UserInfo
	if alg := c.UserInfoAlgorithm(); alg != "" {
		signed, err := h.c.Tokens.SignUserInfo(req.Context(), r, alg, c.ClientID, released.Subject, answer)
		if err != nil {
			oauth.WriteError(w, err)
			return
		}
		oauth.WriteText(w, "application/jwt", signed) // OpenID Connect Core §5.3.2
		return
	}
	maps.DeleteFunc(answer, func(name string, _ any) bool { return token.Reserved(name) })
	answer["sub"] = released.Subject
	oauth.WriteJSON(w, http.StatusOK, answer)
}

// authorize returns the live access token of a request, its client and whose
// it is.
func (h *Handler) authorize(req *http.Request, r realm.Realm, shown credential) (read token.Read, c client.Client, userID string, err error) {
	if read, err = h.accessToken(req, r, shown); err != nil {
		return read, c, "", err
	}
	c, err = h.c.Clients.ByClientID(req.Context(), r, read.Token.Client)
	if err != nil && !errors.Is(err, client.ErrNotFound) {
		return read, c, "", fmt.Errorf("finding the token's client: %w", err)
	}
	userID, err = h.c.Sessions.Whose(req.Context(), session.Subject{Realm: r, Token: read.Token, Named: func(userID string) bool {
		return h.c.Claims.Subject(r, c, userID) == read.Token.Subject
	}})
	var dead *session.Dead
	if errors.As(err, &dead) {
		err = invalidToken(deadText(dead.Why), err)
	}
	return read, c, userID, err
}

// accessToken reads the access token of a request.
func (h *Handler) accessToken(req *http.Request, r realm.Realm, shown credential) (token.Read, error) {
	read, err := h.c.Tokens.Read(req.Context(), r, shown.token)
	if err != nil && !errors.Is(err, token.ErrInvalid) {
		return token.Read{}, err
	}
	if err != nil || read.Kind != token.Access || read.Expired {
		return token.Read{}, invalidToken("Token verification failed", err)
	}
	if !slices.Contains(strings.Fields(read.Scope), "openid") {
		return token.Read{}, &refusal{http.StatusForbidden, "insufficient_scope", "Missing openid scope", nil}
	}
	return read, nil
}

func deadText(why string) string {
	switch why {
	case "session not found", "client session not found":
		return "user_session_not_found"
	default:
		return "Token verification failed"
	}
}

// refuse writes a refusal, or any other error as a server error.
func (h *Handler) refuse(w http.ResponseWriter, r realm.Realm, shown credential, err error) {
	var f *refusal
	if !errors.As(err, &f) {
		oauth.WriteError(w, err)
		return
	}
	challenge := fmt.Sprintf("%s realm=%q", shown.challenge(), r.Name)
	if f.code != "" {
		challenge += fmt.Sprintf(", error=%q, error_description=%q", f.code, f.description)
	}
	if shown.dpop {
		challenge += fmt.Sprintf(", algs=%q", strings.Join(dpop.Algorithms(), " ")) // RFC 9449 §7.1
	}
	w.Header().Set("WWW-Authenticate", challenge)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(f.status)
}
