package login

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/tegata/tegata/internal/jose"
	"github.com/tegata/tegata/issuer/claims"
	"github.com/tegata/tegata/issuer/client"
	"github.com/tegata/tegata/issuer/clientauth"
	"github.com/tegata/tegata/issuer/dpop"
	"github.com/tegata/tegata/issuer/oauth"
	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/issuer/theme"
	"github.com/tegata/tegata/issuer/token"
	"github.com/tegata/tegata/issuer/user"
	"github.com/tegata/tegata/issuer/userauth"
	"github.com/tegata/tegata/revocation"
)

// SessionCookie is the cookie that stands for a user session, Keycloak's name.
const SessionCookie = "KEYCLOAK_IDENTITY"

// Level of assurance (acr), Keycloak's: a password now, or a cookie only.
const (
	acrPassword = "1"
	acrCookie   = "0"
)

// purpose of the sealed form.
const purpose = "login"

// Clients finds clients; client.Clients does.
type Clients interface {
	ByClientID(ctx context.Context, r realm.Realm, clientID string) (client.Client, error)
}

// Sessions is what login needs of session.Sessions.
type Sessions interface {
	Open(ctx context.Context, l session.Login) (session.UserSession, string, error)
	ByCookie(ctx context.Context, r realm.Realm, cookie string) (session.UserSession, error)
	IssueCode(ctx context.Context, r realm.Realm, c session.Code) (string, error)
	Consented(ctx context.Context, r realm.Realm, userID, clientID, scope string) (bool, error)
	Consent(ctx context.Context, r realm.Realm, userID, clientID, scope string) error
	StartDevice(ctx context.Context, r realm.Realm, d session.Device, life time.Duration) (code, userCode string, err error)
	WaitingDevice(ctx context.Context, r realm.Realm, userCode string) (session.Device, error)
	DecideDevice(ctx context.Context, r realm.Realm, userCode string, decision session.Device) error
	Push(ctx context.Context, r realm.Realm, clientID string, body []byte, life time.Duration) (string, error)
	Pushed(ctx context.Context, r realm.Realm, clientID, value string) ([]byte, error)
	End(ctx context.Context, r realm.Realm, sid string, why revocation.Reason) (revocation.Revision, error)
}

// ClientAuth finds out which client is calling; clientauth.Authenticator does.
type ClientAuth interface {
	Authenticate(ctx context.Context, r realm.Realm, req *http.Request, form oauth.Form) (clientauth.Result, error)
}

// Keys checks what clients signed; clientauth.Authenticator does.
type Keys interface {
	VerifySigned(ctx context.Context, c client.Client, compact string, accept jose.Accept) ([]byte, error)
}

// Proofs judges proofs of possession; dpop.Verifier does.
type Proofs interface {
	Prove(ctx context.Context, c dpop.Call) (thumbprint string, err error)
	Offer(r realm.Realm, answer http.Header)
}

// Tokens signs answers, and reads ID tokens; token.Tokens does.
type Tokens interface {
	MintResponse(ctx context.Context, r realm.Realm, clientID string, alg jose.Algorithm, parameters map[string]any) (string, error)
	Read(ctx context.Context, r realm.Realm, compact string) (token.Read, error)
}

// People authenticates a person; userauth.Authenticator does.
type People interface {
	Password(ctx context.Context, r realm.Realm, username, password, address string) (user.User, error)
}

var (
	_ Clients    = (*client.Clients)(nil)
	_ ClientAuth = (*clientauth.Authenticator)(nil)
	_ Keys       = (*clientauth.Authenticator)(nil)
	_ Proofs     = (*dpop.Verifier)(nil)
	_ Tokens     = (*token.Tokens)(nil)
	_ Sessions   = (*session.Sessions)(nil)
	_ People     = (*userauth.Authenticator)(nil)
)

// Config configures a Handler. All fields but Secure are required.
type Config struct {
	Clients    Clients
	ClientAuth ClientAuth
	Keys       Keys
	Proofs     Proofs
	Tokens     Tokens
	HTTP       *http.Client // fetches request objects
	Sessions   Sessions
	People     People
	Theme      *theme.Theme
	Forms      *theme.Forms
	Claims     *claims.Maker
	Now        func() time.Time
	Logger     *slog.Logger
	Secure     bool // mark cookies for https only
}

// Handler is the authorization endpoint and login page of every realm.
type Handler struct {
	c     Config
	cross *http.CrossOriginProtection

	guesses guesses
}

// New checks the configuration.
func New(c Config) (*Handler, error) {
	if c.Clients == nil || c.ClientAuth == nil || c.Keys == nil || c.Proofs == nil || c.Tokens == nil || c.HTTP == nil || c.Sessions == nil || c.People == nil || c.Theme == nil || c.Forms == nil || c.Claims == nil || c.Now == nil || c.Logger == nil {
		return nil, errors.New("login: every field of Config but Secure is required")
	}
	return &Handler{c: c, cross: http.NewCrossOriginProtection()}, nil
}

// ResponseModes are the response modes, for discovery.
func (h *Handler) ResponseModes() []string { return responseModes() }

// Authorize answers a GET or POST to a realm's authorization endpoint.
func (h *Handler) Authorize(w http.ResponseWriter, req *http.Request, r realm.Realm) {
	p, err := read(req)
	if err != nil {
		h.refuse(w, req, r, &theme.Error{Text: "invalidRequest", Cause: err})
		return
	}
	c, err := h.client(req.Context(), r, p.get("client_id"))
	if err != nil {
		h.refuse(w, req, r, err)
		return
	}
	said := p
	if p, err = h.resolve(req.Context(), r, p, c); err != nil {
		h.broken(w, req, r, c, said, err)
		return
	}
	q, err := destination(p, c)
	if err != nil {
		h.refuse(w, req, r, err)
		return
	}
	if err := h.complete(req.Context(), r, &q, p, c); err != nil {
		h.fail(w, req, r, q, err)
		return
	}
	h.dispatch(w, req, r, c, q)
}

// dispatch is the third gate: the session, or the login page.
func (h *Handler) dispatch(w http.ResponseWriter, req *http.Request, r realm.Realm, c client.Client, q request) {
	s, err := h.session(req, r)
	if err != nil && !errors.Is(err, session.ErrNotFound) {
		h.fail(w, req, r, q, err)
		return
	}
	fits := false
	if err == nil {
		if fits, err = h.fits(req.Context(), r, q, s.UserID); err != nil {
			h.fail(w, req, r, q, err)
			return
		}
	}
	if fits && !q.needsLogin(s, h.c.Now()) {
		h.settle(w, req, r, c, q, s, acrCookie)
		return
	}
	if slices.Contains(q.prompt, "none") {
		h.fail(w, req, r, q, loginRequired())
		return
	}
	h.ask(w, req, r, q, q.loginHint, "", false)
}

// Authenticate answers the POST of the login form.
func (h *Handler) Authenticate(w http.ResponseWriter, req *http.Request, r realm.Realm) {
	var q request
	c, form, err := h.reopen(req, r, purpose, &q, &q)
	if err != nil {
		h.refuse(w, req, r, err)
		return
	}
	u, err := h.c.People.Password(req.Context(), r, form["username"], form["password"], oauth.Address(req))
	switch {
	case errors.Is(err, userauth.ErrInvalid), errors.Is(err, userauth.ErrLimited):
		h.log(req, r, q.ClientID, err)
		h.ask(w, req, r, q, form["username"], "invalidUser", form["rememberMe"] != "")
		return
	case errors.Is(err, userauth.ErrDisabled):
		h.log(req, r, q.ClientID, err)
		h.ask(w, req, r, q, form["username"], "accountDisabled", form["rememberMe"] != "")
		return
	case err != nil:
		h.refuse(w, req, r, err)
		return
	}
	fits, err := h.fits(req.Context(), r, q, u.ID)
	if err == nil && !fits {
		err = loginRequired() // OpenID Connect Core §3.1.2.2
	}
	if err != nil {
		h.fail(w, req, r, q, err)
		return
	}
	s, err := h.open(w, req, r, u, form["rememberMe"] != "")
	if err != nil {
		h.fail(w, req, r, q, err)
		return
	}
	h.settle(w, req, r, c, q, s, acrPassword)
}

// reopen takes what a form was sealed with back into state, and checks again
// what may have changed meanwhile of the request q in it.
func (h *Handler) reopen(req *http.Request, r realm.Realm, purpose string, state any, q *request) (client.Client, oauth.Form, error) {
	if err := h.cross.Check(req); err != nil {
		return client.Client{}, nil, &theme.Error{Text: "staleForm", Cause: err}
	}
	form, err := oauth.ParseForm(req)
	if err != nil {
		return client.Client{}, nil, &theme.Error{Text: "invalidRequest", Cause: err}
	}
	if err := h.c.Forms.Open(req, r.Name, purpose, form["session_code"], state); err != nil {
		return client.Client{}, nil, &theme.Error{Text: "staleForm", Cause: err}
	}
	c, err := h.client(req.Context(), r, q.ClientID)
	if err != nil {
		return client.Client{}, nil, err
	}
	allowed := c.StandardFlowEnabled && c.AllowsRedirect(q.RedirectURI)
	if q.Device != "" {
		allowed = c.DeviceFlow()
	}
	if !c.Enabled || !allowed {
		return client.Client{}, nil, &theme.Error{Text: "clientDisabled"}
	}
	return c, form, nil
}

// open starts a new session in place of the one the browser had.
func (h *Handler) open(w http.ResponseWriter, req *http.Request, r realm.Realm, u user.User, remember bool) (session.UserSession, error) {
	if old, err := h.session(req, r); err == nil {
		if _, err := h.c.Sessions.End(revocation.By(req.Context(), revocation.ActorUser(u.ID)), r, old.ID, revocation.ReasonLogout); err != nil && !errors.Is(err, session.ErrNotFound) {
			return session.UserSession{}, err
		}
	}
	s, cookie, err := h.c.Sessions.Open(req.Context(), session.Login{
		Realm: r, UserID: u.ID, ACR: acrPassword, AMR: []string{"pwd"}, RememberMe: remember, IP: oauth.Address(req), Agent: oauth.Agent(req),
	})
	if err != nil {
		return session.UserSession{}, err
	}
	http.SetCookie(w, &http.Cookie{
		Name: SessionCookie, Value: cookie, Path: "/realms/" + r.Name + "/", MaxAge: h.remembered(s),
		HttpOnly: true, Secure: h.c.Secure, SameSite: http.SameSiteLaxMode,
	})
	return s, nil
}

// remembered is for how many seconds a browser keeps the cookie of a session
// when it is closed; 0: not.
func (h *Handler) remembered(s session.UserSession) int {
	if !s.RememberMe {
		return 0
	}
	end := s.Expires
	if end.IsZero() {
		end = s.Idle
	}
	return int(end.Sub(h.c.Now()) / time.Second)
}

// finish gives the client its code. A login ends the forms that were open in
// the browser before it.
func (h *Handler) finish(w http.ResponseWriter, req *http.Request, r realm.Realm, c client.Client, q request, s session.UserSession, acr string) {
	if acr == acrPassword {
		h.c.Forms.Forget(w, r.Name)
	}
	if q.Device != "" {
		h.decide(w, req, r, q, session.Device{SessionID: s.ID, UserID: s.UserID, ACR: acr, AuthTime: s.AuthTime})
		return
	}
	code, err := h.c.Sessions.IssueCode(req.Context(), r, session.Code{
		SessionID: s.ID, ClientID: q.ClientID, RedirectURI: q.RedirectURI, Scope: q.Scope,
		Nonce: q.Nonce, CodeChallenge: q.Challenge, ACR: acr, AuthTime: s.AuthTime,
		Asked: q.Asked, DPoPKey: q.DPoPKey, Consented: c.ConsentRequired, Also: q.Also, Pushed: q.Pushed,
	})
	if errors.Is(err, session.ErrReplayed) {
		err = &oauth.Error{Code: "invalid_request_uri", Cause: err}
	}
	if err != nil {
		h.fail(w, req, r, q, err)
		return
	}
	h.succeed(w, req, r, q, s.ID, code)
}

// loginPage is what the login page shows.
type loginPage struct {
	Action, State, Username string
	Message                 string // key of a text, or empty
	Remember, Remembered    bool   // whether to offer it, and whether it was wanted
}

// ask shows the login page.
func (h *Handler) ask(w http.ResponseWriter, req *http.Request, r realm.Realm, q request, username, message string, remember bool) {
	life := r.Settings.AccessCodeLifespanLogin
	state, err := h.c.Forms.Seal(w, req, r.Name, purpose, q, life)
	if err != nil {
		h.refuse(w, req, r, err)
		return
	}
	if len(username) > userauth.MaxUsername {
		username = ""
	}
	h.page(w, req, theme.Page{
		Name: "login", Realm: r.Name, Locales: q.Locales, FormTarget: q.RedirectURI,
		Data: loginPage{
			Action: "/realms/" + url.PathEscape(r.Name) + "/login-actions/authenticate?client_id=" + url.QueryEscape(q.ClientID),
			State:  state, Username: username, Message: message,
			Remember: r.Settings.RememberMe, Remembered: remember,
		},
	})
}

// client returns an existing client; whether it is enabled is for the caller.
func (h *Handler) client(ctx context.Context, r realm.Realm, clientID string) (client.Client, error) {
	if clientID == "" {
		return client.Client{}, &theme.Error{Text: "invalidRequest"}
	}
	c, err := h.c.Clients.ByClientID(ctx, r, clientID)
	if errors.Is(err, client.ErrNotFound) {
		return client.Client{}, &theme.Error{Text: "clientNotFound", Cause: err}
	}
	return c, err
}

// session returns the live session of the browser, or session.ErrNotFound.
func (h *Handler) session(req *http.Request, r realm.Realm) (session.UserSession, error) {
	c, err := req.Cookie(SessionCookie)
	if err != nil || c.Value == "" {
		return session.UserSession{}, session.ErrNotFound
	}
	return h.c.Sessions.ByCookie(req.Context(), r, c.Value)
}

// refuse shows an error page: 400 for the request's fault, 500 for ours.
func (h *Handler) refuse(w http.ResponseWriter, req *http.Request, r realm.Realm, err error) {
	h.log(req, r, "", err)
	h.page(w, req, theme.ErrorPage(r.Name, err))
}

func (h *Handler) page(w http.ResponseWriter, req *http.Request, p theme.Page) {
	if err := h.c.Theme.Render(w, req, p); err != nil {
		h.c.Logger.ErrorContext(req.Context(), "page not rendered", "page", p.Name, "err", err)
		http.Error(w, "internal error", http.StatusInternalServerError)
	}
}

// log tells of a refusal; what the caller is not to blame for is an error.
func (h *Handler) log(req *http.Request, r realm.Realm, clientID string, err error) {
	level := slog.LevelInfo
	var page *theme.Error
	if !errors.As(err, &page) && asError(err).Code == "server_error" && !refusedPerson(err) {
		level = slog.LevelError
	}
	h.c.Logger.Log(req.Context(), level, "authorization refused",
		"realm", r.Name, "client", clientID, "err", err)
}

func refusedPerson(err error) bool {
	return errors.Is(err, userauth.ErrInvalid) || errors.Is(err, userauth.ErrLimited) || errors.Is(err, userauth.ErrDisabled)
}
