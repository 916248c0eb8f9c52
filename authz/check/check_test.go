package check

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tegata/tegata/authz/policy"
	"github.com/tegata/tegata/authz/policy/reads"
	"github.com/tegata/tegata/authz/verify"
	"github.com/tegata/tegata/policies"
	"github.com/tegata/tegata/revocation"
)

// shipped makes a bench decide by the policies that ship.
func shipped(t testing.TB, change func(*Config)) *bench {
	t.Helper()
	engine, err := policy.New(t.Context(), policy.Config{FS: policies.FS, Deadline: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	b := newBench(t, "", func(c *Config) {
		c.Policy = engine
		if change != nil {
			change(c)
		}
	})
	b.known.add("reader", token("r", "orders:read"))
	b.known.errs = map[string]error{
		"expired": fmt.Errorf("exp: %w", verify.ErrExpired),
		"nokeys":  fmt.Errorf("fetching: %w", verify.ErrUnavailable),
	}
	return b
}

// TestEveryStepRefusesInItsOwnWords has rows for the steps in their order,
// against the shipped policies.
func TestEveryStepRefusesInItsOwnWords(t *testing.T) {
	t.Parallel()
	const (
		bare    = `Bearer realm="api"`
		request = bare + `, error="invalid_request", error_description="the request must carry exactly one well-formed credential"`
		invalid = bare + `, error="invalid_token", error_description="the token is not valid here, or has expired"`
		scope   = bare + `, error="insufficient_scope", error_description="the token lacks a scope", scope="orders:write"`
	)
	fresh, stale, unknown := revocation.Fresh, revocation.Stale, revocation.Unknown
	post := func(token string) door {
		return door{method: "POST", path: "/orders", authorization: []string{token}}
	}
	tests := []struct {
		name      string
		door      door
		trust     revocation.Trust
		reason    Reason
		status    int
		challenge string // RFC 6750 §3
		retry     string
		body      string // its member error
	}{
		// credential
		{"two fields", get("/orders", "Bearer reader", "Bearer reader"), fresh, BadRequest, 400, request, "", "invalid_request"},
		{"two in one field", get("/orders", "Bearer reader, Bearer reader"), fresh, BadRequest, 400, request, "", "invalid_request"},
		{"no token68", get("/orders", "Bearer ü"), fresh, BadRequest, 400, request, "", "invalid_request"},
		{"two, on an open route", get("/healthz", "Bearer reader", "Bearer reader"), fresh, BadRequest, 400, request, "", "invalid_request"},
		{"none, open route", get("/healthz"), fresh, Allowed, 0, "", "", ""},
		{"none, scoped route", get("/orders"), fresh, NoCredential, 401, bare, "", "no_credential"},
		{"none, unknown route", get("/nowhere"), fresh, NoCredential, 401, bare, "", "no_credential"},
		{"another scheme, open route", get("/healthz", "Basic YTpi"), fresh, Allowed, 0, "", "", ""},
		{"another scheme, scoped route", get("/orders", "Basic YTpi"), fresh, NoCredential, 401, bare, "", "no_credential"},

		// verify
		{"expired", get("/orders", "Bearer expired"), fresh, InvalidToken, 401, invalid, "", "invalid_token"},
		{"expired, open route", get("/healthz", "Bearer expired"), fresh, InvalidToken, 401, invalid, "", "invalid_token"},
		{"unknown error", get("/orders", "Bearer nonsense"), fresh, InvalidToken, 401, invalid, "", "invalid_token"},
		{"no keys", get("/orders", "Bearer nokeys"), fresh, NotReady, 503, "", "1", "not_ready"},
		{"no keys, open route", get("/healthz", "Bearer nokeys"), fresh, NotReady, 503, "", "1", "not_ready"},

		// alive
		{"stale", get("/orders", "Bearer reader"), stale, StaleRevocations, 503, "", "1", "stale_revocations"},
		{"stale, open route", get("/healthz", "Bearer reader"), stale, StaleRevocations, 503, "", "1", "stale_revocations"},
		{"stale, no token, open route", get("/healthz"), stale, Allowed, 0, "", "", ""},
		{"no snapshot", get("/orders", "Bearer reader"), unknown, NotReady, 503, "", "1", "not_ready"},
		{"no snapshot, no token, open route", get("/healthz"), unknown, Allowed, 0, "", "", ""},

		// policy and answer
		{"scope granted", get("/orders", "Bearer reader"), fresh, Allowed, 0, "", "", ""},
		{"scheme in other letters", get("/orders", "bEARER reader"), fresh, Allowed, 0, "", "", ""},
		{"token on an open route", get("/healthz", "Bearer reader"), fresh, Allowed, 0, "", "", ""},
		{"scope missing", post("Bearer reader"), fresh, InsufficientScope, 403, scope, "", "insufficient_scope"},
		{"no rule", get("/nowhere", "Bearer reader"), fresh, PolicyDenied, 403, "", "", "policy_denied"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := shipped(t, nil)
			b.trust.Store(uint32(tt.trust))
			d := b.check(t, tt.door)
			if d.Reason != tt.reason || d.Allowed != (tt.reason == Allowed) || d.Status != tt.status {
				t.Fatalf("decision = %v %s %d (%s), want %s %d", d.Allowed, d.Reason, d.Status, d.Detail, tt.reason, tt.status)
			}
			if got := d.Headers.Get("WWW-Authenticate"); got != tt.challenge {
				t.Errorf("challenge = %s\nwant        %s", got, tt.challenge)
			}
			if got := d.Headers.Get("Retry-After"); got != tt.retry {
				t.Errorf("Retry-After = %q, want %q", got, tt.retry)
			}
			if got := errorOf(t, d); got != tt.body {
				t.Errorf("error in the body = %q, want %q", got, tt.body)
			}
			if !d.Allowed && (d.Headers.Get("Cache-Control") != "no-store" || d.Headers.Get("Content-Type") != "application/json") {
				t.Errorf("headers of the refusal = %v", d.Headers)
			}
			if got := count(t, b.metrics.at(place{policy: d.Policy, route: d.Route})[tt.reason]); got != 1 {
				t.Errorf("decisions counted under %s: %d, want 1", tt.reason, got)
			}
		})
	}
}

// errorOf reads the member error of a refusal's body, a JSON object.
func errorOf(t *testing.T, d Decision) string {
	t.Helper()
	if d.Body == "" {
		return ""
	}
	var body struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	if err := json.Unmarshal([]byte(d.Body), &body); err != nil || body.Description == "" {
		t.Errorf("body %q: %v", d.Body, err)
	}
	return body.Error
}

func TestDecisionSaysOnWhatItWasMade(t *testing.T) {
	t.Parallel()
	b := shipped(t, func(c *Config) { c.NewID = func() string { return "id1" } })
	b.set.Apply(nil, 7)
	d := b.check(t, get("/orders/5?x=1", "Bearer reader"))
	want := []any{true, "/orders/{id}", "id1", b.c.Policy.Status().Revision, revocation.Revision(7), b.known.tokens["reader"]}
	got := []any{d.Allowed, d.Route, d.ID, d.PolicyRevision, d.RevocationRevision, d.Token}
	if !slices.Equal(got, want) {
		t.Errorf("decision = %v, want %v", got, want)
	}
	upstream := http.Header{"X-Tegata-Client": {"azp-r"}, "X-Tegata-Subject": {"sub-r"}}
	if diff := cmp.Diff(upstream, d.Headers); diff != "" {
		t.Errorf("headers to the upstream (-want +got):\n%s", diff)
	}
}

func TestIDsDiffer(t *testing.T) {
	t.Parallel()
	if a, b := newID(), newID(); a == b || len(a) != 32 {
		t.Errorf("ids %q and %q", a, b)
	}
}

// TestPolicyHasTheLastWordOnARefusal: as in the OPA-Envoy plugin.
func TestPolicyHasTheLastWordOnARefusal(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, allow string
		door        door
		want        Decision
	}{
		{
			"status, for no token", `{"allowed": false, "http_status": 302, "headers": {"Location": "/login"}}`, get("/"),
			Decision{Reason: PolicyDenied, Status: 302, Headers: http.Header{
				"Location": {"/login"}, "Content-Type": {"application/json"}, "Cache-Control": {"no-store"},
			}, Body: body(PolicyDenied, refusals[PolicyDenied])},
		},
		{
			"body", `{"allowed": false, "body": "<p>no"}`, get("/", "Bearer a"),
			Decision{Reason: PolicyDenied, Status: 403, Headers: http.Header{"Cache-Control": {"no-store"}}, Body: "<p>no"},
		},
		{
			"body with a type", `{"allowed": false, "body": "<p>no", "headers": {"content-type": "text/html"}}`, get("/", "Bearer a"),
			Decision{Reason: PolicyDenied, Status: 403, Headers: http.Header{
				"Content-Type": {"text/html"}, "Cache-Control": {"no-store"},
			}, Body: "<p>no"},
		},
		{
			"reasons are for the log", `{"allowed": false, "reasons": ["one", "two"]}`, get("/", "Bearer a"),
			Decision{Reason: PolicyDenied, Status: 403, Detail: "one; two", Headers: http.Header{
				"Content-Type": {"application/json"}, "Cache-Control": {"no-store"},
			}, Body: body(PolicyDenied, refusals[PolicyDenied])},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, "allow := "+tt.allow, nil)
			b.known.add("a", token("a"))
			for range 2 { // evaluated, then remembered
				d := b.check(t, tt.door)
				got := Decision{Reason: d.Reason, Status: d.Status, Detail: d.Detail, Headers: d.Headers, Body: d.Body}
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("decision (-want +got):\n%s", diff)
				}
			}
		})
	}
}

// TestWhatThePolicyCannotDecideIsRefused, in words that do not tell the caller
// that the policy is broken; and it is tried again each time.
func TestWhatThePolicyCannotDecideIsRefused(t *testing.T) {
	t.Parallel()
	fails := func([]reads.Path) ([][2]*ast.Term, error) { return nil, errors.New("no document") }
	tests := []struct {
		name, body, detail string
		input              func([]reads.Path) ([][2]*ast.Term, error)
	}{
		{"undefined", `allow if input.attributes.request.http.method == "PUT"`, "undefined", nil},
		{"conflict", "allow := x if some x in [true, false]", "evaluating", nil},
		{"no decision", `allow := x if x := input.attributes.request.http.path`, "form", nil},
		{"no input", `allow := true`, "no document", fails},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, tt.body, nil)
			b.known.add("a", token("a"))
			r := get("/", "Bearer a").request()
			if tt.input != nil {
				r.Input = tt.input
			}
			for range 2 {
				d := b.Check(t.Context(), r)
				if d.Allowed || d.Reason != PolicyError || d.Status != 403 || errorOf(t, d) != "policy_denied" {
					t.Errorf("decision = %+v", d)
				}
				if !strings.Contains(d.Detail, tt.detail) {
					t.Errorf("detail = %q, want something of %q", d.Detail, tt.detail)
				}
			}
			if n := b.cached(t); n != 0 {
				t.Errorf("%d errors were remembered", n)
			}
		})
	}
}

// TestRevokedTokenIsRefusedAtOnce: on the very next check, by every kind of
// target, although the token was found alive and its decision remembered.
func TestRevokedTokenIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	for name, target := range map[string]revocation.Target{
		"token":          {Kind: revocation.KindToken, ID: "jti-r"},
		"session":        {Kind: revocation.KindSession, ID: "sid-r"},
		"client session": {Kind: revocation.KindClientSession, ID: "sid-r", Client: "azp-r"},
		"subject":        {Kind: revocation.KindSubject, ID: "sub-r"},
		"client":         {Kind: revocation.KindClient, ID: "azp-r"},
		"issuer":         {Kind: revocation.KindIssuer},
		"key":            {Kind: revocation.KindKey, ID: "kid-r"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := shipped(t, nil)
			mustReason(t, b, "Bearer reader", Allowed)
			mustReason(t, b, "Bearer reader", Allowed)
			if b.cached(t) != 1 {
				t.Fatal("the decision was not remembered: the test shows nothing")
			}
			b.set.Apply([]revocation.Record{record(1, revocation.Target{Kind: target.Kind, ID: target.ID + "x", Client: target.Client})}, 1)
			if target.Kind != revocation.KindIssuer {
				mustReason(t, b, "Bearer reader", Allowed)
			}
			b.set.Apply([]revocation.Record{record(2, target)}, 2)
			d := mustReason(t, b, "Bearer reader", Revoked)
			want := `Bearer realm="api", error="invalid_token", error_description="the token has been revoked"`
			if got := d.Headers.Get("WWW-Authenticate"); d.Status != 401 || got != want {
				t.Errorf("refusal = %d %s", d.Status, got)
			}
			if d.RevocationRevision != 2 || !strings.Contains(d.Detail, string(revocation.ReasonAdmin)) {
				t.Errorf("made on revision %d, detail %q", d.RevocationRevision, d.Detail)
			}
		})
	}
}

func record(rev revocation.Revision, target revocation.Target) revocation.Record {
	return revocation.Record{Revision: rev, Issuer: issuer, Target: target, IssuedBefore: now, Reason: revocation.ReasonAdmin}
}

func mustReason(t *testing.T, b *bench, authorization string, want Reason) Decision {
	t.Helper()
	d := b.check(t, get("/orders", authorization))
	if d.Reason != want {
		t.Fatalf("reason = %s (%s), want %s", d.Reason, d.Detail, want)
	}
	return d
}

// TestServingStale: what is known to be revoked stays refused, the rest is
// served, and the policy is told. Without any snapshot nothing is served.
func TestServingStale(t *testing.T) {
	t.Parallel()
	b := newBench(t, `default allow := false
allow if not input.revocation.stale
allow if input.attributes.request.http.method == "GET"
`, func(c *Config) { c.OnStale = Serve })
	b.known.add("alive", token("alive"))
	b.known.add("dead", token("dead"))
	b.set.Apply([]revocation.Record{record(1, revocation.Target{Kind: revocation.KindToken, ID: "jti-dead"})}, 1)
	tests := []struct {
		trust                 revocation.Trust
		method, authorization string
		want                  Reason
	}{
		{revocation.Fresh, "GET", "Bearer alive", Allowed},
		{revocation.Fresh, "POST", "Bearer alive", Allowed},
		{revocation.Fresh, "GET", "Bearer dead", Revoked},
		{revocation.Stale, "GET", "Bearer alive", Allowed},
		{revocation.Stale, "POST", "Bearer alive", PolicyDenied},
		{revocation.Stale, "GET", "Bearer dead", Revoked},
		{revocation.Stale, "POST", "", NoCredential},
		{revocation.Unknown, "GET", "Bearer alive", NotReady},
		{revocation.Fresh, "POST", "Bearer alive", Allowed},
	}
	for _, tt := range tests {
		b.trust.Store(uint32(tt.trust))
		door := door{method: tt.method, path: "/"}
		if tt.authorization != "" {
			door.authorization = []string{tt.authorization}
		}
		if d := b.check(t, door); d.Reason != tt.want {
			t.Errorf("%s %s, %s: %s (%s), want %s", tt.method, tt.authorization, tt.trust, d.Reason, d.Detail, tt.want)
		}
	}
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	good := newBench(t, "allow := true", nil).c
	registered := prometheus.NewRegistry()
	if _, err := newMetrics(registered); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Config){
		"no verifier":    func(c *Config) { c.Verifier = nil },
		"no policy":      func(c *Config) { c.Policy = nil },
		"no revocations": func(c *Config) { c.Revocations = nil },
		"no trust":       func(c *Config) { c.Trust = nil },
		"on_stale":       func(c *Config) { c.OnStale = "allow" },
		"metrics twice":  func(c *Config) { c.Metrics = registered },
	} {
		c := good
		change(&c)
		if _, err := New(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestLogIsForTheOperator: a policy that fails is a warning, a refusal is not,
// and the token is in neither.
func TestLogIsForTheOperator(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	log := slog.New(slog.NewJSONHandler(&out, nil))
	b := newBench(t, `allow if input.attributes.request.http.path == "/"`, func(c *Config) { c.Logger = log })
	b.known.add("c0mpact", token("a"))
	b.check(t, get("/", "Bearer c0mpact"))
	b.check(t, get("/", "Bearer c0mpact2"))
	if out.Len() > 0 {
		t.Errorf("logged %s", out.String())
	}
	for range 100 {
		b.check(t, get("/x", "Bearer c0mpact"))
	}
	lines := strings.Count(out.String(), "\n")
	if lines == 0 || lines > 20 || !strings.Contains(out.String(), `"reason":"policy_error"`) || strings.Contains(out.String(), "c0mpact") {
		t.Errorf("logged %d lines:\n%s", lines, out.String())
	}
}
