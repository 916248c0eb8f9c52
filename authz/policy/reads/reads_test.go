package reads

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/open-policy-agent/opa/v1/ast"
)

func compile(t testing.TB, sources ...string) *ast.Compiler {
	t.Helper()
	modules := map[string]*ast.Module{}
	for i, src := range sources {
		name := "m" + string(rune('0'+i)) + ".rego"
		m, err := ast.ParseModuleWithOpts(name, src, ast.ParserOptions{RegoVersion: ast.RegoV1})
		if err != nil {
			t.Fatal(err)
		}
		modules[name] = m
	}
	c := ast.NewCompiler()
	if c.Compile(modules); c.Failed() {
		t.Fatal(c.Errors)
	}
	return c
}

// TestEveryReferenceIsFound has a row for each place in the syntax where a
// reference to input can hide.
func TestEveryReferenceIsFound(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, body string
		want       []string
	}{
		{"body", `p if input.a.b == 1`, []string{"input.a.b"}},
		{"definedness only", `p if { t := input.token; not t.admin }`, []string{"input.token"}},
		{"negation", `p if not input.a.b`, []string{"input.a.b"}},
		{"head value", `p := input.a`, []string{"input.a"}},
		{"head key", `p contains input.a`, []string{"input.a"}},
		{"head reference", `p[input.a] := 1`, []string{"input.a"}},
		{"head reference, deep", `p.q[input.a].r := input.b`, []string{"input.a", "input.b"}},
		{"else", `p := 1 if input.a else := input.b if input.c`, []string{"input.a", "input.b", "input.c"}},
		{"default is constant, rule is not", "default p := 1\np := input.x if true", []string{"input.x"}},
		{"function body", `f(x) := y if { y := input.a[x] }
p if f("k")`, []string{"input.a"}},
		{"argument", `f(x) := x
p if f(input.a)`, []string{"input.a"}},
		{"array comprehension", `p := [x | x := input.a[_]; input.b]`, []string{"input.a", "input.b"}},
		{"set comprehension", `p := {x | some x in input.a}`, []string{"input.a"}},
		{"object comprehension", `p := {k: v | some k, v in input.a; v == input.c}`, []string{"input.a", "input.c"}},
		{"every", `p if every x in input.a { x == input.b }`, []string{"input.a", "input.b"}},
		{"every, key", `p if every k, v in input.a { input.b[k] == v }`, []string{"input.a", "input.b"}},
		{"some in", `p if some x in input.a`, []string{"input.a"}},
		{"array literal", `p := [input.a, {"k": input.b}, {input.c}]`, []string{"input.a", "input.b", "input.c"}},
		{"computed part", `p if data.u[input.a][input.b.c]`, []string{"input.a", "input.b.c"}},
		{"computed part below input", `p if input.a[input.b].c`, []string{"input.a", "input.b"}},
		{"number part cuts", `p if input.path[0] == "x"`, []string{"input.path"}},
		{"variable part cuts", `p if { some i; input.a[i].b }`, []string{"input.a"}},
		{"value of with", `q if input.z
p if q with input.z as input.y`, []string{"input.y", "input.z"}},
		{"deep target of with merges", `q if input.z.w
p if q with input.z.w as 1`, []string{"input.z"}},
		{"with data", `p if data.d with data.d as input.a`, []string{"input.a"}},
		{"template string", "p := $\"x{input.a}y\"", []string{"input.a"}},
		{"minimal prefixes", `p if { input.a.b.c; input.a.b; input.a.bb }`, []string{"input.a.b", "input.a.bb"}},
		{"unreached rule", `p := 1
q if input.far`, []string{"input.far"}},
		{"import", "", []string{"input.a.b"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			src := "package t\n" + tt.body
			if tt.name == "import" {
				src = "package t\nimport input.a as alias\np if alias.b"
			}
			r := Of(compile(t, src))
			if !r.Cacheable() {
				t.Fatalf("not cacheable: %v", r.Findings)
			}
			var got []string
			for _, p := range r.Paths {
				got = append(got, p.String())
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("paths (-want +got):\n%s", d)
			}
		})
	}
}

func TestWhatHasNoSoundKeyIsRefused(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, body, what string }{
		{"bare input", `p := input`, "input"},
		{"passed whole", "f(x) := x.a\np if f(input)", "input"},
		{"walk", `p if { walk(input, [path, value]); value == 1 }`, "input"},
		{"object.get", `p if object.get(input, "a", 1) == 1`, "input"},
		{"variable first part", `p if { some k; input[k] == 1 }`, "input"},
		{"computed first part", `p if input[data.k]`, "input"},
		{"in comprehension", `p := [x | some x in input]`, "input"},
		{"as value of with", "q if input.x\np if q with data.d as input", "input"},
		{"clock", `p if time.now_ns() > 1`, "time.now_ns"},
		{"clock as the value of with", "q if data.d > 1\np if q with data.d as time.now_ns()", "time.now_ns"},
		{"random", `p if rand.intn("x", 2) == 1`, "rand.intn"},
		{"network", `p if http.send({"method": "get", "url": "http://127.0.0.1"})`, "http.send"},
		{"clock inside decode_verify", `p if io.jwt.decode_verify(input.t, {})[0]`, "io.jwt.decode_verify"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := Of(compile(t, "package t\n"+tt.body))
			if r.Cacheable() {
				t.Fatalf("cacheable with %v", r.Paths)
			}
			f := r.Findings[0]
			if f.What != tt.what || f.Impure != (tt.what != "input") || !strings.Contains(f.Why, tt.what) || f.File != "m0.rego" || f.Row < 2 {
				t.Errorf("finding = %+v, want one in m0.rego about %q", f, tt.what)
			}
		})
	}
}

func TestPathsAndFindingsSayWhere(t *testing.T) {
	t.Parallel()
	r := Of(compile(t, "package t\n\np if {\n\tinput.a.b == 1\n\tinput.c\n}\nq if input.a.b", "package u\np if {\n\tinput.c.d\n\tinput[\"e\"]\n}"))
	got := map[string]string{}
	for i, p := range r.Paths {
		got[p.String()] = r.Places[i].String()
	}
	want := map[string]string{"input.a.b": "m0.rego:4", "input.c": "m0.rego:5", "input.e": "m1.rego:4"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("places (-want +got):\n%s", d)
	}
	for body, row := range map[string]int{
		"p if {\n\tinput.a\n\ttime.now_ns() > 1\n}":       4,
		"p if {\n\tx := 1\n\ty := {\"k\": input}\n}":      4,
		"p if {\n\tsome k\n\tinput.a\n\tinput[k] == 1\n}": 5,
		"f(x) := x\np if\n\tf(\n\tinput)":                 5,
	} {
		if f := Of(compile(t, "package t\n"+body)).Findings; len(f) == 0 || f[0].Row != row {
			t.Errorf("%q: findings = %v, want one in line %d", body, f, row)
		}
	}
}

func TestKeysTellValuesApart(t *testing.T) {
	t.Parallel()
	r := Reads{Paths: []Path{{"a"}, {"b", "c"}}}
	inputs := []string{
		`{}`, `{"a": null}`, `{"a": false}`, `{"a": true}`, `{"a": ""}`, `{"a": 0}`, `{"a": "0"}`, `{"a": []}`,
		`{"a": {}}`, `{"a": [[]]}`, `{"a": [[], []]}`, `{"a": "n"}`, `{"a": ["a", "b"]}`, `{"a": ["ab"]}`,
		`{"a": {"x": 1}}`, `{"a": {"x": "1"}}`, `{"b": {"c": 1}}`, `{"a": 1, "b": {"c": 1}}`, `{"a": "u"}`,
		`{"b": {"c": null}}`, `{"a": [1, 2]}`, `{"a": [12]}`, `{"a": 12}`, `{"a": 1}`,
	}
	seen := map[string]string{}
	for _, in := range inputs {
		key, ok := r.AppendKey(nil, ast.MustParseTerm(in).Value)
		if !ok {
			t.Fatalf("%s has no key", in)
		}
		if other, dup := seen[string(key)]; dup {
			t.Errorf("%s and %s have one key", in, other)
		}
		seen[string(key)] = in
	}
	set, _ := AppendValue(nil, ast.MustParseTerm(`{"a"}`).Value)
	array, _ := AppendValue(nil, ast.MustParseTerm(`["a"]`).Value)
	if string(set) == string(array) {
		t.Error("a set and an array have one key")
	}
	if _, ok := AppendValue(nil, ast.Var("x")); ok {
		t.Error("a variable has a key")
	}
}
