package clientauth

import (
	"net/http"
	"net/url"
	"slices"

	"github.com/tegata/tegata/issuer/client"
)

// AllowOrigin answers the CORS side of a request whose client is known: a
// request without Origin passes, one from an origin among the client's
// webOrigins passes and its answer may be read there, and for another one it
// writes Keycloak 26's 403 and returns false. "+" among the webOrigins stands
// for the origins of the redirect URIs, "*" for every origin.
func AllowOrigin(w http.ResponseWriter, req *http.Request, c client.Client) bool {
	origin := req.Header.Get("Origin")
	if origin == "" {
		return true
	}
	allowed := Origins(c)
	if !slices.Contains(allowed, origin) && !slices.Contains(allowed, "*") {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte(`{"error":"Invalid origin"}`))
		return false
	}
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Allow-Credentials", "true")
	h.Add("Vary", "Origin")
	return true
}

// Origins are the origins that the client's webOrigins stand for, "*"
// included if it is there.
func Origins(c client.Client) []string {
	var origins []string
	for _, o := range c.WebOrigins {
		if o != "+" {
			origins = append(origins, o)
			continue
		}
		for _, uri := range c.RedirectURIs {
			if o := originOf(uri); o != "" && !slices.Contains(origins, o) {
				origins = append(origins, o)
			}
		}
	}
	return origins
}

// originOf is the origin of a web URL, or "" (RFC 6454 §4).
func originOf(uri string) string {
	u, err := url.Parse(uri)
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
		return ""
	}
	return u.Scheme + "://" + u.Host
}
