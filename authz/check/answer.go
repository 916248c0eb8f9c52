package check

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/tegata/tegata/authz/credential"
)

// answer turns what the policy said into what the caller hears.
func (s *steps) answer() {
	result := &s.d.Result
	if result.Allowed {
		s.d.Allowed, s.d.Reason, s.d.Headers = true, Allowed, result.Headers
		return
	}
	reason := PolicyDenied
	switch {
	case s.d.Token == nil && result.Status == 0 && !s.named.LeaveTokens:
		reason = NoCredential
	case s.d.Token != nil && result.StepUp != nil && result.Status == 0:
		reason = StepUp
	case s.d.Token != nil && len(result.RequiredScopes) > 0:
		reason = InsufficientScope
	}
	s.refuse(reason, nil)
	s.d.Detail = strings.Join(result.Reasons, "; ")
	s.override()
}

// override lets a policy's own words replace ours, as the OPA-Envoy plugin does.
func (s *steps) override() {
	result := &s.d.Result
	if result.Status != 0 {
		s.d.Status = result.Status
	}
	if result.Body != "" {
		s.d.Body = result.Body
		s.d.Headers.Del("Content-Type")
	}
	for name, values := range result.Headers {
		s.d.Headers[name] = values
	}
}

// refusal is the outer form of a Reason.
type refusal struct {
	status      int
	code        string // RFC 6750 §3.1; empty: no error in the challenge
	description string
	retryAfter  string // seconds
}

var refusals = map[Reason]refusal{
	NoCredential:      {status: http.StatusUnauthorized, description: "a token is required"},
	BadRequest:        {status: http.StatusBadRequest, code: credential.InvalidRequest, description: "the request must carry exactly one well-formed credential"},
	InvalidToken:      {status: http.StatusUnauthorized, code: credential.InvalidToken, description: "the token is not valid here, or has expired"},
	InvalidProof:      {status: http.StatusUnauthorized, code: credential.InvalidProof, description: "the proof of possession does not hold"},
	UseNonce:          {status: http.StatusUnauthorized, code: credential.UseNonce, description: "the proof of possession needs a nonce"},
	StepUp:            {status: http.StatusUnauthorized, code: credential.InsufficientUser, description: "a stronger or fresher login is required"},
	Revoked:           {status: http.StatusUnauthorized, code: credential.InvalidToken, description: "the token has been revoked"},
	InsufficientScope: {status: http.StatusForbidden, code: credential.InsufficientScope, description: "the token lacks a scope"},
	PolicyDenied:      {status: http.StatusForbidden, description: "the policy does not allow this request"},
	PolicyError:       {status: http.StatusForbidden, description: "the policy does not allow this request"},
	NoPolicy:          {status: http.StatusForbidden, description: "no policy allows this request"},
	Overloaded:        {status: http.StatusServiceUnavailable, description: "too busy to decide", retryAfter: "1"},
	StaleRevocations:  {status: http.StatusServiceUnavailable, description: "the state of revocations is stale", retryAfter: "1"},
	NotReady:          {status: http.StatusServiceUnavailable, description: "not ready to decide", retryAfter: "1"},
}

// refuse fills in a refusal. detail is for the log.
func (s *steps) refuse(reason Reason, detail error) {
	r := refusals[reason]
	s.d.Allowed, s.d.Reason, s.d.Status = false, reason, r.status
	if detail != nil {
		s.d.Detail = detail.Error()
	}
	s.d.Headers = http.Header{"Content-Type": {"application/json"}, "Cache-Control": {"no-store"}}
	for _, challenge := range s.challenges(reason, r) {
		s.d.Headers.Add("WWW-Authenticate", challenge)
	}
	if s.scheme == credential.DPoP {
		if nonce := s.c.c.Verifier.Nonce(); nonce != "" {
			s.d.Headers.Set("DPoP-Nonce", nonce)
			s.d.Made = nil // the next one is another
		}
	}
	if r.retryAfter != "" {
		s.d.Headers.Set("Retry-After", r.retryAfter)
	}
	s.d.Body = body(reason, r)
}

// challenges are the WWW-Authenticate fields: of RFC 6750 §3, and of RFC 9449
// §7.1 for who uses DPoP or should; a refusal that another token would not
// change has none.
func (s *steps) challenges(reason Reason, r refusal) []string {
	if r.code == "" && reason != NoCredential {
		return nil
	}
	c := credential.Challenge{
		Scheme: credential.Bearer, Realm: s.c.c.Realm, Error: r.code, ResourceMetadata: s.c.c.ResourceMetadata,
	}
	if r.code != "" {
		c.Description = r.description
	}
	switch reason {
	case InsufficientScope:
		c.Scopes = s.d.Result.RequiredScopes
	case StepUp:
		c.ACRValues, c.MaxAge = s.d.Result.StepUp.ACRValues, s.d.Result.StepUp.MaxAge
	}
	proved := c
	proved.Scheme, proved.Algorithms = credential.DPoP, s.c.c.Verifier.ProofAlgorithms()
	switch {
	case s.scheme == credential.DPoP:
		return []string{proved.String()}
	case s.misused: // a bearer token that is none
		return []string{c.String(), proved.String()}
	}
	return []string{c.String()}
}

// body is an error object in OAuth's form.
func body(reason Reason, r refusal) string {
	code := r.code
	if code == "" {
		code = string(reason)
	}
	if reason == PolicyError {
		code = string(PolicyDenied) // whether our policy is broken is our business
	}
	b, err := json.Marshal(struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}{code, r.description})
	if err != nil { // two strings
		return fmt.Sprintf(`{"error":%q}`, code)
	}
	return string(b)
}
