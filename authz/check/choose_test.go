package check

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/tegata/tegata/authz/policy"
	"github.com/tegata/tegata/authz/policy/reads"
	"github.com/tegata/tegata/authz/turns"
	"github.com/tegata/tegata/authz/verify"
	"github.com/tegata/tegata/revocation"
)

// engine is one whose policy is body.
func engine(t testing.TB, body string) *policy.Engine {
	t.Helper()
	e, err := policy.New(t.Context(), policy.Config{
		FS: fstest.MapFS{"p.rego": file("package envoy.authz\n\n" + body)}, Deadline: time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// saying is a policy that refuses with its name in the body.
func saying(t testing.TB, name string) *policy.Engine {
	return engine(t, `allow := {"allowed": false, "body": "`+name+`"}`)
}

func TestTheFirstPolicyThatFitsDecides(t *testing.T) {
	t.Parallel()
	b := newBench(t, `allow := {"allowed": false, "body": "default"}`, func(c *Config) {
		c.Policies = []Named{
			{Name: "host", Engine: saying(t, "host"), Match: Match{Hosts: []string{"a.test", "*.b.test"}}},
			{Name: "path", Engine: saying(t, "path"), Match: Match{Paths: []string{"/admin", "/x/"}}},
			{Name: "both", Engine: saying(t, "both"), Match: Match{Hosts: []string{"c.test"}, Paths: []string{"/both"}}},
			{Name: "mesh", Engine: saying(t, "mesh"), Match: Match{Destinations: []string{"spiffe://m/ns/a/sa/api", "spiffe://m/ns/b/*"}}},
			{Name: "ext", Engine: saying(t, "ext"), Match: Match{Extensions: map[string]string{"policy": "ext", "v": "1"}}},
		}
	})
	for _, tt := range []struct {
		host, path, destination string
		extensions              map[string]string
		want                    string
	}{
		{host: "a.test", want: "host"},
		{host: "A.test:8443", want: "host"},
		{host: "a.test.", want: "host"},
		{host: "x.a.test", want: "default"},
		{host: "x.b.test", want: "host"},
		{host: "b.test", want: "default"},
		{host: "evilb.test", want: "default"},
		{path: "/admin", want: "path"},
		{path: "/admin/", want: "path"},
		{path: "/admin/users?x=/y", want: "path"},
		{path: "/administrator", want: "default"},
		{path: "/x", want: "path"},
		{path: "/x/y", want: "path"},
		{path: "/o?next=/admin", want: "default"},
		{host: "c.test", path: "/both", want: "both"},
		{host: "c.test", path: "/other", want: "default"},
		{path: "/both", want: "default"},
		{destination: "spiffe://m/ns/a/sa/api", want: "mesh"},
		{destination: "spiffe://m/ns/a/sa/api2", want: "default"},
		{destination: "spiffe://m/ns/b/sa/any", want: "mesh"},
		{extensions: map[string]string{"policy": "ext", "v": "1", "more": "x"}, want: "ext"},
		{extensions: map[string]string{"policy": "ext"}, want: "default"},
		{want: "default"},
		// Spellings that another server may read as /admin.
		{path: "/./admin", want: ""},
		{path: "//admin", want: ""},
		{path: "/%61dmin", want: ""},
		{path: "/admin;x", want: ""},
		{path: "/o/../admin", want: ""},
		{path: "admin", want: ""},
	} {
		r := Request{Method: http.MethodGet, Path: tt.path, Host: tt.host}
		if r.Path == "" {
			r.Path = "/o"
		}
		r.Input = func([]reads.Path) ([][2]*ast.Term, error) { return nil, nil }
		r.Destination = func() string { return tt.destination }
		r.Extension = func(name string) string { return tt.extensions[name] }
		d := b.Check(t.Context(), r)
		if tt.want == "" {
			if d.Reason != NoPolicy || d.Status != http.StatusForbidden {
				t.Errorf("%+v: %s %d, want no policy", tt, d.Reason, d.Status)
			}
			continue
		}
		if d.Allowed || d.Body != tt.want || d.Policy != tt.want {
			t.Errorf("%+v: decided by %q (%q), %s", tt, d.Body, d.Policy, d.Detail)
		}
	}
}

// ask is a request without a token.
func ask() Request {
	return Request{Method: http.MethodGet, Path: "/o", Input: func([]reads.Path) ([][2]*ast.Term, error) { return nil, nil }}
}

func TestWithoutAPolicyThatFitsNothingPasses(t *testing.T) {
	t.Parallel()
	c := Config{
		Verifier: &verifier{}, Revocations: revocation.NewSet(),
		Trust:    func(string) revocation.Trust { return revocation.Fresh },
		Policies: []Named{{Name: "a", Engine: engine(t, "allow := true"), Match: Match{Hosts: []string{"a.test"}}}},
	}
	checker, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	if d := checker.Check(t.Context(), ask()); d.Allowed || d.Reason != NoPolicy {
		t.Errorf("decided %+v", d)
	}
	r := ask()
	r.Host = "a.test"
	if d := checker.Check(t.Context(), r); !d.Allowed {
		t.Errorf("decided %+v", d)
	}
}

func TestAWrongChoiceIsRefused(t *testing.T) {
	t.Parallel()
	e := engine(t, "allow := true")
	for name, named := range map[string][]Named{
		"none":               nil,
		"no name":            {{Engine: e}},
		"the default's name": {{Name: "default", Engine: e}},
		"no engine":          {{Name: "a"}},
		"a name twice":       {{Name: "a", Engine: e}, {Name: "a", Engine: engine(t, "allow := true")}},
		"an engine twice":    {{Name: "a", Engine: e}, {Name: "b", Engine: e}},
		"a host with port":   {{Name: "a", Engine: e, Match: Match{Hosts: []string{"a.test:80"}}}},
		"upper case":         {{Name: "a", Engine: e, Match: Match{Hosts: []string{"A.test"}}}},
		"star in a host":     {{Name: "a", Engine: e, Match: Match{Hosts: []string{"a.*.test"}}}},
		"a relative path":    {{Name: "a", Engine: e, Match: Match{Paths: []string{"a"}}}},
		"a path with dots":   {{Name: "a", Engine: e, Match: Match{Paths: []string{"/a/../b"}}}},
		"empty destination":  {{Name: "a", Engine: e, Match: Match{Destinations: []string{""}}}},
	} {
		c := Config{
			Verifier: &verifier{}, Revocations: revocation.NewSet(), Policies: named,
			Trust: func(string) revocation.Trust { return revocation.Fresh },
		}
		if _, err := New(c); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

// TestAShadowRefusesNothing: not even a revoked token; but it says what it
// would have done, and counts it apart.
func TestAShadowRefusesNothing(t *testing.T) {
	t.Parallel()
	const body = `
default allow := {"allowed": false, "response_headers_to_add": {"x-r": "1"}, "request_headers_to_remove": ["x-q"], "headers": {"x-caller": "1"}}
allow := {"allowed": true, "headers": {"x-up": "1"}} if "read" in input.token.scopes`
	b := newBench(t, body, func(c *Config) { c.Shadow = true })
	revoked := token("dead")
	b.known.tokens = map[string]*verify.Token{"good": token("good", "read"), "poor": token("poor"), "dead": revoked}
	b.known.errs = map[string]error{"forged": verify.ErrSignature}
	b.set.Apply([]revocation.Record{{
		Revision: 1, Issuer: revoked.Revocation.Issuer, Target: revocation.Target{Kind: revocation.KindToken, ID: revoked.Revocation.ID},
		ExpiresAt: now.Add(time.Hour),
	}}, 1)
	for _, tt := range []struct {
		authorization string
		want          Reason
	}{
		{"Bearer good", Allowed},
		{"Bearer poor", InsufficientScope},
		{"Bearer dead", Revoked},
		{"Bearer forged", InvalidToken},
		{"Bearer", BadRequest},
		{"", NoCredential},
	} {
		for range 2 { // evaluated, and remembered
			r := ask()
			if tt.authorization != "" {
				r.Authorization = []string{tt.authorization}
			}
			d := b.Check(t.Context(), r)
			if !d.Allowed || d.Reason != tt.want || d.Shadowed != (tt.want != Allowed) || d.Status != 0 || d.Body != "" {
				t.Errorf("%q: %+v", tt.authorization, d)
			}
			if d.Headers.Get("WWW-Authenticate") != "" || d.Headers.Get("X-Caller") != "" {
				t.Errorf("%q: what was for the caller goes to the API: %v", tt.authorization, d.Headers)
			}
			if tt.want == InsufficientScope && (len(d.Result.ResponseHeadersToAdd) != 1 || len(d.Result.RequestHeadersToRemove) != 1) {
				t.Errorf("%q: the policy's headers are gone: %+v", tt.authorization, d.Result)
			}
		}
		if got := count(t, b.metrics.at(place{policy: "default", shadowed: tt.want != Allowed})[tt.want]); got != 2 {
			t.Errorf("%q: %d counted under %s", tt.authorization, got, tt.want)
		}
	}
}

// TestOverloadShedsAndRecovers: who gets no turn is refused soon; what is
// remembered goes on; afterwards all is well.
func TestOverloadShedsAndRecovers(t *testing.T) {
	t.Parallel()
	b := newBench(t, `allow := input.go`, func(c *Config) { c.Turns = turns.New(1, time.Millisecond) })
	b.known.tokens = map[string]*verify.Token{"a": token("a")}
	held, free := make(chan struct{}), make(chan struct{})
	slow := ask()
	slow.Input = func([]reads.Path) ([][2]*ast.Term, error) {
		close(held)
		<-free
		return [][2]*ast.Term{{ast.StringTerm("go"), ast.BooleanTerm(true)}}, nil
	}
	quick := ask()
	quick.Input = func([]reads.Path) ([][2]*ast.Term, error) {
		return [][2]*ast.Term{{ast.StringTerm("go"), ast.BooleanTerm(true)}}, nil
	}
	remembered := quick
	remembered.Authorization = []string{"Bearer a"}
	remembered.Key = func(dst []byte, _ reads.Path) ([]byte, bool) { return append(dst, 'k'), true }
	if d := b.Check(t.Context(), remembered); !d.Allowed {
		t.Fatalf("decided %+v", d)
	}

	var wg sync.WaitGroup
	wg.Go(func() {
		if d := b.Check(t.Context(), slow); !d.Allowed {
			t.Errorf("the one under way: %+v", d)
		}
	})
	<-held
	if d := b.Check(t.Context(), quick); d.Reason != Overloaded || d.Status != http.StatusServiceUnavailable || d.Headers.Get("Retry-After") == "" {
		t.Errorf("one too many: %+v", d)
	}
	if d := b.Check(t.Context(), remembered); !d.Allowed {
		t.Errorf("a remembered decision waits in the queue: %+v", d)
	}
	close(free)
	wg.Wait()
	if d := b.Check(t.Context(), quick); !d.Allowed {
		t.Errorf("after the overload: %+v", d)
	}
}

func TestEveryDecisionIsRecorded(t *testing.T) {
	t.Parallel()
	var records []Record
	b := newBench(t, `allow := true`, func(c *Config) {
		c.Record = func(_ context.Context, r Record) { records = append(records, r) }
	})
	b.known.tokens = map[string]*verify.Token{"a": token("a")}
	b.known.errs = map[string]error{"x": verify.ErrSignature}
	for _, authorization := range []string{"Bearer a", "Bearer x", "Bearer"} {
		r := ask()
		r.Authorization = []string{authorization}
		b.Check(t.Context(), r)
	}
	if len(records) != 3 {
		t.Fatalf("%d records, want 3", len(records))
	}
	for i, want := range []Reason{Allowed, InvalidToken, BadRequest} {
		if records[i].Decision.Reason != want {
			t.Errorf("record %d is %s, want %s", i, records[i].Decision.Reason, want)
		}
	}
	doc, err := records[0].Input()
	if err != nil || doc.(ast.Object).Get(ast.StringTerm("token")) == nil {
		t.Errorf("the input of a record is %v, %v", doc, err)
	}
}

// TestTokensAreLeftToAPolicyThatWantsThem: with LeaveTokens a token that is not
// valid here is the policy's business, as in the OPA-Envoy plugin; what we know
// to be dead or misused is not.
func TestTokensAreLeftToAPolicyThatWantsThem(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		authorization string
		left          bool
		want          Reason
		status        int
	}{
		{"Bearer foreign", false, InvalidToken, 401},
		{"Bearer foreign", true, Allowed, 0},
		{"Bearer a", true, Allowed, 0},
		{"Bearer dead", true, Revoked, 401},
		{"Bearer bound", true, InvalidToken, 401},
		{"Bearer later", true, NotReady, 503},
		{"Bearer", true, BadRequest, 400},
		{"Basic YTpi", true, PolicyDenied, 403},
		{"Basic YTpi", false, NoCredential, 401},
	} {
		b := newBench(t, `allow := input.go`, func(c *Config) { c.LeaveTokens = tt.left })
		b.known.tokens = map[string]*verify.Token{"a": token("a"), "dead": token("dead")}
		b.known.errs = map[string]error{"foreign": verify.ErrIssuer, "bound": verify.ErrBinding, "later": verify.ErrUnavailable}
		b.revoke("jti-dead")
		r := ask()
		r.Authorization = []string{tt.authorization}
		r.Input = func([]reads.Path) ([][2]*ast.Term, error) {
			goes := strings.HasPrefix(tt.authorization, "Bearer")
			return [][2]*ast.Term{{ast.StringTerm("go"), ast.BooleanTerm(goes)}}, nil
		}
		if d := b.Check(t.Context(), r); d.Reason != tt.want || d.Status != tt.status {
			t.Errorf("%s, left %v: %s %d, want %s %d", tt.authorization, tt.left, d.Reason, d.Status, tt.want, tt.status)
		}
	}
}
