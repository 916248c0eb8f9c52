package login

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/tegata/tegata/issuer/oauth"
	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/issuer/theme"
)

// field is one parameter of an answer; their order is Keycloak's.
type field struct{ Name, Value string }

// formPost is what the form-post page shows.
type formPost struct {
	Action string
	Fields []field
}

// succeed sends a code to the client (RFC 6749 §4.1.2, RFC 9207).
func (h *Handler) succeed(w http.ResponseWriter, req *http.Request, r realm.Realm, q request, sid, code string) {
	var fields []field
	if q.HasState {
		fields = append(fields, field{"state", q.State})
	}
	h.send(w, req, r, q, append(fields,
		field{"session_state", sid}, field{"iss", r.Issuer}, field{"code", code}))
}

// fail sends an error to the client (RFC 6749 §4.1.2.1, RFC 9207).
func (h *Handler) fail(w http.ResponseWriter, req *http.Request, r realm.Realm, q request, err error) {
	e := asError(err)
	h.log(req, r, q.ClientID, e)
	if q.Device != "" {
		h.failDevice(w, req, r, q, e)
		return
	}
	fields := []field{{"error", e.Code}}
	if e.Description != "" {
		fields = append(fields, field{"error_description", e.Said()})
	}
	if q.HasState {
		fields = append(fields, field{"state", q.State})
	}
	h.send(w, req, r, q, append(fields, field{"iss", r.Issuer}))
}

// failDevice tells the person; a device learns of a refusal, and may wait out
// what can be tried again.
func (h *Handler) failDevice(w http.ResponseWriter, req *http.Request, r realm.Realm, q request, e *oauth.Error) {
	if e.Code == oauth.CodeAccessDenied {
		h.decide(w, req, r, q, session.Device{Denied: true})
		return
	}
	h.page(w, req, theme.ErrorPage(r.Name, e))
}

// loginRequired is the answer to prompt=none without a fitting session.
func loginRequired() error { return &oauth.Error{Code: "login_required"} }

// sign is the answer as one JWT (JARM §2.1).
func (h *Handler) sign(ctx context.Context, r realm.Realm, q request, fields []field) ([]field, error) {
	c, err := h.client(ctx, r, q.ClientID)
	if err != nil {
		return nil, err
	}
	parameters := make(map[string]any, len(fields))
	for _, f := range fields {
		parameters[f.Name] = f.Value
	}
	jwt, err := h.c.Tokens.MintResponse(ctx, r, c.ClientID, c.ResponseAlgorithm(), parameters)
	return []field{{"response", jwt}}, err
}

// send is the only place that sends a browser away; q.RedirectURI has passed
// destination.
func (h *Handler) send(w http.ResponseWriter, req *http.Request, r realm.Realm, q request, fields []field) {
	if q.Signed {
		var err error
		if fields, err = h.sign(req.Context(), r, q, fields); err != nil {
			h.refuse(w, req, r, err)
			return
		}
	}
	if q.Mode == "form_post" {
		h.page(w, req, theme.Page{
			Name: "form-post", Realm: r.Name, FormTarget: q.RedirectURI,
			Data: formPost{q.RedirectURI, fields},
		})
		return
	}
	w.Header().Set("Cache-Control", "no-store, must-revalidate, max-age=0")
	w.Header().Set("Location", location(q.RedirectURI, q.Mode, fields))
	w.WriteHeader(http.StatusFound)
}

// location appends the fields to the query or as the fragment of a URI that
// has no fragment; a query that it has stays as it is (RFC 6749 §3.1.2).
func location(uri, mode string, fields []field) string {
	var b strings.Builder
	b.WriteString(uri)
	separator := "?"
	switch {
	case mode == "fragment":
		separator = "#"
	case !strings.Contains(uri, "?"):
	case strings.HasSuffix(uri, "?"), strings.HasSuffix(uri, "&"):
		separator = ""
	default:
		separator = "&"
	}
	for _, f := range fields {
		b.WriteString(separator)
		b.WriteString(f.Name)
		b.WriteByte('=')
		b.WriteString(url.QueryEscape(f.Value))
		separator = "&"
	}
	return b.String()
}
