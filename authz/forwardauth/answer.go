package forwardauth

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/tegata/tegata/authz/check"
)

// Headers of an answer that are ours to set, whatever the policy says.
const (
	headersToRemove = "X-Envoy-Auth-Headers-To-Remove" // Envoy acts on it
	decisionPrefix  = "X-Tegata-Decision-"             // facts about the decision
	refusalStatus   = "X-Tegata-Refusal-Status"        // the status that was meant
	refusalBody     = "X-Tegata-Refusal-Body"          // the body that was meant
)

// maxRefusalBody is the longest body that travels in a header, in bytes: with
// the other headers it fits a proxy's buffer.
const maxRefusalBody = 1 << 10

// refusal is the decision about a question that cannot be put.
func refusal(err error) check.Decision {
	status := http.StatusBadRequest
	switch {
	case errors.Is(err, errUntrusted):
		status = http.StatusForbidden
	case errors.Is(err, errTooLarge):
		status = http.StatusRequestHeaderFieldsTooLarge
	case errors.Is(err, errTooLong):
		status = http.StatusRequestURITooLong
	case errors.Is(err, errBody):
		status = http.StatusRequestEntityTooLarge
	}
	return check.Decision{
		Reason: check.BadRequest, Status: status,
		Headers: http.Header{"Content-Type": {"application/json"}, "Cache-Control": {"no-store"}},
		Body:    `{"error":"invalid_request","error_description":"the request cannot be judged as it is"}`,
	}
}

// answer tells the proxy.
func (h *Handler) answer(w http.ResponseWriter, r *http.Request, d *dialect, decision *check.Decision) {
	if decision.Allowed {
		headers, ok := allowance(d, decision)
		if ok {
			if missing := d.cannot(decision); missing != "" {
				h.complain(r, "the policy asks for what this dialect cannot do", "dialect", d.name, "what", missing)
			}
			write(w, http.StatusOK, headers, "")
			return
		}
		h.complain(r, "the policy sets a header that cannot be sent; refused", "dialect", d.name, "decision_id", decision.ID)
		decision = &check.Decision{ID: decision.ID, Reason: check.PolicyError, Status: http.StatusForbidden}
	}
	refuse(w, d, decision)
}

// cannot names what a decision asks for and the dialect has no words for.
func (d *dialect) cannot(decision *check.Decision) string {
	result := &decision.Result
	switch {
	case len(result.QueryParametersToSet) > 0 || len(result.QueryParametersToRemove) > 0:
		return "query parameters"
	case len(result.ResponseHeadersToAdd) > 0 && !d.responseHeaders:
		return "response_headers_to_add"
	}
	return ""
}

// allowance is the headers of a 200. ok is false if what the policy asserts to
// the upstream cannot be sent.
func allowance(d *dialect, decision *check.Decision) (headers http.Header, ok bool) {
	headers = http.Header{}
	if d.responseHeaders {
		copyHeaders(headers, decision.Result.ResponseHeadersToAdd)
	}
	if !copyHeaders(headers, decision.Headers) {
		return nil, false
	}
	// What is to be removed is not there, so that a proxy that knows only how
	// to replace headers (all but Envoy) removes it.
	for _, name := range decision.Result.RequestHeadersToRemove {
		if !isToken(name) {
			return nil, false
		}
		if d.removes {
			headers.Add(headersToRemove, strings.ToLower(name))
		}
	}
	join(headers)
	facts(headers, decision)
	return headers, true
}

// copyHeaders copies what can be sent, in place of what is there under the
// same name, and reports whether that was all. Framing is left out: it is the
// business of whoever sends the message.
func copyHeaders(to, from http.Header) (all bool) {
	all = true
	for name, values := range from {
		switch {
		case hopByHop(name) || strings.EqualFold(name, "Content-Length") || strings.EqualFold(name, headersToRemove):
		case !isToken(name) || slices.ContainsFunc(values, isNoValue):
			all = false
		default:
			to[http.CanonicalHeaderKey(name)] = slices.Clone(values)
		}
	}
	return all
}

// isValue reports whether s is a field value of RFC 9110 §5.5 as it stands.
func isValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return s == strings.Trim(s, " \t")
}

func isNoValue(s string) bool { return !isValue(s) }

// join makes one field of those with one name: some proxies take only the
// first of several, others only the last. Cookies cannot be joined.
func join(headers http.Header) {
	for name, values := range headers {
		if len(values) > 1 && name != "Set-Cookie" {
			headers[name] = []string{strings.Join(values, ", ")}
		}
	}
}

// facts is what Envoy's dynamic metadata has in the gRPC door: for access logs
// and for what comes later in the proxy. Never the token.
func facts(headers http.Header, d *check.Decision) {
	for name := range headers {
		if strings.HasPrefix(name, decisionPrefix) {
			delete(headers, name)
		}
	}
	set := func(name, value string) {
		if value != "" && isValue(value) {
			headers.Set(decisionPrefix+name, value)
		}
	}
	set("Id", d.ID)
	set("Reason", string(d.Reason))
	set("Policy", d.Policy)
	if d.Shadowed {
		set("Shadow", "true")
	}
	set("Route", d.Route)
	set("Policy-Revision", d.PolicyRevision)
	set("Revocation-Revision", strconv.FormatUint(uint64(d.RevocationRevision), 10))
	if d.Token != nil {
		set("Issuer", d.Token.Revocation.Issuer)
		set("Subject", d.Token.Revocation.Subject)
		set("Client", d.Token.Revocation.Client)
		set("Scopes", strings.Join(d.Token.Scopes, " "))
	}
}

// refuse says no. Headers of a refusal may reach the client, all of them with
// some proxies, so that they hold no more than a gRPC refusal does.
func refuse(w http.ResponseWriter, d *dialect, decision *check.Decision) {
	wanted := decision.Status
	if wanted < 300 {
		wanted = http.StatusForbidden
	}
	headers := http.Header{}
	copyHeaders(headers, decision.Result.ResponseHeadersToAdd)
	copyHeaders(headers, decision.Headers)
	delete(headers, refusalBody)
	if d.fixed { // such a proxy passes on no header that it was not told to
		facts(headers, decision)
		headers.Set(refusalStatus, strconv.Itoa(wanted))
		if isValue(decision.Body) && len(decision.Body) <= maxRefusalBody {
			headers.Set(refusalBody, decision.Body)
		}
	}
	write(w, d.status(wanted), headers, decision.Body)
}

func write(w http.ResponseWriter, status int, headers http.Header, body string) {
	if _, typed := headers["Content-Type"]; !typed {
		w.Header()["Content-Type"] = nil // no guess
	}
	for name, values := range headers {
		w.Header()[name] = values
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body) // the proxy may have gone, and a HEAD has no body
}
