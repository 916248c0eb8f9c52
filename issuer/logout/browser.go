package logout

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/tegata/tegata/issuer/client"
	"github.com/tegata/tegata/issuer/oauth"
	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/issuer/theme"
	"github.com/tegata/tegata/issuer/token"
	"github.com/tegata/tegata/revocation"
)

// wish is a checked logout request of a browser. It travels in the
// confirmation form.
type wish struct {
	RedirectURI string `json:"r,omitempty"` // registered, or empty
	State       string `json:"s,omitempty"`
}

// byBrowser is RP-initiated logout, §2 and §3.
func (h *Handler) byBrowser(w http.ResponseWriter, req *http.Request, r realm.Realm, form oauth.Form) {
	hint, err := h.hint(req.Context(), r, form["id_token_hint"])
	if err != nil {
		h.refuse(w, req, r, err)
		return
	}
	goal, err := h.wish(req.Context(), r, form, hint)
	if err != nil {
		h.refuse(w, req, r, err)
		return
	}
	if hint == nil || hint.Token.Session == "" {
		h.confirm(w, req, r, goal)
		return
	}
	h.finish(w, req, r, goal, hint.Token.Session)
}

// hint reads the ID token of the request, if there is one. It may be expired:
// it says who is logging out, it gives access to nothing.
func (h *Handler) hint(ctx context.Context, r realm.Realm, compact string) (*token.Read, error) {
	if compact == "" {
		return nil, nil
	}
	read, err := h.c.Tokens.Read(ctx, r, compact)
	if err != nil && !errors.Is(err, token.ErrInvalid) {
		return nil, err
	}
	if err != nil || read.Kind != token.ID {
		return nil, &theme.Error{Text: "invalidHint", Cause: err}
	}
	return &read, nil
}

// wish checks where the browser is to go afterwards.
func (h *Handler) wish(ctx context.Context, r realm.Realm, form oauth.Form, hint *token.Read) (wish, error) {
	clientID, uri := form["client_id"], form["post_logout_redirect_uri"]
	if hint != nil {
		if clientID != "" && !slices.Contains(hint.Audience, clientID) {
			return wish{}, &theme.Error{Text: "invalidHint"}
		}
		clientID = hint.Token.Client
	}
	if uri == "" {
		return wish{}, nil
	}
	if clientID == "" {
		return wish{}, &theme.Error{Text: "missingHint"}
	}
	c, err := h.c.Clients.ByClientID(ctx, r, clientID)
	if errors.Is(err, client.ErrNotFound) {
		return wish{}, &theme.Error{Text: "clientNotFound", Cause: err}
	}
	if err != nil {
		return wish{}, err
	}
	if !c.Enabled || !c.AllowsPostLogout(uri) || !oauth.SafeRedirect(uri) || len(form["state"]) > maxState {
		return wish{}, &theme.Error{Text: "invalidLogoutRedirect"}
	}
	return wish{RedirectURI: uri, State: form["state"]}, nil
}

// question is what the confirmation page shows.
type question struct{ Action, State string }

// confirm asks the person.
func (h *Handler) confirm(w http.ResponseWriter, req *http.Request, r realm.Realm, goal wish) {
	state, err := h.c.Forms.Seal(w, req, r.Name, purpose, goal, formLife)
	if err != nil {
		h.refuse(w, req, r, err)
		return
	}
	h.page(w, req, theme.Page{
		Name: "logout-confirm", Realm: r.Name, FormTarget: goal.RedirectURI,
		Data: question{
			Action: "/realms/" + url.PathEscape(r.Name) + "/protocol/openid-connect/logout/logout-confirm",
			State:  state,
		},
	})
}

// Confirm answers the POST of the confirmation page.
func (h *Handler) Confirm(w http.ResponseWriter, req *http.Request, r realm.Realm) {
	if err := h.cross.Check(req); err != nil {
		h.refuse(w, req, r, &theme.Error{Text: "staleForm", Cause: err})
		return
	}
	form, err := oauth.ParseForm(req)
	if err != nil {
		h.refuse(w, req, r, &theme.Error{Text: "invalidRequest", Cause: err})
		return
	}
	var goal wish
	if err := h.c.Forms.Open(req, r.Name, purpose, form["session_code"], &goal); err != nil {
		h.refuse(w, req, r, &theme.Error{Text: "staleForm", Cause: err})
		return
	}
	s, err := h.browser(req, r)
	if err != nil && !errors.Is(err, session.ErrNotFound) {
		h.refuse(w, req, r, err)
		return
	}
	h.finish(w, req, r, goal, s.ID)
}

// finish ends the session, if there is one to end, and says goodbye.
func (h *Handler) finish(w http.ResponseWriter, req *http.Request, r realm.Realm, goal wish, sid string) {
	own, err := h.browser(req, r)
	if err != nil && !errors.Is(err, session.ErrNotFound) {
		h.refuse(w, req, r, err)
		return
	}
	clients, err := h.audience(req.Context(), r, sid)
	if err != nil {
		h.refuse(w, req, r, err)
		return
	}
	if sid != "" {
		by := revocation.ActorBrowser
		if own.UserID != "" {
			by = revocation.ActorUser(own.UserID)
		}
		if err := h.end(w, req, r, sid, by); err != nil {
			h.refuse(w, req, r, err)
			return
		}
	}
	// Another session than the hint's keeps its cookie.
	if own.ID == sid {
		h.forgetCookie(w, r)
	}
	if len(clients) > 0 {
		h.spread(w, req, r, goal, clients)
		return
	}
	if goal.RedirectURI == "" {
		h.page(w, req, theme.Page{Name: "logged-out", Realm: r.Name})
		return
	}
	w.Header().Set("Cache-Control", "no-store, must-revalidate, max-age=0")
	w.Header().Set("Location", goal.location())
	w.WriteHeader(http.StatusFound)
}

// browser returns the live session of the browser, or session.ErrNotFound.
func (h *Handler) browser(req *http.Request, r realm.Realm) (session.UserSession, error) {
	c, err := req.Cookie(sessionCookie)
	if err != nil || c.Value == "" {
		return session.UserSession{}, session.ErrNotFound
	}
	return h.c.Sessions.ByCookie(req.Context(), r, c.Value)
}

func (h *Handler) forgetCookie(w http.ResponseWriter, r realm.Realm) {
	http.SetCookie(w, &http.Cookie{
		Name: sessionCookie, Path: "/realms/" + r.Name + "/", MaxAge: -1,
		HttpOnly: true, Secure: h.c.Secure, SameSite: http.SameSiteLaxMode,
	})
}

// location is the redirect URI with the state (RP-Initiated Logout §3).
func (w wish) location() string {
	if w.State == "" {
		return w.RedirectURI
	}
	separator := "?"
	if strings.Contains(w.RedirectURI, "?") {
		separator = "&"
	}
	return w.RedirectURI + separator + "state=" + url.QueryEscape(w.State)
}
