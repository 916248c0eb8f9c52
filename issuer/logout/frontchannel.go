package logout

import (
	"cmp"
	"context"
	"errors"
	"html/template"
	"net/http"
	"net/url"
	"strings"

	"github.com/tegata/tegata/issuer/client"
	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/issuer/theme"
)

// refreshAfter is how long the browser shows the page that tells clients,
// before it goes on, in seconds. A link goes on at once.
const refreshAfter = "3"

// told is a client that the browser tells of the logout.
type told struct {
	Name string
	URL  string
}

// audience are the clients of a session that the browser has to tell (OpenID
// Connect Front-Channel Logout 1.0 §3), none if there is no session.
func (h *Handler) audience(ctx context.Context, r realm.Realm, sid string) ([]told, error) {
	if sid == "" {
		return nil, nil
	}
	ids, err := h.c.Sessions.ClientsOf(ctx, r, sid)
	if errors.Is(err, session.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []told
	for _, id := range ids {
		c, err := h.c.Clients.ByClientID(ctx, r, id)
		if errors.Is(err, client.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if to, wanted := c.FrontLogout(); wanted && c.Enabled {
			all = append(all, told{Name: cmp.Or(c.Name, c.ClientID), URL: frontURL(to, r, sid)})
		}
	}
	return all, nil
}

// frontURL names the session to the client, if it wants to know which.
func frontURL(to client.LogoutURL, r realm.Realm, sid string) string {
	if !to.WithSession {
		return to.URL
	}
	separator := "?"
	if strings.Contains(to.URL, "?") {
		separator = "&"
	}
	return to.URL + separator + url.Values{"iss": {r.Issuer}, "sid": {sid}}.Encode()
}

// spread shows the page whose frames tell the clients, on the way to where the
// browser is going.
func (h *Handler) spread(w http.ResponseWriter, req *http.Request, r realm.Realm, goal wish, all []told) {
	var frames []string
	for _, c := range all {
		frames = append(frames, c.URL)
	}
	data := struct {
		Clients []told
		Next    template.URL
	}{Clients: all}
	if goal.RedirectURI != "" {
		data.Next = template.URL(goal.location()) //nolint:gosec // registered with the client, and oauth.SafeRedirect
		w.Header().Set("Refresh", refreshAfter+"; url="+goal.location())
	}
	h.page(w, req, theme.Page{Name: "logging-out", Realm: r.Name, Data: data, Frames: frames})
}
