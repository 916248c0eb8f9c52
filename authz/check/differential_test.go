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

	"github.com/tegata/tegata/revocation"
)

var policiesTried = flag.Int("policies", 60, "generated policies to try")

// TestMemoryChangesNoAnswer holds a Checker to one that evaluates every
// request: over generated policies and requests, while tokens are revoked,
// policies reloaded and trust comes and goes, both decide the same.
func TestMemoryChangesNoAnswer(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(5, 6))
	remembered, differing := 0, map[Reason]int{}
	for i := range *policiesTried {
		first := generatePolicy(rng)
		fast, plain := newTwin(t, first, false), newTwin(t, first, true)
		bodies := []string{first, strings.ReplaceAll(first, ":= true", ":= false"), generatePolicy(rng)}
		doors := make([]door, 24)
		for j := range doors {
			doors[j] = generateDoor(rng)
		}
		for step := range 250 {
			event(t, rng, bodies, fast, plain)
			d := pick(rng, doors)
			got, want := fast.check(t, d), plain.check(t, d)
			differing[want.Reason]++
			opts := []cmp.Option{cmpopts.IgnoreFields(Decision{}, "ID", "Took", "Token", "Made"), cmpopts.EquateEmpty()}
			if diff := cmp.Diff(want, got, opts...); diff != "" {
				t.Fatalf("policy %d, step %d: %+v decided otherwise from memory (-want +got):\n%s\n%s", i, step, d, diff, plain.body)
			}
			if (got.Token == nil) != (want.Token == nil) || got.Token != nil && got.Token.Revocation != want.Token.Revocation {
				t.Fatalf("policy %d, step %d: another token", i, step)
			}
		}
		if n := plain.cached(t); n != 0 {
			t.Fatalf("the plain twin remembered %d decisions", n)
		}
		remembered += fast.cached(t)
	}
	if remembered < 30*(*policiesTried) || len(differing) < 6 {
		t.Errorf("only %d decisions from memory, reasons %v: the test shows little", remembered, differing)
	}
}

func newTwin(t *testing.T, body string, noCache bool) *bench {
	t.Helper()
	b := newBench(t, body, func(c *Config) { c.OnStale, c.NoCache = Serve, noCache })
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
	return d
}

// terms and constants are what conditions compare, in the places of X and Y.
// $ is a name of the condition's own.
var (
	terms = []string{
		`input.attributes.request.http.method`, `input.attributes.request.http.path`, `input.route`,
		`input.attributes.request.http.headers["x-a"]`, `input.attributes.request.http.headers["x-b"]`,
		`input.attributes.request.http.headers`, `input.attributes.request.http`, `input.token.subject`, `input.token.scopes`, `input.token`,
		`input.revocation.stale`, `input.revocation.revision`, `input.revocation`, `input.nothing`,
	}
	constants  = []string{`"GET"`, `"1"`, `""`, `null`, `true`, `1`}
	conditions = []string{
		`X == Y`, `not X`, `not X == Y`, `X != Y`, `"read" in X`, `some $ in X; $ == Y`, `f(X)`, `not f(X)`, `X < Y`,
		`object.get(X, "x-a", Y) == "1"`, `helper`, `helper with input.attributes.request.http.method as X`, `every $ in X { $ != Y }`,
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
	fmt.Fprintf(&b, "f(x) if x == %s\nf(x) if %s", g.operand(), g.body(simple))
	return b.String()
}
