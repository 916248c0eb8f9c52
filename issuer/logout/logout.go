package logout

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/tegata/tegata/issuer/client"
	"github.com/tegata/tegata/issuer/clientauth"
	"github.com/tegata/tegata/issuer/oauth"
	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/issuer/theme"
	"github.com/tegata/tegata/issuer/token"
	"github.com/tegata/tegata/revocation"
)

// sessionCookie is the cookie that login sets.
const sessionCookie = "KEYCLOAK_IDENTITY"

// purpose of the sealed form, and how long it may lie open.
const (
	purpose  = "logout"
	formLife = 30 * time.Minute
)

// maxState is the largest state that is given back, in bytes.
const maxState = 2 << 10

// Clients finds clients; client.Clients does.
type Clients interface {
	ByClientID(ctx context.Context, r realm.Realm, clientID string) (client.Client, error)
}

// ClientAuth finds out which client is calling; clientauth.Authenticator does.
type ClientAuth interface {
	Authenticate(ctx context.Context, r realm.Realm, req *http.Request, form oauth.Form) (clientauth.Result, error)
}

// Tokens reads tokens; token.Tokens does.
type Tokens interface {
	Read(ctx context.Context, r realm.Realm, compact string) (token.Read, error)
}

// Sessions is what logout needs of session.Sessions.
type Sessions interface {
	ByCookie(ctx context.Context, r realm.Realm, cookie string) (session.UserSession, error)
	ClientsOf(ctx context.Context, r realm.Realm, sid string) ([]string, error)
	End(ctx context.Context, r realm.Realm, sid string, why revocation.Reason) (revocation.Revision, error)
}

var (
	_ Clients    = (*client.Clients)(nil)
	_ ClientAuth = (*clientauth.Authenticator)(nil)
	_ Tokens     = (*token.Tokens)(nil)
	_ Sessions   = (*session.Sessions)(nil)
)

// Config configures a Handler. All fields but Secure are required.
type Config struct {
	Clients    Clients
	ClientAuth ClientAuth
	Tokens     Tokens
	Sessions   Sessions
	Theme      *theme.Theme
	Forms      *theme.Forms
	Logger     *slog.Logger
	Secure     bool // mark cookies for https only

	// Revoked is called after the commit. It waits until the watchers have
	// applied rev, for as long as the caller prefers or the issuer is
	// configured to, and states the outcome in the answer's header.
	Revoked func(w http.ResponseWriter, req *http.Request, rev revocation.Revision, why revocation.Reason) revocation.Outcome
}

// Handler is the logout endpoint of every realm.
type Handler struct {
	c     Config
	cross *http.CrossOriginProtection
}

// New checks the configuration.
func New(c Config) (*Handler, error) {
	if c.Clients == nil || c.ClientAuth == nil || c.Tokens == nil || c.Sessions == nil ||
		c.Theme == nil || c.Forms == nil || c.Logger == nil || c.Revoked == nil {
		return nil, errors.New("logout: every field of Config but Secure is required")
	}
	return &Handler{c: c, cross: http.NewCrossOriginProtection()}, nil
}

// ServeRealm answers a GET or POST to a realm's logout endpoint. A POST with a
// refresh token is a client's call; everything else comes from a browser.
func (h *Handler) ServeRealm(w http.ResponseWriter, req *http.Request, r realm.Realm) {
	form, err := parameters(req)
	if err != nil {
		h.refuse(w, req, r, &theme.Error{Text: "invalidRequest", Cause: err})
		return
	}
	if req.Method == http.MethodPost && form["refresh_token"] != "" {
		h.byClient(w, req, r, form)
		return
	}
	h.byBrowser(w, req, r, form)
}

// parameters are those of a POST's form or of a GET's query, none repeated.
func parameters(req *http.Request) (oauth.Form, error) {
	if req.Method == http.MethodPost {
		return oauth.ParseForm(req)
	}
	query, err := url.ParseQuery(req.URL.RawQuery)
	if err != nil {
		return nil, oauth.InvalidRequest("malformed query")
	}
	form := make(oauth.Form, len(query))
	for name, values := range query {
		if len(values) > 1 {
			return nil, oauth.InvalidRequest("duplicated parameter")
		}
		form[name] = values[0]
	}
	return form, nil
}

// byClient is Keycloak's logout: 204, also if the session is already dead.
func (h *Handler) byClient(w http.ResponseWriter, req *http.Request, r realm.Realm, form oauth.Form) {
	caller, err := h.c.ClientAuth.Authenticate(req.Context(), r, req, form)
	if err != nil {
		oauth.WriteError(w, err)
		return
	}
	read, err := h.c.Tokens.Read(req.Context(), r, form["refresh_token"])
	switch {
	case err != nil && !errors.Is(err, token.ErrInvalid):
		oauth.WriteError(w, err)
		return
	case err != nil || read.Kind != token.Refresh && read.Kind != token.Offline:
		oauth.WriteError(w, oauth.InvalidGrant("Invalid refresh token"))
		return
	case read.Token.Client != caller.Client.ClientID:
		oauth.WriteError(w, oauth.InvalidGrant("Invalid refresh token. Token client and authorized client don't match"))
		return
	}
	if err := h.end(w, req, r, read.Token.Session, revocation.ActorClient(caller.Client.ClientID)); err != nil {
		oauth.WriteError(w, err)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusNoContent)
}

// end ends a session, if it is there, and waits for the watchers.
func (h *Handler) end(w http.ResponseWriter, req *http.Request, r realm.Realm, sid string, by revocation.Actor) error {
	rev, err := h.c.Sessions.End(revocation.By(req.Context(), by), r, sid, revocation.ReasonLogout)
	if errors.Is(err, session.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	h.c.Revoked(w, req, rev, revocation.ReasonLogout)
	return nil
}

// refuse shows an error page: 400 for the request's fault, 500 for ours.
func (h *Handler) refuse(w http.ResponseWriter, req *http.Request, r realm.Realm, err error) {
	page, level := theme.ErrorPage(r.Name, err), slog.LevelInfo
	if page.Status >= http.StatusInternalServerError {
		level = slog.LevelError
	}
	h.c.Logger.Log(req.Context(), level, "logout refused", "realm", r.Name, "err", err)
	h.page(w, req, page)
}

func (h *Handler) page(w http.ResponseWriter, req *http.Request, p theme.Page) {
	if err := h.c.Theme.Render(w, req, p); err != nil {
		h.c.Logger.ErrorContext(req.Context(), "page not rendered", "page", p.Name, "err", err)
		http.Error(w, "internal error", http.StatusInternalServerError)
	}
}
