package login

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tegata/tegata/issuer/client"
	"github.com/tegata/tegata/issuer/oauth"
	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/issuer/theme"
)

// Limits of what a request may carry, in bytes.
const (
	maxParameter = 2 << 10
	maxQuery     = 8 << 10
)

// noMaxAge says that the request has no max_age.
const noMaxAge = -1

// request is an authorization request that passed the checks. It travels in
// the login form, so its members are short and its size is bounded.
type request struct {
	ClientID    string `json:"c"`
	RedirectURI string `json:"r"`
	Mode        string `json:"m"`
	Signed      bool   `json:"j,omitempty"` // the answer is a JWT (JARM)
	State       string `json:"t,omitempty"`
	HasState    bool   `json:"h,omitempty"` // an empty state is given back too
	Nonce       string `json:"n,omitempty"`
	Scope       string `json:"s,omitempty"` // granted, not asked for
	Challenge   string `json:"p,omitempty"` // PKCE, S256
	AskConsent  bool   `json:"o,omitempty"` // whatever is remembered
	Device      string `json:"v,omitempty"` // user code of a device that waits for the answer; there is no redirect URI then

	DPoPKey string `json:"d,omitempty"` // dpop_jkt

	Asked session.Asked `json:"a,omitzero"`

	Pushed  string `json:"u,omitempty"` // the pushed request that this is
	Whom    []whom `json:"i,omitempty"` // who it has to be, by id_token_hint or the claim sub
	Also    string `json:"e,omitempty"` // scopes that are not granted, but of which claims are named
	Locales string `json:"l,omitempty"` // ui_locales

	// Only for the first look, not for the form.
	maxAge    int64 // seconds, or noMaxAge
	freshACR  bool  // a cookie is not enough, see readACR
	loginHint string
	prompt    []string
	claims    claimsRequest
}

// parameters are those of a request; repeated holds what was sent twice.
type parameters struct {
	values   map[string]string
	repeated []string

	resources []string // RFC 8707, the one that may be repeated

	byValue, byReference bool // they came in a request object (RFC 9101)

	pushed string // not empty: they were pushed (RFC 9126), and kept as this
}

func (p parameters) get(name string) string { return p.values[name] }

// read takes the parameters of a GET's query or of a POST's form (OpenID
// Connect Core §3.1.2.1).
func read(req *http.Request) (parameters, error) {
	if req.Method == http.MethodPost {
		return readForm(req)
	}
	if len(req.URL.RawQuery) > maxQuery {
		return parameters{}, oauth.InvalidRequest("query too long")
	}
	query, err := url.ParseQuery(req.URL.RawQuery)
	if err != nil {
		return parameters{}, oauth.InvalidRequest("malformed query")
	}
	p := parameters{values: make(map[string]string, len(query))}
	for name, values := range query {
		if slices.ContainsFunc(append(values, name), func(s string) bool { return !oauth.Plain(s) }) {
			return parameters{}, oauth.InvalidRequest("malformed query")
		}
		if name == "resource" {
			p.resources = slices.DeleteFunc(values, func(s string) bool { return s == "" }) // RFC 6749 §3.1
			continue
		}
		p.values[name] = values[0]
		if len(values) > 1 {
			p.repeated = append(p.repeated, name)
		}
	}
	return p, nil
}

// readForm are the parameters of a form, in which nothing else is repeated.
func readForm(req *http.Request) (parameters, error) {
	form, lists, err := oauth.ParseLists(req, "resource")
	return parameters{values: form, resources: lists["resource"]}, err
}

// destination is the first gate: the parts of p that say where an answer may
// go. c is the client of p's client_id.
func destination(p parameters, c client.Client) (request, error) {
	if slices.Contains(p.repeated, "client_id") || slices.Contains(p.repeated, "redirect_uri") {
		return request{}, &theme.Error{Text: "invalidRequest"}
	}
	if !c.Enabled {
		return request{}, &theme.Error{Text: "clientDisabled"}
	}
	uri := p.get("redirect_uri")
	if uri == "" || len(uri) > maxParameter || !c.AllowsRedirect(uri) || !oauth.SafeRedirect(uri) {
		return request{}, &theme.Error{Text: "invalidRedirect"}
	}
	state, hasState := p.values["state"]
	if len(state) > maxParameter {
		return request{}, &theme.Error{Text: "invalidRequest"}
	}
	return request{ClientID: c.ClientID, RedirectURI: uri, Mode: "query", State: state, HasState: hasState, Pushed: p.pushed}, nil
}

// complete is the second gate: the rest of p. Its errors may be sent to r's
// redirect URI; r says by which response mode, also when there is an error.
func (r *request) complete(p parameters, c client.Client) error {
	steps := []func(parameters, client.Client) error{
		r.checkRepeats, r.readMode, r.checkPushed, r.checkObject, r.readType, r.readSizes, r.readScope, r.readResource, r.readDetails, r.readPKCE, r.readPrompt, r.readMaxAge, r.readClaims, r.readACR, r.readSub,
	}
	for _, step := range steps {
		if err := step(p, c); err != nil {
			return err
		}
	}
	return nil
}

func (r *request) checkRepeats(p parameters, _ client.Client) error {
	if len(p.repeated) > 0 {
		return oauth.InvalidRequest("duplicated parameter")
	}
	return nil
}

func (r *request) checkPushed(p parameters, c client.Client) error {
	if c.PushedOnly() && p.pushed == "" {
		return oauth.InvalidRequest("Pushed Authorization Request is only allowed.")
	}
	return nil
}

// checkObject is RFC 9101 §10.5, require_signed_request_object.
func (r *request) checkObject(p parameters, c client.Client) error {
	need := c.RequiresObject()
	if need == (client.RequestObject{}) || need.ByValue && p.byValue || need.ByReference && p.byReference {
		return nil
	}
	return oauth.InvalidRequest("Client requires a signed request object")
}

// responseModes are the ways an answer can travel; "jwt" is the way that the
// response type has without it (JARM §2.3.4).
func responseModes() []string {
	return []string{"query", "fragment", "form_post", "query.jwt", "fragment.jwt", "form_post.jwt", "jwt"}
}

func (r *request) readMode(p parameters, _ client.Client) error {
	mode := p.get("response_mode")
	if mode == "" {
		return nil
	}
	if !slices.Contains(responseModes(), mode) {
		return oauth.InvalidRequest("Invalid parameter: response_mode")
	}
	r.Signed = mode == "jwt" || strings.HasSuffix(mode, ".jwt")
	if mode != "jwt" {
		r.Mode = strings.TrimSuffix(mode, ".jwt")
	}
	return nil
}

func (r *request) readType(p parameters, c client.Client) error {
	switch p.get("response_type") {
	case "":
		return oauth.InvalidRequest("Missing parameter: response_type")
	case oauth.ResponseTypeCode:
	default:
		return &oauth.Error{Code: "unsupported_response_type"}
	}
	if !c.StandardFlowEnabled {
		return oauth.UnauthorizedClient("Client is not allowed to initiate browser login with given response_type. Standard flow is disabled for the client.")
	}
	return nil
}

func (r *request) readSizes(p parameters, _ client.Client) error {
	for _, name := range []string{"nonce", "scope", "login_hint", "ui_locales"} {
		if len(p.get(name)) > maxParameter {
			return oauth.InvalidRequest("Invalid parameter: " + name)
		}
	}
	// RFC 9449 §10: a thumbprint looks as a challenge does.
	if r.DPoPKey = p.get("dpop_jkt"); r.DPoPKey != "" && !validChallenge(r.DPoPKey) {
		return oauth.InvalidRequest("Invalid parameter: dpop_jkt")
	}
	r.Nonce = p.get("nonce")
	r.Locales = p.get("ui_locales")
	r.loginHint = p.get("login_hint")
	return nil
}

func (r *request) readScope(p parameters, c client.Client) error {
	scope, err := grantable(c, p.get("scope"))
	r.Scope = scope
	return err
}

// grantable is what of a scope the client is granted, or invalid_scope naming
// all of it, as Keycloak does.
func grantable(c client.Client, scope string) (string, error) {
	asked := strings.Fields(scope)
	granted, refused := c.Grantable(asked)
	if len(refused) > 0 || len(scope) > maxParameter {
		return "", oauth.InvalidScope("Invalid scopes: " + strings.Join(asked, " "))
	}
	return strings.Join(granted, " "), nil
}

// readPKCE is RFC 7636 §4.3 with S256 alone: "plain" protects from nobody who
// can read the request.
func (r *request) readPKCE(p parameters, c client.Client) error {
	challenge, method := p.get("code_challenge"), p.get("code_challenge_method")
	if challenge == "" && method == "" && !c.PublicClient && !c.FAPI() {
		return nil
	}
	switch {
	case method == "":
		return oauth.InvalidRequest("Missing parameter: code_challenge_method")
	case method != "S256" && method != "plain":
		return oauth.InvalidRequest("Invalid parameter: code_challenge_method")
	case method == "plain":
		return oauth.InvalidRequest("Invalid parameter: code challenge method is not matching the configured one")
	case challenge == "":
		return oauth.InvalidRequest("Missing parameter: code_challenge")
	case !validChallenge(challenge):
		return oauth.InvalidRequest("Invalid parameter: code_challenge")
	}
	r.Challenge = challenge
	return nil
}

// validChallenge is the form of base64url(SHA-256(…)): 43 characters.
func validChallenge(s string) bool {
	if len(s) != 43 {
		return false
	}
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}

// readPrompt keeps the values it knows; unknown ones are ignored, as
// Keycloak does.
func (r *request) readPrompt(p parameters, _ client.Client) error {
	r.prompt = strings.Fields(p.get("prompt"))
	r.AskConsent = slices.Contains(r.prompt, "consent")
	if len(r.prompt) > 1 && slices.Contains(r.prompt, "none") {
		return oauth.InvalidRequest("Invalid parameter: prompt") // OpenID Connect Core §3.1.2.1
	}
	return nil
}

func (r *request) readMaxAge(p parameters, _ client.Client) error {
	r.maxAge = noMaxAge
	value := p.get("max_age")
	if value == "" {
		return nil
	}
	seconds, err := strconv.ParseInt(value, 10, 32)
	if err != nil || seconds < 0 {
		return oauth.InvalidRequest("Invalid parameter: max_age")
	}
	r.maxAge = seconds
	return nil
}

// needsLogin reports whether the browser's session is not enough.
func (r *request) needsLogin(s session.UserSession, now time.Time) bool {
	authenticated := s.AuthTime
	if r.freshACR {
		return true
	}
	if slices.Contains(r.prompt, "login") || r.maxAge == 0 {
		return true
	}
	return r.maxAge > 0 && now.Sub(authenticated) > time.Duration(r.maxAge)*time.Second
}

// asError is err as an error that a client may be sent.
func asError(err error) *oauth.Error {
	var e *oauth.Error
	if errors.As(err, &e) {
		return e
	}
	return oauth.ServerError(err)
}
