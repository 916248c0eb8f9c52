package policy

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/tegata/tegata/policies"
)

var suggestions = flag.Int("suggestions", 1000, "generated policies to ask for suggestions")

// withToken is an input document whose token has these scopes, and says so in
// its claims.
func withToken(route string, scopes ...string) ast.Value {
	list := strings.Join(scopes, " ")
	return ast.NewObject(
		ast.Item(ast.StringTerm("route"), ast.StringTerm(route)),
		ast.Item(ast.StringTerm("method"), ast.StringTerm("GET")),
		ast.Item(keyToken, ast.ObjectTerm(
			ast.Item(keyScopes, scopeSet(scopes)), ast.Item(ast.StringTerm("subject"), ast.StringTerm("s")),
			ast.Item(keyClaims, ast.ObjectTerm(ast.Item(scopeClaims[0], ast.StringTerm(list)))),
		)),
	)
}

func scopeSet(scopes []string) *ast.Term {
	set := ast.NewSet()
	for _, s := range scopes {
		set.Add(ast.StringTerm(s))
	}
	return ast.NewTerm(set)
}

// TestSuggestionsAreFound has a row for each way in which policies ask for
// scopes. The token has scope z.
func TestSuggestionsAreFound(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, body string
		want       []string // added; nil: no suggestion
	}{
		{"in", `allow if "a" in input.token.scopes`, []string{"a"}},
		{"member", `allow if input.token.scopes["a:b"]`, []string{"a:b"}},
		{"dot", `allow if input.token.scopes.admin`, []string{"admin"}},
		{"both", `allow if { "a" in input.token.scopes; "b" in input.token.scopes }`, []string{"a", "b"}},
		{"one of two ways", "allow if { \"a\" in input.token.scopes; \"b\" in input.token.scopes }\nallow if \"c\" in input.token.scopes", []string{"c"}},
		{"alias", `allow if { t := input.token; s := t.scopes; "a" in s }`, []string{"a"}},
		{"alias, member", `allow if { s := input.token.scopes; s.a }`, []string{"a"}},
		{"subset", `allow if { need := {"a", "b", "z"}; count(need - input.token.scopes) == 0 }`, []string{"a", "b"}},
		{"intersection", `allow if count({"a", "b"} & input.token.scopes) > 0`, []string{"a"}},
		{"every", `allow if every s in ["a", "b"] { s in input.token.scopes }`, []string{"a", "b"}},
		{"comprehension", `allow if count([s | some s in input.token.scopes; s in {"a", "b"}]) == 2`, []string{"a", "b"}},
		{"function", "has(s) if s in input.token.scopes\nallow if has(\"a\")", []string{"a"}},
		{"function of the scopes", "ok(s) if \"a\" in s\nallow if ok(input.token.scopes)", []string{"a"}},
		{"function of the token", "ok(t) if \"a\" in t.scopes\nallow if ok(input.token)", []string{"a"}},
		{"function that yields", "need(m) := \"a\" if m == \"GET\"\nallow if need(input.method) in input.token.scopes", []string{"a"}},
		{"rule", "need contains \"a\" if input.method == \"GET\"\nmissing := need - input.token.scopes\nallow if count(missing) == 0", []string{"a"}},
		{"set rule asked", "granted contains s if some s in input.token.scopes\nallow if granted.a", []string{"a"}},
		{"table", "need := {\"GET\": [\"a\", \"b\"], \"PUT\": [\"c\"]}\nallow if every s in need[input.method] { s in input.token.scopes }", []string{"a", "b"}},
		{"claim", `allow if "a" in split(input.token.claims.scope, " ")`, []string{"a"}},
		{"object.get", `allow if "a" in object.get(input.token, "scopes", set())`, []string{"a"}},
		{"with", "ok if \"a\" in input.granted\nallow if ok with input.granted as input.token.scopes", []string{"a"}},
		{"data by route", `allow if every s in data.need[input.route] { s in input.token.scopes }`, []string{"d:read", "d:write"}},
		{"data, each asked of the set", `allow if { missing := {s | some s in data.need[input.route]; not input.token.scopes[s]}; count(missing) == 0 }`, []string{"d:read", "d:write"}},
		{"data by alias", "entry := data.need[r] if r := input.route\nallow if every s in entry { s in input.token.scopes }", []string{"d:read", "d:write"}},
		{"double negation", `allow if not lacking
lacking if not "a" in input.token.scopes`, []string{"a"}},
		{"else", `allow := true if "a" in input.token.scopes else := true if { "b" in input.token.scopes; "c" in input.token.scopes }`, []string{"a"}},
		{"refuses another", `allow if { "a" in input.token.scopes; not "b" in input.token.scopes }`, []string{"a"}},
		{"decision object", `allow := {"allowed": count(input.token.scopes & {"a"}) > 0, "headers": {"x": "y"}}`, []string{"a"}},

		{"not about scopes", `allow if input.method == "PUT"`, nil},
		{"never", `allow if { "a" in input.token.scopes; false }`, nil},
		{"too many", `allow if "a" in input.token.scopes` + strings.Repeat("\nallow if input.token.scopes.N", 70), nil},
		{"clock", `allow if { "a" in input.token.scopes; time.now_ns() > 0 }`, nil},
		{"computed", `allow if concat(":", [input.method, "read"]) in input.token.scopes`, nil},
		{"a scope too many", `allow if not "z" in input.token.scopes`, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			body := tt.body
			for i := 0; strings.Contains(body, "N\n") || strings.HasSuffix(body, "N"); i++ {
				body = strings.Replace(body, "scopes.N", fmt.Sprintf("scopes.n%d", i), 1)
			}
			p := compiled(t, body)
			got, ok := p.Suggest(t.Context(), withToken("/d", "z"))
			if ok != (tt.want != nil) {
				t.Fatalf("suggestion = %v, %t; candidates %v %v", got, ok, p.scopes.constants, p.scopes.data)
			}
			if d := cmp.Diff(tt.want, got.Missing); d != "" {
				t.Errorf("missing (-want +got):\n%s", d)
			}
		})
	}
}

func compiled(t testing.TB, body string) *Policy {
	t.Helper()
	return patient(t, map[string]string{
		"p.rego":         "package envoy.authz\ndefault allow := false\n" + body,
		"need/data.yaml": "/d: [d:read, d:write, z]\n/e: [e:read]\n",
	})
}

// patient is a policy that takes its time, for busy machines.
func patient(t testing.TB, files map[string]string) *Policy {
	t.Helper()
	fsys := fstest.MapFS{}
	for name, content := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(content)}
	}
	e, err := New(t.Context(), Config{FS: fsys, Deadline: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	return e.Current()
}

func TestWithoutATokenThereIsNoSuggestion(t *testing.T) {
	t.Parallel()
	p := compiled(t, `allow if "a" in input.token.scopes`)
	for _, in := range []string{`{}`, `[]`, `{"token": {}}`, `{"token": {"scopes": "a"}}`, `{"token": {"scopes": [1]}}`, `{"token": []}`} {
		if got, ok := p.Suggest(t.Context(), ast.MustParseTerm(in).Value); ok {
			t.Errorf("%s: %v", in, got)
		}
	}
}

// TestShippedPolicySuggestsWhatItsTableAsksFor: over generated tables, the
// policy's own required_scopes and the suggestion agree.
func TestShippedPolicySuggestsWhatItsTableAsksFor(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(9, 10))
	for range 200 {
		required := append([]string{}, subset(rng, universe)...)
		p := shippedWith(t, map[string]any{
			"/d": map[string]any{"GET": map[string]any{"scopes": required}, "PUT": map[string]any{"scopes": universe}},
			"/e": map[string]any{"GET": map[string]any{"scopes": []string{"other"}}},
		})
		granted := subset(rng, universe)
		in := replaced(withToken("/d", granted...).(ast.Object), ast.StringTerm("attributes"),
			ast.MustParseTerm(`{"request": {"http": {"method": "GET"}}}`))
		r, err := p.Evaluate(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		if r.Allowed {
			continue
		}
		missing := slices.DeleteFunc(slices.Clone(required), func(s string) bool { return slices.Contains(granted, s) })
		s, ok := p.Suggest(t.Context(), in)
		if !ok || !slices.Equal(s.Missing, missing) || !slices.Equal(s.Scopes, r.RequiredScopes) {
			t.Fatalf("required %v, granted %v: suggestion %v %t, the policy says %v", required, granted, s, ok, r.RequiredScopes)
		}
	}
}

// shippedWith is the shipped Rego on another table of routes.
func shippedWith(t testing.TB, table map[string]any) *Policy {
	t.Helper()
	files := map[string]string{}
	for _, name := range []string{"envoy/authz/authz.rego", "tegata/scope/scope.rego"} {
		content, err := policies.FS.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = string(content)
	}
	data, err := json.Marshal(table)
	if err != nil {
		t.Fatal(err)
	}
	files["tegata/routes/data.json"] = string(data)
	return patient(t, files)
}

// TestExactlyWhatIsNamedFlipsTheDecision is the promise of a Suggestion, over
// generated policies: adding what it names allows, no smaller set of scopes
// does, a token with exactly Scopes is allowed and none of them can go.
func TestExactlyWhatIsNamedFlipsTheDecision(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(7, 8))
	found, missed, bySize := 0, 0, map[int]int{}
	for range *suggestions {
		negative := rng.IntN(4) == 0
		body := generateScopePolicy(rng, negative)
		p := compiled(t, body)
		granted := subset(rng, universe)
		allows := func(scopes []string) bool {
			r, err := p.Evaluate(t.Context(), withToken("/d", scopes...))
			return err == nil && r.Allowed
		}
		if allows(granted) {
			continue
		}
		s, ok := p.Suggest(t.Context(), withToken("/d", granted...))
		best := smallestOf(func(added []string) bool { return allows(slices.Concat(granted, added)) })
		switch {
		case !ok && best >= 0 && !negative:
			t.Fatalf("no suggestion with %v granted, though %d scopes would do:\n%s", granted, best, body)
		case !ok:
			missed++
			continue
		case !allows(slices.Concat(granted, s.Missing)):
			t.Fatalf("adding %v to %v does not help:\n%s", s.Missing, granted, body)
		case len(s.Missing) != best:
			t.Fatalf("%v are added to %v, though %d would do:\n%s", s.Missing, granted, best, body)
		case !allows(s.Scopes):
			t.Fatalf("a token with %v is refused:\n%s", s.Scopes, body)
		}
		for i := range s.Scopes {
			if less := slices.Delete(slices.Clone(s.Scopes), i, i+1); allows(less) {
				t.Fatalf("of %v, %v suffice:\n%s", s.Scopes, less, body)
			}
		}
		found++
		bySize[best]++
	}
	if found < *suggestions/4 || len(bySize) < 3 {
		t.Errorf("%d found, %d without, by size %v: the test shows little", found, missed, bySize)
	}
}

var universe = []string{"a", "b", "c", "d:read", "d:write", "z"}

func subset(rng *rand.Rand, from []string) []string {
	var out []string
	for _, s := range from {
		if rng.IntN(4) == 0 {
			out = append(out, s)
		}
	}
	return out
}

// smallestOf returns the size of the smallest set of the universe that will
// do, by trying them all; -1 if none does.
func smallestOf(does func([]string) bool) int {
	best := -1
	for bits := range 1 << len(universe) {
		var set []string
		for i, s := range universe {
			if bits>>i&1 == 1 {
				set = append(set, s)
			}
		}
		if (best < 0 || len(set) < best) && does(set) {
			best = len(set)
		}
	}
	return best
}

// asks are conditions on scopes; #1 and #2 are scopes of the universe, $ keeps
// local names apart.
var asks = []string{
	`"#1" in input.token.scopes`, `input.token.scopes["#1"]`, `t$ := input.token; "#1" in t$.scopes`, `has("#1")`, `any_of({"#1", "#2"})`,
	`count({"#1", "#2"} - input.token.scopes) == 0`, `count({"#1", "#2"} & input.token.scopes) > 0`, `granted["#1"]`, `helper`,
	`every s$ in ["#1", "#2"] { s$ in input.token.scopes }`, `every s$ in data.need[input.route] { s$ in input.token.scopes }`,
	`"#1" in split(input.token.claims.scope, " ")`, `count([1 | some s$ in input.token.scopes; s$ in {"#1", "#2"}]) == 2`,
	`not lacks`, `input.method == "GET"`, `input.route == "/d"`,
}

var refuses = []string{`not "#1" in input.token.scopes`, `count(input.token.scopes) < 3`, `not helper`}

func generateScopePolicy(rng *rand.Rand, negative bool) string {
	body := func(from []string) string {
		lines := make([]string, 1+rng.IntN(3))
		for i := range lines {
			line := pickOne(rng, from)
			if negative && rng.IntN(4) == 0 {
				line = pickOne(rng, refuses)
			}
			lines[i] = strings.NewReplacer("$", fmt.Sprint(i), "#1", pickOne(rng, universe), "#2", pickOne(rng, universe)).Replace(line)
		}
		return "{\n\t" + strings.Join(lines, "\n\t") + "\n}\n"
	}
	var b strings.Builder
	for range 1 + rng.IntN(3) {
		fmt.Fprintf(&b, "allow if %s", body(asks))
	}
	negative = false
	fmt.Fprintf(&b, "helper if %s", body(asks[:3]))
	fmt.Fprintf(&b, "lacks if not %s in input.token.scopes\n", `"`+pickOne(rng, universe)+`"`)
	b.WriteString("has(s) if s in input.token.scopes\nany_of(set) if { some s in set; s in input.token.scopes }\ngranted contains s if some s in input.token.scopes\n")
	return b.String()
}

func pickOne(rng *rand.Rand, from []string) string { return from[rng.IntN(len(from))] }

func BenchmarkSuggest(b *testing.B) {
	p := shipped(b)
	for name, in := range map[string]string{
		"scopes":  `{"route": "/orders", "attributes": {"request": {"http": {"method": "POST"}}}, "token": {"scopes": {"z"}, "claims": {}}}`,
		"another": `{"attributes": {"request": {"http": {"method": "POST"}}}, "token": {"scopes": {"z"}, "claims": {}}}`,
	} {
		b.Run(name, func(b *testing.B) {
			input := ast.MustParseTerm(in).Value
			b.ReportAllocs()
			for b.Loop() {
				p.Suggest(b.Context(), input)
			}
		})
	}
}
