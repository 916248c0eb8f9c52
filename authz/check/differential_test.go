package check

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/open-policy-agent/opa/v1/ast"
	"golang.org/x/time/rate"

	"github.com/tegata/tegata/revocation"
)

var policiesTried = flag.Int("policies", 60, "generated policies to try, with pairsOfPolicy requests each")

// Each pair is a request decided by both.
const (
	pairsOfPolicy = 250
	shards        = 4 // side by side, each with policies of its own
)

// TestMemoryChangesNoAnswer holds a Checker to one that evaluates every
// request: over generated policies and requests, while tokens are revoked,
// policies reloaded and trust comes and goes, both decide the same.
func TestMemoryChangesNoAnswer(t *testing.T) {
	t.Parallel()
	for shard := range uint64(shards) {
		t.Run(fmt.Sprint(shard), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(5, 6+shard))
			policies, remembered, reasons := (*policiesTried+shards-1)/shards, 0, map[Reason]int{}
			for range policies {
				remembered += memoryChangesNoAnswer(t, rng, reasons)
			}
			t.Logf("%d pairs, %d from memory, reasons %v", policies*pairsOfPolicy, remembered, reasons)
			if remembered < 20*policies || len(reasons) < 5 {
				t.Error("the test shows little")
			}
		})
	}
}

// memoryChangesNoAnswer tries one policy and returns how many decisions came
// from memory.
func memoryChangesNoAnswer(t *testing.T, rng *rand.Rand, reasons map[Reason]int) (remembered int) {
	t.Helper()
	first := generatePolicy(rng)
	fast, plain := newTwin(t, first, false), newTwin(t, first, true)
	bodies := []string{first, strings.ReplaceAll(first, ":= true", ":= false"), generatePolicy(rng)}
	doors := make([]door, 24)
	for j := range doors {
		doors[j] = generateDoor(rng)
	}
	opts := []cmp.Option{cmpopts.IgnoreFields(Decision{}, "ID", "Took", "Token", "Made"), cmpopts.EquateEmpty()}
	for step := range pairsOfPolicy {
		event(t, rng, bodies, fast, plain)
		d := pick(rng, doors)
		got, want := fast.check(t, d), plain.check(t, d)
		reasons[want.Reason]++
		if diff := cmp.Diff(want, got, opts...); diff != "" {
			t.Fatalf("step %d: %+v decided otherwise from memory (-want +got):\n%s\n%s", step, d, diff, plain.body)
		}
		if (got.Token == nil) != (want.Token == nil) || got.Token != nil && got.Token.Revocation != want.Token.Revocation {
			t.Fatalf("step %d: another token", step)
		}
	}
	if n := plain.cached(t); n != 0 {
		t.Fatalf("the plain twin remembered %d decisions", n)
	}
	return fast.cached(t)
}

func newTwin(t *testing.T, body string, noCache bool) *bench {
	t.Helper()
	b := newBench(t, body, func(c *Config) { c.OnStale, c.NoCache = Serve, noCache })
	b.suggestions.SetLimit(rate.Inf) // the plain one asks for more than the other, and both must get them
	b.files["tegata/routes/data.yaml"] = file("/a: {GET: {}}\n/b/{id}: {GET: {}, PUT: {}}\n")
	b.reload(t, body+"\n# with routes\n")
	for name, scopes := range map[string][]string{"t0": {"read"}, "t1": {"read", "write"}, "t2": nil, "t3": {"read"}} {
		b.known.add(name, token(name, scopes...))
	}
	return b
}

// event makes something happen to both, seldom.
func event(t *testing.T, rng *rand.Rand, bodies []string, both ...*bench) {
	t.Helper()
	n, body, id, trust := rng.IntN(100), pick(rng, bodies), pick(rng, tokenNames), pick(rng, trusts)
	for _, b := range both {
		switch n {
		case 0:
			b.reload(t, body)
		case 1:
			b.revoke("jti-" + id)
		case 2:
			b.set.Apply(nil, b.set.Revision()+1)
		case 3, 4:
			b.set.Replace(nil, b.set.Revision()/2) // a new epoch: all live again
		case 5, 6, 7:
			b.trust.Store(uint32(trust))
		}
	}
}

func pick[T any](rng *rand.Rand, from []T) T { return from[rng.IntN(len(from))] }

var trusts = []revocation.Trust{revocation.Fresh, revocation.Fresh, revocation.Fresh, revocation.Stale, revocation.Unknown}

var tokenNames = []string{"t0", "t1", "t2", "t3"}

// generateDoor draws from few values, so that doors differ in little.
func generateDoor(rng *rand.Rand) door {
	d := door{method: pick(rng, []string{"GET", "PUT"}), path: pick(rng, []string{"/a", "/b/1", "/b/2", "/b/1?q", "/c"}), headers: map[string]string{}}
	for _, name := range []string{"x-a", "x-b"} {
		if rng.IntN(2) == 0 {
			d.headers[name] = pick(rng, []string{"", "1", "2"})
		}
	}
	if rng.IntN(8) > 0 {
		d.authorization = []string{"Bearer " + pick(rng, tokenNames)}
	}
	d.body = pick(rng, documents)
	return d
}

// documents are bodies in which absent, null and false must not be mixed up.
var documents = []ast.Value{
	nil, nil,
	ast.Null{},
	ast.Boolean(false), ast.MustParseTerm(`{}`).Value, ast.MustParseTerm(`{"k": null}`).Value,
	ast.MustParseTerm(`{"k": false}`).Value, ast.MustParseTerm(`{"k": "1"}`).Value, ast.MustParseTerm(`{"k": ["1", null]}`).Value,
}

// terms and constants are what conditions compare, in the places of X and Y.
// $ is a name of the condition's own.
var (
	terms = []string{
		`input.attributes.request.http.method`, `input.attributes.request.http.path`, `input.route`,
		`input.attributes.request.http.headers["x-a"]`, `input.attributes.request.http.headers["x-b"]`,
		`input.attributes.request.http.headers`, `input.attributes.request.http`, `input.token.subject`, `input.token.scopes`, `input.token`,
		`input.revocation.stale`, `input.revocation.revision`, `input.revocation`, `input.nothing`,
		`input.parsed_body`, `input.parsed_body.k`, `input.parsed_body.k`, `input.parsed_body.k[0]`,
	}
	constants  = []string{`"GET"`, `"1"`, `""`, `null`, `true`, `1`}
	conditions = []string{
		`X == Y`, `not X`, `not X == Y`, `X != Y`, `"read" in X`, `some $ in X; $ == Y`, `f(X)`, `not f(X)`, `X < Y`,
		`object.get(X, "x-a", Y) == "1"`, `helper`, `helper with input.attributes.request.http.method as X`, `every $ in X { $ != Y }`,
		`$ := X; not $.k`, `$ := X; not $.subject`, `$ := X; $.k == Y`, `$ := X; fallback($)`, `is_null(X)`, `not is_null(X)`,
		`count([1 | some $ in X; $ == Y]) == 1`, `{$ | some $ in X} == {Y}`, `{"x": $ | $ := X} == {"x": Y}`, `count({1 | not X}) == 1`,
		`part[X]`, `not part[X]`, `table[X]`, `table.a == Y`, `not table.b`, `value == Y`, `not value`, `helper with input as {"parsed_body": X}`,
		`not fallback(X)`, `f(X) with input.parsed_body as Y`,
	}
)

// grammar is what one policy is made of: few terms, so that questions recur.
type grammar struct {
	rng   *rand.Rand
	terms []string
}

func (g grammar) body(from []string) string {
	lines := make([]string, 1+g.rng.IntN(2))
	for i := range lines {
		s := strings.ReplaceAll(pick(g.rng, from), "$", fmt.Sprint("v", i))
		lines[i] = strings.Replace(strings.Replace(s, "X", pick(g.rng, g.terms), 1), "Y", g.operand(), 1)
	}
	return "{\n\t" + strings.Join(lines, "\n\t") + "\n}\n"
}

func (g grammar) operand() string { return pick(g.rng, slices.Concat(g.terms, constants)) }

// generatePolicy draws a policy that allows, refuses and fails.
func generatePolicy(rng *rand.Rand) string {
	g := grammar{rng, []string{pick(rng, terms), pick(rng, terms), pick(rng, terms)}}
	simple := conditions[:6]
	answers := []string{
		"true", "true", `{"allowed": true, "headers": {"x-for": input.token.subject}}`, "input.route",
		`{"allowed": false, "required_scopes": ["write"], "reasons": [input.route]}`,
		`{"allowed": false, "http_status": 418, "body": input.attributes.request.http.path}`,
	}
	var b strings.Builder
	if rng.IntN(8) > 0 {
		b.WriteString("default allow := false\n")
	}
	for i := range 1 + rng.IntN(3) {
		if i > 0 {
			b.WriteString("else ")
		} else {
			b.WriteString("allow ")
		}
		fmt.Fprintf(&b, ":= %s if %s", pick(rng, answers), g.body(conditions))
	}
	fmt.Fprintf(&b, "helper if %s", g.body(simple))
	fmt.Fprintf(&b, "default fallback(_) := false\nfallback(x) if x == %s\n", g.operand())
	fmt.Fprintf(&b, "part contains %s if %s", g.operand(), g.body(simple))
	fmt.Fprintf(&b, "table[k] := %s if {\n\tsome k in [\"a\", \"b\", \"GET\"]\n\tk != %s\n}\n", pick(rng, g.terms), g.operand())
	fmt.Fprintf(&b, "default value := null\nvalue := %s if %s", pick(rng, g.terms), g.body(simple))
	fmt.Fprintf(&b, "f(x) if x == %s\nf(x) if %s", g.operand(), g.body(simple))
	return b.String()
}
