package reads

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
)

var policies = flag.Int("policies", 1500, "generated policies to try")

// TestOneKeyOneResult is the property that the decision cache stands on:
// inputs with one key have one result. Policies and inputs are generated from
// a small domain, so that keys meet often while inputs differ.
func TestOneKeyOneResult(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	met := 0
	for i := range *policies {
		src := generatePolicy(rng)
		last := generateInput(rng, 3).Value
		met += oneKeyOneResult(t, src, func() ast.Value {
			if last = mutate(rng, last); rng.IntN(4) == 0 {
				last = generateInput(rng, 3).Value
			}
			return last
		}, 60)
		if t.Failed() {
			t.Fatalf("policy %d:\n%s", i, src)
		}
	}
	t.Logf("%d pairs of different inputs shared a key", met)
	if met < *policies {
		t.Errorf("only %d pairs of inputs shared a key: the test shows nothing", met)
	}
}

// oneKeyOneResult returns how many inputs shared a key with an earlier,
// different input.
func oneKeyOneResult(t *testing.T, src string, input func() ast.Value, n int) (met int) {
	t.Helper()
	c := compile(t, src)
	r := Of(c)
	if !r.Cacheable() {
		return 0
	}
	query, err := rego.New(rego.Query("data.t"), rego.Compiler(c)).PrepareForEval(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	type seen struct{ input, result string }
	byKey := map[string]seen{}
	for range n {
		in := input()
		key, ok := r.AppendKey(nil, in)
		if !ok {
			t.Fatalf("no key for %v", in)
		}
		now := seen{in.String(), result(query, in)}
		was, again := byKey[string(key)]
		if again && was.input != now.input {
			met++
			if was.result != now.result {
				t.Errorf("paths %v\ninput  %s\ngives  %s\ninput  %s\ngives  %s", r.Paths, was.input, was.result, now.input, now.result)
				return met
			}
		}
		byKey[string(key)] = now
	}
	return met
}

// result renders what evaluation yields; errors count as one result, since
// they are never stored.
func result(q rego.PreparedEvalQuery, input ast.Value) string {
	rs, err := q.Eval(context.Background(), rego.EvalParsedInput(input))
	if err != nil {
		return "error"
	}
	if len(rs) == 0 {
		return "undefined"
	}
	v, err := ast.InterfaceToValue(rs[0].Expressions[0].Value)
	if err != nil {
		return "error"
	}
	return v.String()
}

var keys = []string{"a", "b", "c"}

func pick[T any](rng *rand.Rand, from []T) T { return from[rng.IntN(len(from))] }

func generateInput(rng *rand.Rand, depth int) *ast.Term {
	obj := ast.NewObject()
	for _, k := range keys {
		if rng.IntN(3) > 0 {
			obj.Insert(ast.StringTerm(k), generateValue(rng, depth-1))
		}
	}
	return ast.NewTerm(obj)
}

func generateValue(rng *rand.Rand, depth int) *ast.Term {
	switch n := rng.IntN(10); {
	case n < 4 && depth > 0:
		return generateInput(rng, depth)
	case n == 4:
		return ast.NullTerm()
	case n == 5:
		return ast.BooleanTerm(rng.IntN(2) == 0)
	case n == 6:
		return ast.ArrayTerm(ast.StringTerm(pick(rng, keys)), ast.InternedTerm(1), generateInput(rng, 1))
	case n == 7:
		return ast.InternedTerm(rng.IntN(2))
	default:
		return ast.StringTerm(pick(rng, keys))
	}
}

func generateRef(rng *rand.Rand) string {
	ref := "input." + pick(rng, keys)
	for range rng.IntN(3) {
		ref += "." + pick(rng, keys)
	}
	return ref
}

// statements are bodies with holes: R a reference below input, K a key, I a
// number that keeps local names apart.
var statements = []string{
	`R == R`, `R == "K"`, `not R`, `R`, `R != false`, `xI := R; not xI.K`, `xI := R; xI.K == R`,
	`R[xI] == "K"`, `some xI in R`, `some xI, yI in R; yI == R`, `every xI in R { xI == R }`,
	`every xI in R { not xI.K }`, `count([xI | some xI in R; xI == R]) > 0`, `{xI | xI := R[_]} == {"K"}`,
	`count({xI: yI | some xI, yI in R}) == 1`, `fn(R)`, `not fn(R)`, `other`, `not other`,
	`other with input.K as R`, `not other with input.K.K as R`, `fn(R) with input.K as "K"`, `R[R]`,
	`R[xI].K == "K"`, `R[2].K`, `xI := R; some yI; xI[yI].K == "K"`, `every xI in R { not xI.K == R }`, `count([1 | R[_].K]) == 0`,
	`xI := [1 | R]; count(xI) == 0`, `xI := {"k": 1 | not R}; xI.k`, `tab[R]`, `not tab[R].K`, `tab.K == R`, `val == R`, `not val`,
	`val.K with input.K as R`, `dflt(R)`, `not dflt(R)`, `fn(R) with input as {"K": R}`, `R == null`, `not R == null`,
	`object.get(R, "K", 1) == 1`, `data.t.part[R]`, `is_null(R)`, `R in {"K", null}`, `startswith(R, "K")`,
	`[R, 1] == [R, 1]`, `xI := {"k": R}; xI.k.K`, `not R == R`, `count(R) == 1`, `walk(R, [_, "K"])`,
}

// grammar draws one policy.
type grammar struct{ rng *rand.Rand }

// helpers are what a helper must not mention: they would call each other.
var helpers = []string{"other", "fn(", "part", "tab", "val", "dflt"}

func (g grammar) body(without ...string) string {
	var lines []string
	for i := range 1 + g.rng.IntN(2) {
		s := pick(g.rng, statements)
		if slices.ContainsFunc(without, func(w string) bool { return strings.Contains(s, w) }) {
			s = "R"
		}
		lines = append(lines, g.fill(s, i))
	}
	return strings.Join(lines, "\n\t")
}

func (g grammar) fill(s string, i int) string {
	s = strings.ReplaceAll(s, "I", fmt.Sprint(i))
	for strings.Contains(s, "R") {
		s = strings.Replace(s, "R", g.ref(), 1)
	}
	for strings.Contains(s, "K") {
		s = strings.Replace(s, "K", pick(g.rng, keys), 1)
	}
	return s
}

func (g grammar) ref() string { return generateRef(g.rng) }

// generatePolicy draws a small one: what is read in one place only shows what
// that place is worth.
func generatePolicy(rng *rand.Rand) string {
	g := grammar{rng}
	var b strings.Builder
	b.WriteString("package t\n\ndefault allow := false\n\n")
	for range 1 + rng.IntN(2) {
		fmt.Fprintf(&b, "allow if {\n\t%s\n}\n\n", g.body())
	}
	all := map[string]string{
		"other": fmt.Sprintf("other if {\n\t%s\n}\n\n", g.body(helpers...)),
		"fn(":   fmt.Sprintf("fn(v) if {\n\tv == %s\n\t%s\n}\n\n", g.ref(), g.body(helpers...)),
		"dflt":  fmt.Sprintf("default dflt(_) := false\n\ndflt(v) if {\n\tv != %s\n}\n\n", g.ref()),
		"tab":   fmt.Sprintf("tab[k] := %s if {\n\tsome k in {%q, %q}\n\t%s\n}\n\n", g.ref(), "a", "b", g.body(helpers...)),
		"part":  fmt.Sprintf("part contains %s if {\n\t%s\n}\n\n", g.ref(), g.body(helpers...)),
		"val":   fmt.Sprintf("val := %s if {\n\t%s\n} else := %s\n", g.ref(), g.body(helpers...), g.ref()),
	}
	allow := b.String()
	for _, name := range helpers {
		if strings.Contains(allow, name) {
			b.WriteString(all[name])
		}
	}
	return b.String()
}

// mutate returns a copy of v with members added, dropped or replaced.
func mutate(rng *rand.Rand, v ast.Value) ast.Value {
	obj, ok := v.(ast.Object)
	if !ok {
		if rng.IntN(4) == 0 {
			return generateValue(rng, 1).Value
		}
		return v
	}
	out := ast.NewObject()
	obj.Foreach(func(k, member *ast.Term) {
		switch rng.IntN(8) {
		case 0:
		case 1:
			out.Insert(k, generateValue(rng, 1))
		default:
			out.Insert(k, ast.NewTerm(mutate(rng, member.Value)))
		}
	})
	if rng.IntN(2) == 0 {
		out.Insert(ast.StringTerm(pick(rng, keys)), generateValue(rng, 1))
	}
	return out
}
