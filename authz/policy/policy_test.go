package policy

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/tegata/tegata/policies"
)

func engine(t testing.TB, files map[string]string, entry string) (*Engine, error) {
	t.Helper()
	fsys := fstest.MapFS{}
	for name, content := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(content)}
	}
	return New(t.Context(), Config{FS: fsys, Entry: entry})
}

func evaluate(t testing.TB, body, input string) (Result, error) {
	t.Helper()
	e, err := engine(t, map[string]string{"p.rego": "package envoy.authz\n" + body}, "")
	if err != nil {
		t.Fatal(err)
	}
	return e.Current().Evaluate(t.Context(), ast.MustParseTerm(input).Value)
}

// TestDecisionForms has a row for each form that the OPA-Envoy plugin takes.
func TestDecisionForms(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, body string
		want       Result
	}{
		{"true", `default allow := true`, Result{Allowed: true}},
		{"false", `default allow := false`, Result{}},
		{
			"object", `allow := {"allowed": false, "http_status": 418, "body": "no", "headers": {"X-A": "1"}}`,
			Result{Status: 418, Body: "no", Headers: http.Header{"X-A": {"1"}}},
		},
		{
			"headers with several values", `allow := {"allowed": true, "headers": {"x-a": ["1", "2"]}}`,
			Result{Allowed: true, Headers: http.Header{"X-A": {"1", "2"}}},
		},
		{
			"headers as an array", `allow := {"allowed": true, "headers": [{"x-a": "1"}, {"x-a": "2", "x-b": "3"}]}`,
			Result{Allowed: true, Headers: http.Header{"X-A": {"1", "2"}, "X-B": {"3"}}},
		},
		{"everything else", `allow := {
	"allowed": true, "response_headers_to_add": {"x-r": "1"}, "request_headers_to_remove": ["a", "b"],
	"query_parameters_to_set": {"q": "1"}, "query_parameters_to_remove": ["z"],
	"dynamic_metadata": {"k": [1, {"n": null}]}, "reasons": ["r"], "required_scopes": {"y", "x"}, "other": 1,
}`, Result{
			Allowed: true, ResponseHeadersToAdd: http.Header{"X-R": {"1"}}, RequestHeadersToRemove: []string{"a", "b"},
			QueryParametersToSet: map[string]string{"q": "1"}, QueryParametersToRemove: []string{"z"},
			Reasons: []string{"r"}, RequiredScopes: []string{"x", "y"},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := evaluate(t, tt.body, `{}`)
			if err != nil {
				t.Fatal(err)
			}
			if m := got.DynamicMetadata; m != nil && fmt.Sprint(m) != "map[k:[1 map[n:<nil>]]]" {
				t.Errorf("dynamic metadata = %v", m)
			}
			if got.Value == nil {
				t.Error("the decision as it was made is gone")
			}
			got.DynamicMetadata, got.Value = nil, nil
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("result (-want +got):\n%s", d)
			}
		})
	}
}

// TestAsk asks other rules than the entry.
func TestAsk(t *testing.T) {
	t.Parallel()
	e, err := New(t.Context(), Config{Deadline: time.Minute, FS: fstest.MapFS{
		"p.rego": {Data: []byte("package envoy.authz\n\nallow := true")},
		"l.rego": {Data: []byte("package system.log\n\nmask contains \"/input/a\" if input.input.a\n\ndrop if input.x")},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ path, input, want string }{
		{"system/log/mask", `{"input": {"a": 1}}`, `{"/input/a"}`},
		{"system/log/mask", `{}`, `set()`},
		{"system/log/drop", `{"x": true}`, `true`},
		{"system/log/drop", `{}`, ``},
		{"system/log/other", `{}`, ``},
	} {
		got, err := e.Current().Ask(t.Context(), tt.path, ast.MustParseTerm(tt.input).Value)
		if err != nil {
			t.Fatal(err)
		}
		text := ""
		if got != nil {
			text = got.String()
		}
		if text != tt.want {
			t.Errorf("%s of %s = %s, want %s", tt.path, tt.input, text, tt.want)
		}
	}
}

// TestWhatIsNoDecisionIsAnError: the caller refuses on each of these.
func TestWhatIsNoDecisionIsAnError(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, body string
		want       error // nil: any
	}{
		{"undefined", `allow if input.x`, ErrUndefined},
		{"string", `allow := input.form`, errDecision},
		{"no allowed", `allow := {"x": input.form}`, errDecision},
		{"allowed is text", `allow := {"allowed": input.form}`, errDecision},
		{"status is text", `allow := {"allowed": true, "http_status": input.form}`, errDecision},
		{"status is nonsense", `allow := {"allowed": true, "http_status": 99} if input.form`, errDecision},
		{"headers of numbers", `allow := {"allowed": true, "headers": {"a": 1}} if input.form`, errDecision},
		{"body is an array", `allow := {"allowed": true, "body": []} if input.form`, errDecision},
		{"two values", "allow := true if input.form\nallow := false if input.form", nil},
		{"deadline", `allow := count([1 | some a in numbers.range(1, 1000); some b in numbers.range(1, 1000); some c in numbers.range(1, 1000); a*b*c == 0]) > 0 if input.form`, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := evaluate(t, tt.body, `{"form": "text"}`)
			if err == nil {
				t.Fatalf("decided %+v", got)
			}
			if tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("error = %v, want %v", err, tt.want)
			}
		})
	}
}

func TestWhatDoesNotLoadSaysWhy(t *testing.T) {
	t.Parallel()
	const good = "package envoy.authz\ndefault allow := true"
	tests := []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"nothing", nil, "no rule data.envoy.authz.allow"},
		{"another package", map[string]string{"p.rego": "package other\nallow := true"}, "policy.entry"},
		{"syntax", map[string]string{"a/p.rego": "package envoy.authz\nallow if {"}, "a/p.rego:2"},
		{"unsafe variable", map[string]string{"p.rego": "package envoy.authz\nallow if x == 1"}, "p.rego:2"},
		{"unknown function", map[string]string{"p.rego": "package envoy.authz\nallow if nope(1)"}, "undefined function nope"},
		{"never a decision", map[string]string{"p.rego": "package envoy.authz\nallow := 1"}, "wrong form"},
		{"broken data", map[string]string{"p.rego": good, "d/data.json": "{"}, "d/data.json"},
		{"scopes are a string", map[string]string{"p.rego": good, "tegata/routes/data.yaml": "/a: {GET: {scopes: a}}"}, `["/a"]["GET"]: scopes must be a list`},
		{"scopes are nothing", map[string]string{"p.rego": good, "tegata/routes/data.yaml": "/a: {GET: {scopes: }}"}, "scopes must be a list"},
		{"two scopes in one", map[string]string{"p.rego": good, "tegata/routes/data.yaml": `/a: {GET: {scopes: ["a b"]}}`}, "a b is no scope"},
		{"public with scopes", map[string]string{"p.rego": good, "tegata/routes/data.yaml": `/a: {GET: {public: true, scopes: [a]}}`}, "exclude each other"},
		{"public is a word", map[string]string{"p.rego": good, "tegata/routes/data.yaml": `/a: {GET: {public: "yes"}}`}, "public must be true or false"},
		{"data is a list", map[string]string{"p.rego": good, "data.yaml": "- 1"}, "data.yaml: data must be an object"},
		{"data given twice", map[string]string{"p.rego": good, "d/a.json": `{"k":1}`, "d/b.json": `{"k":2}`}, `"k" is given in another file`},
		{"data over a rule", map[string]string{"p.rego": good, "envoy/authz/data.json": `{"allow":{"x":1}}`}, "conflict"},
		{"routes of another form", map[string]string{"p.rego": good, "tegata/routes/data.json": `{"/a": 1}`}, `routes["/a"]`},
		{"broken template", map[string]string{"p.rego": good, "tegata/routes/data.json": `{"/a/{b": {}}`}, "neither {name} nor"},
		{"same template twice", map[string]string{"p.rego": good, "tegata/routes/data.json": `{"/{a}": {}, "/{b}": {}}`}, "the same paths as"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if _, err := engine(t, tt.files, ""); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestDataStandsAtThePathOfItsFolder(t *testing.T) {
	t.Parallel()
	e, err := engine(t, map[string]string{
		"p.rego":         "package my.entry\ndecide if { data.a.b.x == 1; data.a.b.y == 2; data.top == \"t\" }",
		"a/b/data.yaml":  "x: 1",
		"a/b/more.json":  `{"y": 2}`,
		"data.yml":       "top: t",
		"p_test.rego":    "package broken {",
		".hidden/x.rego": "not rego",
	}, "my/entry/decide")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := e.Current().Evaluate(t.Context(), ast.NewObject()); err != nil || !got.Allowed {
		t.Errorf("decision = %+v, %v", got, err)
	}
}

func write(t *testing.T, dir, name, content string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// until polls, because a file system tells of changes in its own time.
func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("never: %s", what)
		}
	}
}

func TestReloadSwapsAndABrokenPolicyKeepsTheLastGoodOne(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "p.rego", "package envoy.authz\ndefault allow := false")
	e, err := New(t.Context(), Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	ran := make(chan error)
	go func() { ran <- e.Run(t.Context()) }()
	t.Cleanup(func() {
		if err := <-ran; err != nil {
			t.Error(err)
		}
	})
	allowed := func() bool {
		r, err := e.Current().Evaluate(t.Context(), ast.NewObject())
		return err == nil && r.Allowed
	}
	first := e.Status().Revision
	write(t, dir, "sub/q.rego", "package envoy.authz\nallow := true if true")
	until(t, "a new file in a new folder is loaded", allowed)

	write(t, dir, "sub/q.rego", "package envoy.authz\nallow := {")
	until(t, "the broken policy is noticed", func() bool { return e.Status().LastError != nil })
	if !allowed() {
		t.Error("the last good policy does not serve")
	}
	if !strings.Contains(e.Status().LastError.Error(), "sub/q.rego:2") {
		t.Errorf("error = %v, want file and line", e.Status().LastError)
	}
	if err := os.RemoveAll(filepath.Join(dir, "sub")); err != nil {
		t.Fatal(err)
	}
	until(t, "the first policy is back", func() bool { return e.Status().Revision == first && e.Status().LastError == nil })
	if allowed() {
		t.Error("the policy that was removed serves")
	}
}

func shipped(t testing.TB) *Policy {
	t.Helper()
	e, err := New(t.Context(), Config{FS: policies.FS})
	if err != nil {
		t.Fatal(err)
	}
	return e.Current()
}

func TestShippedPolicyIsCacheable(t *testing.T) {
	t.Parallel()
	r := shipped(t).Reads()
	if !r.Cacheable() {
		t.Errorf("findings: %v", r.Findings)
	}
	want := "[input.attributes.request.http.method input.route input.token.client input.token.scopes input.token.subject]"
	if got := fmt.Sprint(r.Paths); got != want {
		t.Errorf("paths = %s, want %s", got, want)
	}
}

// requestInput is an input document of the usual size.
func requestInput() *ast.Term {
	return ast.MustParseTerm(`{"attributes": {"request": {"http": {"method": "GET", "path": "/orders/17",
		"headers": {"a": "b"}}}}, "parsed_path": ["orders", "17"], "route": "/orders/{id}",
		"token": {"scopes": {"orders:read", "b", "c"}, "subject": "s", "client": "c", "claims": {"sub": "s"}}}`)
}

func BenchmarkEvaluateShipped(b *testing.B) {
	p, in := shipped(b), requestInput()
	b.ReportAllocs()
	for b.Loop() {
		r, err := p.Evaluate(b.Context(), in.Value)
		if err != nil || !r.Allowed {
			b.Fatal(r, err)
		}
	}
}

func BenchmarkRoute10000(b *testing.B) {
	table := map[string]any{}
	for i := range 10_000 {
		table[fmt.Sprintf("/api%d/{id}/part/{p}", i)] = map[string]any{"GET": map[string]any{}}
	}
	r, err := newRoutes(table)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := r.match("GET", "/api77/1/part/2"); !ok {
			b.Fatal("no match")
		}
	}
}
