package reads

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/test/cases"
)

var thorough = flag.Bool("thorough", false, "run also the conformance cases that never mention input")

// TestWhatIsNotReadChangesNothingOnConformanceCases takes the policies of
// OPA's own conformance suite, each with its data and input. Whatever of the
// input Reads does not name is removed, replaced and added to, part by part and
// then at random: the result must stay.
func TestWhatIsNotReadChangesNothingOnConformanceCases(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(3, 4))
	cacheable, uncacheable, unusable, reading, tried := 0, 0, 0, 0, 0
	for version, regoVersion := range map[string]ast.RegoVersion{"v0": ast.RegoV0, "v1": ast.RegoV1} {
		for _, tc := range conformanceCases(t, version) {
			if !*thorough && !strings.Contains(strings.Join(tc.Modules, "\n")+tc.Query, "input") {
				continue // most cases, and little can go wrong
			}
			c, ok := newCase(tc, regoVersion)
			switch {
			case !ok: // some are about what does not compile
				unusable++
				continue
			case !c.reads.Cacheable():
				uncacheable++
				continue
			}
			cacheable++
			if len(c.reads.Paths) > 0 {
				reading++
			}
			n, err := c.hold(rng)
			if err != nil {
				t.Errorf("%s %s: %v\nreads %v\n%s\n%s", version, tc.Note, err, c.reads.Paths, strings.Join(tc.Modules, "\n"), tc.Query)
			}
			tried += n
		}
	}
	t.Logf("%d cacheable cases, %d of which read input; %d not cacheable, %d do not compile; %d changed inputs",
		cacheable, reading, uncacheable, unusable, tried)
	if cacheable < 500 || reading < 500 || tried < 20*cacheable {
		t.Error("the test shows little")
	}
}

// conformanceCases finds the cases in OPA's module.
func conformanceCases(t *testing.T, version string) []cases.TestCase {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/open-policy-agent/opa").Output()
	if err != nil {
		t.Skipf("no go command to find OPA's test cases with: %v", err)
	}
	set, err := cases.Load(filepath.Join(strings.TrimSpace(string(out)), "v1", "test", "cases", "testdata", version))
	if err != nil {
		t.Fatal(err)
	}
	return set.Cases
}

// conformanceCase is one case, its query wrapped into a rule.
type conformanceCase struct {
	query rego.PreparedEvalQuery
	reads Reads
	input ast.Object
}

// newCase is not ok for what does not compile, or has an input that is no
// object, which authz never has.
func newCase(tc cases.TestCase, version ast.RegoVersion) (c conformanceCase, ok bool) {
	modules := map[string]*ast.Module{}
	for i, src := range append(slices.Clone(tc.Modules), wrap(tc.Query)) {
		options := ast.ParserOptions{RegoVersion: version, AllFutureKeywords: version == ast.RegoV1}
		if i == len(tc.Modules) {
			options.RegoVersion = ast.RegoV1
		}
		name := fmt.Sprintf("m%d.rego", i)
		m, err := ast.ParseModuleWithOpts(name, src, options)
		if err != nil || m == nil {
			return c, false
		}
		modules[name] = m
	}
	compiler := ast.NewCompiler()
	if compiler.Compile(modules); compiler.Failed() {
		return c, false
	}
	options := []func(*rego.Rego){rego.Query("data.tegata_case.result"), rego.Compiler(compiler)}
	if tc.Data != nil {
		options = append(options, rego.Store(inmem.NewFromObject(*tc.Data)))
	}
	var err error
	if c.query, err = rego.New(options...).PrepareForEval(context.Background()); err != nil {
		return c, false
	}
	c.reads = Of(compiler)
	c.input, ok = inputOf(tc)
	return c, ok
}

// wrap makes a rule that yields every binding of a query's variables.
func wrap(query string) string {
	var names []string
	if body, err := ast.ParseBody(query); err == nil {
		visitor := ast.NewVarVisitor().WithParams(ast.VarVisitorParams{SkipRefHead: true, SkipClosures: true})
		visitor.Walk(body)
		for name := range visitor.Vars() {
			if !name.IsWildcard() {
				names = append(names, string(name))
			}
		}
	}
	slices.Sort(names)
	return fmt.Sprintf("package tegata_case\n\nresult contains [%s] if {\n\t%s\n}\n", strings.Join(names, ", "), query)
}

// inputOf is the input of a case; without one, an empty object.
func inputOf(tc cases.TestCase) (ast.Object, bool) {
	var value ast.Value = ast.NewObject()
	switch {
	case tc.InputTerm != nil:
		t, err := ast.ParseTerm(*tc.InputTerm)
		if err != nil {
			return nil, false
		}
		value = t.Value
	case tc.Input != nil:
		var err error
		if value, err = ast.InterfaceToValue(*tc.Input); err != nil {
			return nil, false
		}
	}
	object, ok := value.(ast.Object)
	return object, ok && object.IsGround()
}

// hold tries changed inputs and returns how many.
func (c conformanceCase) hold(rng *rand.Rand) (tried int, err error) {
	key, ok := c.reads.AppendKey(nil, c.input)
	if !ok {
		return 0, fmt.Errorf("no key for %v", c.input)
	}
	want := result(c.query, c.input)
	try := func(changed ast.Value) error {
		if k, ok := c.reads.AppendKey(nil, changed); !ok || string(k) != string(key) {
			return nil // differs in what is read
		}
		tried++
		if got := result(c.query, changed); got != want {
			return fmt.Errorf("input %v\ngives %s\ninput %v\ngives %s", c.input, want, changed, got)
		}
		return nil
	}
	for _, changed := range c.changes(nil, c.input) {
		if err := try(changed); err != nil {
			return tried, err
		}
	}
	for range 20 {
		if err := try(mutate(rng, c.input)); err != nil {
			return tried, err
		}
	}
	return tried, nil
}

// replacements are what an unread part is replaced with.
var replacements = []string{`null`, `false`, `0`, `""`, `"other"`, `[]`, `{}`, `{"a": {"b": 1}}`}

// changes returns copies of object, which stands at a path below input, each
// with one change of what is not read, or not as a whole: a member removed,
// replaced or added.
func (c conformanceCase) changes(at Path, object ast.Object) []ast.Object {
	var out []ast.Object
	object.Foreach(func(key, value *ast.Term) {
		name, ok := key.Value.(ast.String)
		if !ok { // no path names it, and a path to it would end above it
			return
		}
		here := append(slices.Clone(at), string(name))
		if c.covered(here) {
			return
		}
		out = append(out, without(object, key))
		for _, r := range replacements {
			out = append(out, with(object, key, ast.MustParseTerm(r)))
		}
		if below, ok := value.Value.(ast.Object); ok {
			for _, changed := range c.changes(here, below) {
				out = append(out, with(object, key, ast.NewTerm(changed)))
			}
		}
	})
	for _, name := range append([]string{"x-unread"}, keys...) {
		key := ast.StringTerm(name)
		if object.Get(key) != nil || c.covered(append(slices.Clone(at), name)) {
			continue
		}
		for _, r := range replacements {
			out = append(out, with(object, key, ast.MustParseTerm(r)))
		}
	}
	return out
}

// covered reports whether all of the path is read.
func (c conformanceCase) covered(path Path) bool {
	return slices.ContainsFunc(c.reads.Paths, func(p Path) bool { return isPrefix(p, path) })
}

func without(object ast.Object, key *ast.Term) ast.Object {
	out := ast.NewObject()
	object.Foreach(func(k, v *ast.Term) {
		if !k.Equal(key) {
			out.Insert(k, v)
		}
	})
	return out
}

func with(object ast.Object, key, value *ast.Term) ast.Object {
	out := without(object, key)
	out.Insert(key, value)
	return out
}
