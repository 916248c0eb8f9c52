package issuer

import (
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/tegata/tegata/issuer/oauth"
	"github.com/tegata/tegata/issuer/realm"
)

// maxBody is the largest request body, in bytes.
const maxBody = 64 << 10

// receiversPath is where other issuers are heard.
const receiversPath = "/receivers/{receiver}/"

// route is one endpoint. Doors are given the realm; that it exists is checked
// here, once.
type route struct {
	methods string
	path    string
	serve   func(http.ResponseWriter, *http.Request, realm.Realm)
	cors    bool // answers preflights; the door decides about origins
}

// routes is the whole HTTP surface.
func (d *doors) routes() []route {
	const oidc = "/realms/{realm}/protocol/openid-connect"
	return []route{
		{"GET", "/realms/{realm}", d.discovery.Realm, true},
		{"GET", "/realms/{realm}/{$}", d.discovery.Realm, true},
		{"GET", "/realms/{realm}/.well-known/openid-configuration", d.discovery.Metadata, true},
		{"GET", "/realms/{realm}/.well-known/oauth-authorization-server", d.discovery.Metadata, true},
		{"GET", "/.well-known/oauth-authorization-server/realms/{realm}", d.discovery.Metadata, true},
		{"GET", oidc + "/certs", d.discovery.Certs, true},

		{"GET POST", oidc + "/auth", d.login.Authorize, false},
		{"POST", oidc + "/auth/device", d.login.StartDevice, true},
		{"GET POST", "/realms/{realm}/device", d.login.Device, false},
		{"GET", "/realms/{realm}/device/status", d.login.DeviceStatus, false},
		{"POST", oidc + "/ext/par/request", d.login.Push, true},
		{"POST", "/realms/{realm}/login-actions/authenticate", d.login.Authenticate, false},
		{"POST", "/realms/{realm}/login-actions/consent", d.login.Consent, false},
		{"GET POST", oidc + "/logout", d.logout.ServeRealm, false},
		{"POST", oidc + "/logout/logout-confirm", d.logout.Confirm, false},

		{"GET", "/realms/{realm}/.well-known/ssf-configuration", d.signals.Metadata, true},
		{"GET", "/.well-known/ssf-configuration/realms/{realm}", d.signals.Metadata, true},
		{"GET POST PATCH PUT DELETE", "/realms/{realm}/ssf/streams", d.signals.Stream, false},
		{"GET POST", "/realms/{realm}/ssf/status", d.signals.Status, false},
		{"POST", "/realms/{realm}/ssf/verify", d.signals.Verify, false},
		{"POST", "/realms/{realm}/ssf/poll/{stream}", d.signals.Poll, false},

		{"POST", oidc + "/token", d.grant.ServeRealm, true},
		{"POST", oidc + "/token/introspect", d.introspect.ServeRealm, false},
		{"POST", oidc + "/revoke", d.revoke.ServeRealm, true},
		{"GET POST", oidc + "/userinfo", d.userinfo.ServeRealm, true},
	}
}

// mount puts the routes behind what all of them share.
func (i *Issuer) mount(routes []route) http.Handler {
	mux := http.NewServeMux()
	for _, r := range routes {
		mux.Handle(r.path, i.endpoint(r))
	}
	mux.HandleFunc(receiversPath+"backchannel-logout", i.receivers.Logout)
	mux.HandleFunc(receiversPath+"events", i.receivers.Push)
	mux.HandleFunc(receiversPath+"revocations", i.receivers.Call)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		plainError(w, http.StatusNotFound, "HTTP 404 Not Found")
	})
	return i.observe(i.address(i.common(mux)))
}

// endpoint checks the method, finds the realm and calls the door.
func (i *Issuer) endpoint(rt route) http.Handler {
	methods := strings.Fields(rt.methods)
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if rt.cors && req.Method == http.MethodOptions {
			preflight(w, req, methods)
			return
		}
		if !slices.Contains(methods, req.Method) && (req.Method != http.MethodHead || methods[0] != http.MethodGet) {
			w.Header().Set("Allow", strings.Join(methods, ", "))
			plainError(w, http.StatusMethodNotAllowed, "HTTP 405 Method Not Allowed")
			return
		}
		r, err := i.realms.ByName(req.Context(), req.PathValue("realm"))
		switch {
		case errors.Is(err, realm.ErrNotFound):
			plainError(w, http.StatusNotFound, "Realm does not exist")
		case err != nil:
			i.c.Logger.ErrorContext(req.Context(), "realm not read", "err", err)
			oauth.WriteError(w, err)
		case !r.Enabled:
			oauth.WriteError(w, &oauth.Error{Code: "access_denied", Description: "Realm not enabled", Status: http.StatusForbidden})
		default:
			rt.serve(w, req, r)
		}
	})
}

// preflight answers a CORS preflight for any origin, as Keycloak does: which
// client is calling, and so which origins are its, is not known before the
// request itself.
func preflight(w http.ResponseWriter, req *http.Request, methods []string) {
	if origin := req.Header.Get("Origin"); origin != "" {
		h := w.Header()
		h.Set("Access-Control-Allow-Origin", origin)
		h.Set("Access-Control-Allow-Credentials", "true")
		h.Set("Access-Control-Allow-Methods", strings.Join(append(slices.Clone(methods), "OPTIONS"), ", "))
		h.Set("Access-Control-Allow-Headers", "Origin, Accept, X-Requested-With, Access-Control-Request-Method, Access-Control-Request-Headers, DPoP, Content-Type, Authorization")
		h.Set("Access-Control-Max-Age", "3600")
		h.Add("Vary", "Origin")
	}
	w.WriteHeader(http.StatusOK)
}

// plainError writes Keycloak's error object for what is no OAuth error.
func plainError(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, "{\"error\":%q}", text)
}

// common bounds the request and sets the headers of every answer.
func (i *Issuer) common(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		h := w.Header()
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "SAMEORIGIN")
		h.Set("X-Robots-Tag", "none")
		if i.c.secure() {
			h.Set("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
		}
		req.Body = http.MaxBytesReader(w, req.Body, maxBody)
		next.ServeHTTP(w, req)
	})
}

// observe counts and logs each request, and turns a panic into server_error.
func (i *Issuer) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		began := i.c.Now()
		rec := &recorder{ResponseWriter: w}
		defer func() {
			if p := recover(); p != nil {
				i.recovered(rec, req, p)
			}
			endpoint := endpointOf(req)
			i.metrics.request(endpoint, rec.code())
			i.c.Logger.InfoContext(req.Context(), "request served", "method", req.Method, "endpoint", endpoint,
				"realm", req.PathValue("realm"), "status", rec.code(), "ms", float64(i.c.Now().Sub(began).Microseconds())/1000)
		}()
		next.ServeHTTP(rec, req)
	})
}

func (i *Issuer) recovered(w *recorder, req *http.Request, p any) {
	if p == http.ErrAbortHandler { //nolint:errorlint // net/http compares it so
		panic(p)
	}
	i.c.Logger.ErrorContext(req.Context(), "request panicked", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	if w.status == 0 {
		oauth.WriteError(w, oauth.ServerError(fmt.Errorf("panic: %v", p)))
	}
}

// endpointOf is the endpoint as metrics name it: the route, not the path, so
// that their number is bounded.
func endpointOf(req *http.Request) string {
	if name, ok := strings.CutPrefix(req.Pattern, receiversPath); ok {
		return "receivers/" + name
	}
	_, name, ok := strings.Cut(req.Pattern, "/realms/{realm}")
	switch {
	case !ok:
		return "other"
	case strings.HasPrefix(req.Pattern, "/.well-known/ssf"):
		return ".well-known/ssf-configuration"
	case strings.HasPrefix(req.Pattern, "/.well-known"):
		return ".well-known/oauth-authorization-server"
	}
	name = strings.TrimPrefix(strings.TrimSuffix(name, "{$}"), "/")
	if name == "" {
		return "realm"
	}
	return strings.TrimPrefix(name, "protocol/openid-connect/")
}

// recorder remembers the status of an answer.
type recorder struct {
	http.ResponseWriter
	status int // 0 until written
}

func (r *recorder) code() int {
	if r.status == 0 {
		return http.StatusOK
	}
	return r.status
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(b)
}

func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
