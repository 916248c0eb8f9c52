package policy

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage"
)

// scopeSources is where the names come from that a policy holds against a
// token's scopes, found in its compiled form.
//
// The idea: what stands in one expression is held against each other, and a
// name (a variable, a rule, a function's parameter, a path of input or data)
// carries that on to wherever else it stands. So names and expressions fall
// into classes, and the strings and data paths in the class of the token's
// scopes are candidates. That is a guess in both directions; whoever uses it
// evaluates what follows from it.
type scopeSources struct {
	matter    bool      // whether the policy looks at scopes at all
	constants []string  // sorted
	data      []ast.Ref // below data; a part is a string, a reference below input, or a variable for "any"
}

// candidates are the scopes that could matter for an input, each once: those
// of the data, which are for this request, before the constants.
func (s scopeSources) candidates(ctx context.Context, p *Policy, input ast.Object) []string {
	var out []string
	for _, ref := range s.data {
		prefix := storage.Path{}
		for _, part := range ref[1:] {
			name, ok := part.Value.(ast.String)
			if !ok {
				break
			}
			prefix = append(prefix, string(name))
		}
		raw, err := p.store.Read(ctx, p.txn, prefix)
		value, ok := raw.(ast.Value)
		if err != nil || !ok {
			continue
		}
		c := collector{input: input, left: maxVisited}
		c.descend(value, ref[1+len(prefix):])
		out = append(out, c.found...)
	}
	out = append(out, s.constants...)
	seen := map[string]bool{}
	return slices.DeleteFunc(out, func(name string) bool {
		again := seen[name]
		seen[name] = true
		return again || !isScope(name)
	})
}

// maxVisited bounds how much data is looked through for one refusal.
const maxVisited = 1000

// collector collects strings out of data.
type collector struct {
	input ast.Object
	left  int // values that may still be visited
	found []string
}

func (c *collector) descend(v ast.Value, parts ast.Ref) {
	if c.left--; c.left < 0 {
		return
	}
	if len(parts) == 0 {
		c.strings(v)
		return
	}
	key := parts[0]
	if ref, ok := key.Value.(ast.Ref); ok { // below input
		value, err := c.input.Find(ref[1:])
		if err != nil {
			return
		}
		key = ast.NewTerm(value)
	}
	if _, anyOf := key.Value.(ast.Var); anyOf {
		c.children(v, func(child ast.Value) { c.descend(child, parts[1:]) })
		return
	}
	if child, err := v.Find(ast.Ref{key}); err == nil {
		c.descend(child, parts[1:])
	}
}

func (c *collector) strings(v ast.Value) {
	if s, ok := v.(ast.String); ok {
		c.found = append(c.found, string(s))
		return
	}
	c.children(v, func(child ast.Value) {
		if c.left--; c.left >= 0 {
			c.strings(child)
		}
	})
}

func (c *collector) children(v ast.Value, visit func(ast.Value)) {
	switch v := v.(type) {
	case *ast.Array:
		v.Foreach(func(t *ast.Term) { visit(t.Value) })
	case ast.Set:
		v.Foreach(func(t *ast.Term) { visit(t.Value) })
	case ast.Object:
		v.Foreach(func(_, t *ast.Term) { visit(t.Value) })
	}
}

// isScope reports whether a string can be a scope (RFC 6749 §3.3, scope-token).
func isScope(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '"' || r == '\\' })
}

// scopesOf analyses compiled modules. What the entry rule yields is a decision:
// nothing in it is held against anything.
func scopesOf(c *ast.Compiler, entry ast.Ref) scopeSources {
	a := classes{compiler: c, entry: entry.String(), parent: map[string]string{}, constants: map[string][]string{}, data: map[string][]ast.Ref{}}
	names := make([]string, 0, len(c.Modules))
	for name := range c.Modules {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		for _, rule := range c.Modules[name].Rules {
			a.rule(rule)
		}
	}
	return a.result()
}

// scopesNode is the class that is looked for.
const scopesNode = "scopes"

// classes puts names into classes: a forest in which each points towards the
// one that stands for its class.
type classes struct {
	compiler  *ast.Compiler
	entry     string
	parent    map[string]string
	constants map[string][]string  // by name, of what stands beside it
	data      map[string][]ast.Ref // likewise

	scope   string                // of local names: the rule under way
	aliases map[ast.Var]*ast.Term // local names that were given a reference
	rules   int
	matter  bool
}

func (a *classes) find(name string) string {
	for a.parent[name] != "" {
		name = a.parent[name]
	}
	return name
}

func (a *classes) union(names []string) {
	for i := 1; i < len(names); i++ {
		if x, y := a.find(names[0]), a.find(names[i]); x != y {
			a.parent[y] = x
		}
	}
}

func (a *classes) result() scopeSources {
	s := scopeSources{matter: a.matter}
	class := a.find(scopesNode)
	for name, constants := range a.constants {
		if a.find(name) == class {
			s.constants = append(s.constants, constants...)
		}
	}
	for name, refs := range a.data {
		if a.find(name) == class {
			s.data = append(s.data, refs...)
		}
	}
	slices.Sort(s.constants)
	s.constants = slices.DeleteFunc(slices.Compact(s.constants), func(c string) bool { return !isScope(c) })
	slices.SortFunc(s.data, func(x, y ast.Ref) int { return x.Compare(y) })
	s.data = slices.CompactFunc(s.data, func(x, y ast.Ref) bool { return x.Equal(y) })
	return s
}

func (a *classes) rule(r *ast.Rule) {
	a.rules++
	a.scope, a.aliases = fmt.Sprint("local ", a.rules, " "), map[ast.Var]*ast.Term{}
	a.name(r.Body)
	a.body(r.Body)
	a.head(r)
	if r.Else != nil {
		a.rule(r.Else)
	}
}

// head joins a rule's name with what it yields, its parameters with theirs.
func (a *classes) head(r *ast.Rule) {
	ref := r.Ref().GroundPrefix()
	self := "rule " + ref.String()
	for i, arg := range r.Head.Args {
		g := a.gather(arg)
		g.names = append([]string{parameter(ref, i)}, g.names...)
		a.join(g)
	}
	if ref.String() == a.entry {
		return
	}
	for _, t := range []*ast.Term{r.Head.Key, r.Head.Value} {
		if t == nil || isDecision(t) {
			continue
		}
		g := a.gather(t)
		g.names = append([]string{self}, g.names...)
		a.join(g)
	}
}

func parameter(function ast.Ref, i int) string {
	return fmt.Sprint("parameter ", i, " ", function)
}

// isDecision reports whether a term is an object with a member allowed.
func isDecision(t *ast.Term) bool {
	object, ok := t.Value.(ast.Object)
	return ok && object.Get(allowedKey) != nil
}

// name notes the local names that an expression of a body gives to a reference.
func (a *classes) name(b ast.Body) {
	for _, e := range b {
		if !e.IsEquality() || len(e.Operands()) != 2 {
			continue
		}
		x, y := e.Operand(0), e.Operand(1)
		for _, pair := range [2][2]*ast.Term{{x, y}, {y, x}} {
			local, isVar := pair[0].Value.(ast.Var)
			if _, isRef := pair[1].Value.(ast.Ref); isVar && isRef {
				a.aliases[local] = pair[1]
			}
		}
	}
}

func (a *classes) body(b ast.Body) {
	for _, e := range b {
		a.expr(e)
	}
}

func (a *classes) expr(e *ast.Expr) {
	switch t := e.Terms.(type) {
	case *ast.Term:
		a.join(a.gather(t))
	case []*ast.Term:
		a.call(t)
	case *ast.Every:
		a.join(a.gather(t.Key, t.Value, t.Domain))
		a.name(t.Body)
		a.body(t.Body)
	case *ast.Not:
		a.name(t.Body)
		a.body(t.Body)
	}
	for _, w := range e.With {
		a.join(a.gather(w.Target, w.Value))
	}
}

// wording are builtins that make text for people.
var wording = map[string]bool{"sprintf": true, "internal.print": true, "print": true, "trace": true}

// call joins what a builtin is given and yields; what one of the policy's own
// functions is given is joined with its parameters instead.
func (a *classes) call(terms []*ast.Term) {
	operator, args := terms[0], terms[1:]
	ref, _ := operator.Value.(ast.Ref)
	if wording[ref.String()] {
		return
	}
	if ref.String() == "object.get" && len(args) > 2 {
		if object := a.reference(args[0]); object != nil { // is the reference to that member
			args = append([]*ast.Term{ast.NewTerm(slices.Concat(object, ast.Ref{args[1]}))}, args[2:]...)
		}
	}
	if len(a.compiler.GetRulesExact(ref)) == 0 {
		a.join(a.gather(args...))
		return
	}
	for i, arg := range args {
		g := a.gather(arg)
		name := parameter(ref, i)
		if i == len(a.compiler.GetRulesExact(ref)[0].Head.Args) {
			name = "rule " + ref.String() // what it yields
		}
		g.names = append([]string{name}, g.names...)
		a.join(g)
	}
}

// gathered is what stands in one place.
type gathered struct {
	names     []string
	constants []string
	data      []ast.Ref
}

func (a *classes) join(g gathered) {
	if len(g.names) == 0 {
		return
	}
	a.union(g.names)
	a.constants[g.names[0]] = append(a.constants[g.names[0]], g.constants...)
	a.data[g.names[0]] = append(a.data[g.names[0]], g.data...)
}

func (a *classes) gather(terms ...*ast.Term) gathered {
	var g gathered
	for _, t := range terms {
		if t != nil {
			a.term(&g, t)
		}
	}
	return g
}

func (a *classes) term(g *gathered, t *ast.Term) {
	each := func(t *ast.Term) { a.term(g, t) }
	switch v := t.Value.(type) {
	case ast.String:
		g.constants = append(g.constants, string(v))
	case ast.Var:
		g.names = append(g.names, a.scope+string(v))
	case ast.Ref:
		a.ref(g, a.resolve(v))
	case *ast.Array:
		v.Foreach(each)
	case ast.Set:
		v.Foreach(each)
	case ast.Object:
		v.Foreach(func(_, value *ast.Term) { each(value) })
	case *ast.ArrayComprehension:
		a.comprehension(g, v.Body, v.Term)
	case *ast.SetComprehension:
		a.comprehension(g, v.Body, v.Term)
	case *ast.ObjectComprehension:
		a.comprehension(g, v.Body, v.Value)
	case ast.Call:
		a.call(v)
		for _, arg := range v[1:] {
			each(arg)
		}
	}
}

func (a *classes) comprehension(g *gathered, body ast.Body, yields *ast.Term) {
	a.name(body)
	a.body(body)
	a.term(g, yields)
}

// maxAliases bounds chains of local names.
const maxAliases = 16

// resolve replaces a local name at the head of a reference by what it names.
func (a *classes) resolve(r ast.Ref) ast.Ref {
	for range maxAliases {
		local, ok := r[0].Value.(ast.Var)
		alias := a.aliases[local]
		if !ok || alias == nil {
			return r
		}
		r = slices.Concat(alias.Value.(ast.Ref), r[1:])
	}
	return r
}

// reference is what a term is or names; nil if that is no reference.
func (a *classes) reference(t *ast.Term) ast.Ref {
	switch v := t.Value.(type) {
	case ast.Ref:
		return a.resolve(v)
	case ast.Var:
		if alias := a.aliases[v]; alias != nil {
			return a.resolve(ast.Ref{t})
		}
	}
	return nil
}

func (a *classes) ref(g *gathered, r ast.Ref) {
	// The value at x[i] is beside i if i runs over the elements of a set, or
	// the like; not if it was chosen by the request.
	if last := r[len(r)-1]; len(r) > 1 {
		if local, ok := last.Value.(ast.Var); ok && a.aliases[local] == nil {
			a.term(g, last)
		}
	}
	switch {
	case r[0].Equal(ast.InputRootDocument):
		a.inputRef(g, r)
	case r[0].Equal(ast.DefaultRootDocument):
		a.dataRef(g, r)
	default:
		a.term(g, r[0])
	}
}

func (a *classes) inputRef(g *gathered, r ast.Ref) {
	prefix := r.ConstantPrefix()[1:]
	if n := scopePath(prefix); n > 0 {
		a.matter = true
		g.names = append(g.names, scopesNode)
		for _, part := range r[1+min(n, len(r)-1):] {
			switch part.Value.(type) {
			case ast.String, ast.Var: // what a set of scopes is asked for is a scope
				a.term(g, part)
			}
		}
		return
	}
	g.names = append(g.names, prefix.String())
}

// scopePath returns how long the path to the token's scopes is if parts, below
// input, reach or contain it; else 0.
func scopePath(parts ast.Ref) int {
	for _, path := range []ast.Ref{
		{keyToken, keyScopes}, {keyToken, keyClaims, scopeClaims[0]}, {keyToken, keyClaims, scopeClaims[1]},
	} {
		n := min(len(path), len(parts))
		if parts[:n].Equal(path[:n]) {
			return len(path)
		}
	}
	return 0
}

func (a *classes) dataRef(g *gathered, r ast.Ref) {
	for n := len(r); n > 1; n-- {
		rules := a.compiler.GetRulesExact(r[:n])
		if len(rules) == 0 {
			continue
		}
		g.names = append(g.names, "rule "+r[:n].String())
		if rules[0].Head.RuleKind() == ast.MultiValue {
			a.members(g, r[n:])
		}
		return
	}
	data := make(ast.Ref, len(r))
	for i, part := range r {
		data[i] = part
		if local, ok := part.Value.(ast.Var); ok && a.aliases[local] != nil && i > 0 {
			if alias := a.resolve(a.aliases[local].Value.(ast.Ref)); alias[0].Equal(ast.InputRootDocument) && alias.IsGround() {
				data[i] = ast.NewTerm(alias)
			}
		}
	}
	g.names = append(g.names, "data "+data.String())
	g.data = append(g.data, data)
}

// members notes the constants that a set is asked for.
func (a *classes) members(g *gathered, parts ast.Ref) {
	for _, part := range parts {
		if s, ok := part.Value.(ast.String); ok {
			g.constants = append(g.constants, string(s))
		}
	}
}
