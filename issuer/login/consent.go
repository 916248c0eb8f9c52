package login

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/tegata/tegata/issuer/client"
	"github.com/tegata/tegata/issuer/oauth"
	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/issuer/theme"
)

// purposeConsent is that of the sealed consent form.
const purposeConsent = "consent"

// consenting is what travels in the consent form: the request, and whose
// consent it is about.
type consenting struct {
	Request   request `json:"r"`
	SessionID string  `json:"s"`
	ACR       string  `json:"a"`
}

// consentPage is what the consent page shows.
type consentPage struct {
	Action, State, Client string
	UserCode              string // of a device
	Scopes, Details       []string
}

// settle is the fourth gate: what the person lets the client have.
func (h *Handler) settle(w http.ResponseWriter, req *http.Request, r realm.Realm, c client.Client, q request, s session.UserSession, acr string) {
	ask, err := h.needsConsent(req.Context(), r, c, q, s.UserID)
	switch {
	case err != nil:
		h.fail(w, req, r, q, err)
	case !ask:
		h.finish(w, req, r, c, q, s, acr)
	case slices.Contains(q.prompt, "none"):
		h.fail(w, req, r, q, &oauth.Error{Code: "interaction_required"})
	default:
		h.askConsent(w, req, r, c, consenting{q, s.ID, acr})
	}
}

func (h *Handler) needsConsent(ctx context.Context, r realm.Realm, c client.Client, q request, userID string) (bool, error) {
	switch {
	case q.AskConsent, q.Device != "", len(q.Asked.Details) > 0: // each is a permission of its own, and none is remembered
		return true, nil
	case !c.ConsentRequired:
		return false, nil
	}
	given, err := h.c.Sessions.Consented(ctx, r, userID, c.ClientID, q.consent())
	return !given, err
}

// askConsent shows the consent page.
func (h *Handler) askConsent(w http.ResponseWriter, req *http.Request, r realm.Realm, c client.Client, k consenting) {
	state, err := h.c.Forms.Seal(w, req, r.Name, purposeConsent, k, r.Settings.AccessCodeLifespanLogin)
	if err != nil {
		h.refuse(w, req, r, err)
		return
	}
	scopes := slices.DeleteFunc(strings.Fields(k.Request.consent()), func(s string) bool { return s == "openid" })
	h.page(w, req, theme.Page{
		Name: "consent", Realm: r.Name, Locales: k.Request.Locales, FormTarget: k.Request.RedirectURI,
		Data: consentPage{
			Action: "/realms/" + url.PathEscape(r.Name) + "/login-actions/consent?client_id=" + url.QueryEscape(c.ClientID),
			State:  state, Client: cmp.Or(c.Name, c.ClientID), UserCode: k.Request.Device, Scopes: scopes, Details: shownDetails(k.Request.Asked),
		},
	})
}

// Consent answers the POST of the consent form. The browser's session must be
// the one that was asked: consent is a person's, not a browser's.
func (h *Handler) Consent(w http.ResponseWriter, req *http.Request, r realm.Realm) {
	var k consenting
	c, form, err := h.reopen(req, r, purposeConsent, &k, &k.Request)
	if err != nil {
		h.refuse(w, req, r, err)
		return
	}
	s, err := h.session(req, r)
	if err != nil || s.ID != k.SessionID {
		h.refuse(w, req, r, &theme.Error{Text: "staleForm", Cause: err})
		return
	}
	if form["accept"] == "" || form["cancel"] != "" {
		h.fail(w, req, r, k.Request, &oauth.Error{Code: "access_denied"})
		return
	}
	if err := h.c.Sessions.Consent(req.Context(), r, s.UserID, c.ClientID, k.Request.consent()); err != nil {
		h.fail(w, req, r, k.Request, err)
		return
	}
	h.finish(w, req, r, c, k.Request, s, k.ACR)
}
