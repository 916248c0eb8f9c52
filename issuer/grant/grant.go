package grant

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/tegata/tegata/issuer/claims"
	"github.com/tegata/tegata/issuer/client"
	"github.com/tegata/tegata/issuer/clientauth"
	"github.com/tegata/tegata/issuer/dpop"
	"github.com/tegata/tegata/issuer/oauth"
	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/issuer/token"
	"github.com/tegata/tegata/issuer/user"
	"github.com/tegata/tegata/issuer/userauth"
	"github.com/tegata/tegata/revocation"
)

// ClientAuth finds out which client is calling; clientauth.Authenticator does.
type ClientAuth interface {
	Authenticate(ctx context.Context, r realm.Realm, req *http.Request, form oauth.Form) (clientauth.Result, error)
	// Vouched returns the subject of an assertion that the client brings.
	Vouched(ctx context.Context, r realm.Realm, c client.Client, assertion string) (subject string, err error)
}

// Sessions is what grants need of session.Sessions.
type Sessions interface {
	MintPoint(ctx context.Context, r realm.Realm, clientID string, accessLife time.Duration) (revocation.Revision, error)
	RedeemCode(ctx context.Context, p session.Redeeming) (session.Code, session.Grant, error)
	PollDevice(ctx context.Context, r realm.Realm, clientID, code string) (session.Device, error)
	Refresh(ctx context.Context, p session.Refreshing) (session.Grant, error)
	Alive(ctx context.Context, sub session.Subject) error
	Whose(ctx context.Context, sub session.Subject) (userID string, err error)
	OpenDirect(ctx context.Context, d session.Direct) (session.Grant, error)
	Exchange(ctx context.Context, e session.Exchanging) (session.Grant, error)
}

// Proofs judges proofs of possession; dpop.Verifier does.
type Proofs interface {
	Prove(ctx context.Context, c dpop.Call) (thumbprint string, err error)
	Offer(r realm.Realm, answer http.Header)
}

// Tokens is what grants need of token.Tokens.
type Tokens interface {
	MintClient(ctx context.Context, r realm.Realm, o token.ClientOrder) (token.Set, error)
	MintUser(ctx context.Context, r realm.Realm, o token.Order) (token.Set, error)
	Read(ctx context.Context, r realm.Realm, compact string) (token.Read, error)
}

// People finds out who somebody is; userauth.Authenticator does.
type People interface {
	Password(ctx context.Context, r realm.Realm, username, password, address string) (user.User, error)
}

// Directory finds clients that others name; client.Clients does.
type Directory interface {
	ByClientID(ctx context.Context, r realm.Realm, clientID string) (client.Client, error)
}

// Users is what grants need of user.Users.
type Users interface {
	ByID(ctx context.Context, r realm.Realm, id string) (user.User, error)
	ByUsername(ctx context.Context, r realm.Realm, username string) (user.User, error)
}

var (
	_ ClientAuth = (*clientauth.Authenticator)(nil)
	_ Proofs     = (*dpop.Verifier)(nil)
	_ Sessions   = (*session.Sessions)(nil)
	_ Tokens     = (*token.Tokens)(nil)
	_ Users      = (*user.Users)(nil)
	_ People     = (*userauth.Authenticator)(nil)
	_ Directory  = (*client.Clients)(nil)
)

// Config configures a Handler. All fields but the hooks are required.
type Config struct {
	Clients  ClientAuth
	Sessions Sessions
	Tokens   Tokens
	Users    Users
	Proofs   Proofs
	Logger   *slog.Logger

	Directory Directory
	People    People
	Claims    *claims.Maker

	Minted func(grantType string)         // called after each success, for counting
	Reused func(reason revocation.Reason) // called when a code or refresh token came back
}

// Handler is the token endpoint of every realm.
type Handler struct {
	c      Config
	grants []grant
}

// grant is one row of the table of grants.
type grant struct {
	name   string // grant_type
	decide func(context.Context, request) (response, error)
}

// request is what every grant starts from.
type request struct {
	realm   realm.Realm
	client  client.Client
	form    oauth.Form
	lists   oauth.Lists     // audience and resource, which may be repeated
	address string          // the caller's, as the connection or a trusted proxy says
	agent   string          // its User-Agent
	proved  session.Binding // what the request has proved to hold
	binding session.Binding // what of that its tokens are to be bound to
}

func newRequest(req *http.Request, r realm.Realm, c client.Client, form oauth.Form, lists oauth.Lists) request {
	return request{realm: r, client: c, form: form, lists: lists, address: oauth.Address(req), agent: oauth.Agent(req)}
}

// New checks the configuration.
func New(c Config) (*Handler, error) {
	if c.Claims == nil || c.Clients == nil || c.Directory == nil || c.People == nil || c.Sessions == nil || c.Tokens == nil || c.Users == nil || c.Proofs == nil || c.Logger == nil {
		return nil, errors.New("grant: every field of Config but the hooks is required")
	}
	if c.Minted == nil {
		c.Minted = func(string) {}
	}
	if c.Reused == nil {
		c.Reused = func(revocation.Reason) {}
	}
	h := &Handler{c: c}
	h.grants = []grant{
		{oauth.GrantAuthorizationCode, h.authorizationCode},
		{oauth.GrantClientCredentials, h.clientCredentials},
		{oauth.GrantPassword, h.password},
		{oauth.GrantRefreshToken, h.refreshToken},
		{oauth.GrantJWTBearer, h.jwtBearer},
		{oauth.GrantDeviceCode, h.deviceCode},
		{oauth.GrantTokenExchange, h.tokenExchange},
	}
	return h, nil
}

// Types are the grant types, for discovery.
func (h *Handler) Types() []string {
	names := make([]string, len(h.grants))
	for i, g := range h.grants {
		names[i] = g.name
	}
	return names
}

// ServeRealm answers a POST to a realm's token endpoint.
func (h *Handler) ServeRealm(w http.ResponseWriter, req *http.Request, r realm.Realm) {
	form, lists, err := oauth.ParseLists(req, "audience", "resource")
	if err != nil {
		oauth.WriteError(w, err)
		return
	}
	g, err := h.find(form["grant_type"])
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
	req = req.WithContext(revocation.By(req.Context(), revocation.ActorClient(caller.Client.ClientID)))
	answer, err := h.decide(w, req, g, newRequest(req, r, caller.Client, form, lists))
	if err != nil {
		h.refuse(w, req, g.name, caller.Client, err)
		return
	}
	h.c.Minted(g.name)
	oauth.WriteJSON(w, http.StatusOK, answer)
}

// decide comes to possession before the grant, so that a proof that is refused
// for its nonce does not spend the code that came with it.
func (h *Handler) decide(w http.ResponseWriter, req *http.Request, g grant, asked request) (response, error) {
	var err error
	if asked.proved, err = h.possession(w, req, asked); err != nil {
		return response{}, err
	}
	if asked.binding, err = asked.bind(); err != nil {
		return response{}, err
	}
	return g.decide(req.Context(), asked)
}

// find comes before client authentication, as in Keycloak: a request without
// a grant type is no request.
func (h *Handler) find(name string) (grant, error) {
	if name == "" {
		return grant{}, oauth.InvalidRequest("Missing form parameter: grant_type")
	}
	for _, g := range h.grants {
		if g.name == name {
			return g, nil
		}
	}
	return grant{}, oauth.UnsupportedGrantType("Unsupported grant_type")
}

// refuse writes the error, and logs what only we may know of it.
func (h *Handler) refuse(w http.ResponseWriter, req *http.Request, name string, c client.Client, err error) {
	level := slog.LevelInfo
	var protocol *oauth.Error
	if !errors.As(err, &protocol) {
		level = slog.LevelError
	}
	h.c.Logger.Log(req.Context(), level, "grant refused", "grant", name, "client", c.ClientID, "err", err)
	oauth.WriteError(w, err)
}

// response is the token response (RFC 6749 §5.1) with Keycloak 26's extras.
type response struct {
	AccessToken      string `json:"access_token"`
	ExpiresIn        int64  `json:"expires_in"`
	RefreshExpiresIn int64  `json:"refresh_expires_in"`
	RefreshToken     string `json:"refresh_token,omitempty"`
	TokenType        string `json:"token_type"`
	IDToken          string `json:"id_token,omitempty"`
	NotBeforePolicy  int64  `json:"not-before-policy"`
	SessionState     string `json:"session_state,omitempty"`
	Scope            string `json:"scope"`
	IssuedTokenType  string `json:"issued_token_type,omitempty"` // of an exchange (RFC 8693 §2.2.1)

	Details json.RawMessage `json:"authorization_details,omitempty"` // RFC 9396 §7
}

func respond(s token.Set) response {
	return response{
		AccessToken:      s.AccessToken,
		ExpiresIn:        int64(s.ExpiresIn / time.Second),
		RefreshToken:     s.RefreshToken,
		RefreshExpiresIn: int64(s.RefreshExpiresIn / time.Second),
		TokenType:        s.Type,
		IDToken:          s.IDToken,
		SessionState:     s.SessionID,
		Scope:            s.Scope,
	}
}

// minting is what a grant wants minted.
type minting struct {
	kind      string // two letters of the jti, see token.Order
	nonce     string
	noRefresh bool
	noID      bool
	actor     json.RawMessage
	audience  []string // those that the access token is to have, of those that it could; empty: all
}

// mintUser mints for a person: the grants that have a session end here.
func (h *Handler) mintUser(ctx context.Context, req request, g session.Grant, m minting) (response, error) {
	named, err := named(g.Family.Asked)
	if err != nil {
		return response{}, err
	}
	released, err := h.release(ctx, req, releasing{g.User.UserID, g.Client.Scope, named, m.audience})
	if err != nil {
		return response{}, err
	}
	if len(m.audience) == 0 {
		err = req.asked(&released, g.Family.Asked)
	}
	if err != nil {
		return response{}, err
	}
	set, err := h.c.Tokens.MintUser(ctx, req.realm, token.Order{
		Client: req.minting(), Grant: g, Kind: m.kind, Actor: m.actor, Nonce: m.nonce, NoRefresh: m.noRefresh, NoID: m.noID, Binding: req.binding,
		Subject: released.Subject, Claims: token.Claims{Access: released.Access, ID: released.ID, Audience: released.Audience, UserInfo: named.UserInfo, Nonce: released.Nonce, SessionState: released.SessionState},
	})
	if errors.Is(err, token.ErrSessionOver) {
		return response{}, refused("Session not active", err)
	}
	if err != nil {
		return response{}, err
	}
	answer := respond(set)
	answer.Details = g.Family.Asked.Details
	if !g.NotBefore.IsZero() {
		answer.NotBeforePolicy = g.NotBefore.Unix()
	}
	return answer, nil
}

// releasing is what tokens are to say of a person. An audience narrows the
// access token's to it, which must be a part of them.
type releasing struct {
	userID, scope string
	named         claims.Named
	audience      []string
}

// release is what tokens say of a person.
func (h *Handler) release(ctx context.Context, req request, what releasing) (claims.Claims, error) {
	u, err := h.c.Users.ByID(ctx, req.realm, what.userID)
	if errors.Is(err, user.ErrNotFound) {
		return claims.Claims{}, refused("User not found", err)
	}
	if err != nil {
		return claims.Claims{}, err
	}
	released := h.c.Claims.For(claims.Request{Realm: req.realm, Client: req.client, User: u, Scope: what.scope, Named: what.named})
	return released, narrow(&released, what.audience)
}

// narrow leaves of the audience what is asked for, if anything is.
func narrow(released *claims.Claims, audience []string) error {
	if len(audience) == 0 {
		return nil
	}
	missing := slices.DeleteFunc(slices.Clone(audience), func(a string) bool { return slices.Contains(released.Audience, a) })
	if len(missing) > 0 {
		return oauth.InvalidRequest("Requested audience not available: " + strings.Join(missing, ", "))
	}
	released.Audience = audience
	return nil
}

// minting is the client as token wants it.
func (req request) minting() token.Client {
	return token.Client{
		ClientID:       req.client.ClientID,
		AllowedOrigins: clientauth.Origins(req.client),
		AccessLife:     req.accessLife(),

		AccessAlgorithm: req.client.AccessTokenAlgorithm(), IDAlgorithm: req.client.IDTokenAlgorithm(),
	}
}

// accessLife is how long an access token of the client lives: not longer than
// the client's part of a session may idle, so that its end needs no telling.
func (req request) accessLife() time.Duration {
	life := cmp.Or(req.client.Lifespans().AccessToken, req.realm.Settings.AccessTokenLifespan)
	limits := req.limits().In(req.realm.Settings)
	for _, idle := range []time.Duration{limits.Idle, limits.OfflineIdle} {
		if idle > 0 {
			life = min(life, idle)
		}
	}
	return life
}

// limits are how long the client's part of a session lasts.
func (req request) limits() session.Limits {
	l := req.client.Lifespans()
	return session.Limits{Idle: l.SessionIdle, Max: l.SessionMax, OfflineIdle: l.OfflineIdle, OfflineMax: l.OfflineMax}
}

// scope returns what of the requested scopes the client is granted, or
// invalid_scope naming the whole request, as Keycloak does.
func (req request) scope() (string, error) {
	asked := strings.Fields(req.form["scope"])
	granted, no := req.client.Grantable(asked)
	if len(no) > 0 {
		return "", oauth.InvalidScope("Invalid scopes: " + strings.Join(asked, " "))
	}
	return strings.Join(granted, " "), nil
}

// refused is invalid_grant with a cause for our log.
func refused(description string, cause error) error {
	e := oauth.InvalidGrant(description)
	e.Cause = cause
	return e
}
