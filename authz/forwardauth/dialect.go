package forwardauth

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// dialect is how one kind of proxy asks, and what it makes of an answer.
type dialect struct {
	name   string
	read   func(r *http.Request, trusted bool) (original, error)
	status func(wanted int) int // of a refusal, from 300: one that this proxy takes for a refusal
	bodies bool                 // whether the proxy may pass the body on

	// patience says how long the proxy waits for an answer, where having
	// waited in vain may make it let the request pass; 0: it did not say.
	patience func(http.Header) time.Duration

	// What an answer can carry besides the headers for the upstream.
	responseHeaders bool // headers for the client, under their own names
	removes         bool // names of request headers to remove
	fixed           bool // the proxy keeps status and body to itself, unless told by header
}

var (
	envoy = &dialect{
		name: "envoy", read: readEnvoy, status: envoyStatus, bodies: true, patience: envoyPatience,
		responseHeaders: true, removes: true,
	}
	nginx = &dialect{
		name: "nginx", read: readNGINX, status: nginxStatus,
		responseHeaders: true, fixed: true,
	}
	traefik = &dialect{
		name: "traefik", read: readTraefik, status: traefikStatus, bodies: true,
	}
)

const (
	envoyPrefix = "/auth/envoy"
	nginxPath   = "/auth/nginx"
	traefikPath = "/auth/traefik"
)

// dialectOf finds the dialect by the raw request target: what stands behind
// Envoy's prefix is anybody's, and must not lead to another dialect.
func dialectOf(target string) (*dialect, bool) {
	if strings.HasPrefix(target, envoyPrefix) {
		return envoy, true
	}
	path, _, _ := strings.Cut(target, "?")
	switch path {
	case nginxPath:
		return nginx, true
	case traefikPath:
		return traefik, true
	}
	return nil, false
}

// envoyStatus keeps 5xx from Envoy, which takes it for a failure of ours and
// may have been told to let those through (failure_mode_allow).
func envoyStatus(wanted int) int {
	if wanted >= 500 {
		return http.StatusForbidden
	}
	return wanted
}

// envoyPatience reads the header that Envoy's own client sets, in place of any
// that came with the request.
func envoyPatience(headers http.Header) time.Duration {
	ms, err := strconv.ParseUint(headers.Get("X-Envoy-Expected-Rq-Timeout-Ms"), 10, 31)
	if err != nil {
		return 0
	}
	return time.Duration(ms) * time.Millisecond
}

// nginxStatus: auth_request knows two refusals and answers 500 to the rest.
func nginxStatus(wanted int) int {
	if wanted == http.StatusUnauthorized {
		return wanted
	}
	return http.StatusForbidden
}

// traefikStatus: all but 2xx reaches the client as it is.
func traefikStatus(wanted int) int { return wanted }

// readEnvoy: the request is the question, with a prefix before its target.
// Envoy's own client adds to X-Forwarded-For, so that the client's address
// cannot be told from it; Envoy says it in a header of its own.
func readEnvoy(r *http.Request, trusted bool) (original, error) {
	o := original{
		method:  r.Method,
		target:  strings.TrimPrefix(r.RequestURI, envoyPrefix),
		host:    r.Host,
		headers: r.Header,
	}
	if !trusted {
		return o, nil
	}
	var err error
	if o.scheme, err = scheme(r.Header); err != nil {
		return original{}, err
	}
	o.forwarded = r.Header["X-Forwarded-Client-Cert"]
	if v := r.Header["X-Envoy-External-Address"]; len(v) == 1 {
		o.client, _ = netip.ParseAddr(v[0])
	}
	return o, nil
}

func readNGINX(r *http.Request, trusted bool) (original, error) {
	return readForwarded(r, trusted, "X-Original-Method", "X-Original-Uri")
}

func readTraefik(r *http.Request, trusted bool) (original, error) {
	return readForwarded(r, trusted, "X-Forwarded-Method", "X-Forwarded-Uri")
}

var errUntrusted = errors.New("the peer is not among the trusted ones: its word on the original request does not count")

// readForwarded reads an original request that headers describe. They are
// taken out of what the policy sees, as the original request did not have them.
func readForwarded(r *http.Request, trusted bool, method, target string) (o original, err error) {
	if !trusted {
		return original{}, errUntrusted
	}
	if o.method, err = single(r.Header, method); err != nil {
		return original{}, err
	}
	if o.target, err = single(r.Header, target); err != nil {
		return original{}, err
	}
	if !isResolved(o.target) {
		return original{}, fmt.Errorf("%w: the target has a dot segment, which the proxy has resolved for itself", errAmbiguous)
	}
	if o.host, err = single(r.Header, "X-Forwarded-Host"); err != nil {
		return original{}, err
	}
	if o.scheme, err = scheme(r.Header); err != nil {
		return original{}, err
	}
	if o.extensions, err = extensions(r.RequestURI); err != nil {
		return original{}, err
	}
	o.client = last(r.Header["X-Forwarded-For"])
	o.headers = r.Header.Clone()
	// The third would hide a body from the policy, and is Envoy's to say.
	for _, name := range []string{method, target, "X-Envoy-Auth-Partial-Body"} {
		delete(o.headers, name)
	}
	return o, nil
}

// extensions are the query parameters that the operator gave the door's URL.
func extensions(target string) (map[string]string, error) {
	_, query, ok := strings.Cut(target, "?")
	if !ok {
		return nil, nil
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return nil, fmt.Errorf("%w: query of the door: %w", errAmbiguous, err)
	}
	out := make(map[string]string, len(values))
	for name, v := range values {
		if len(v) != 1 {
			return nil, fmt.Errorf("%w: query of the door has %q twice", errAmbiguous, name)
		}
		out[name] = v[0]
	}
	return out, nil
}
