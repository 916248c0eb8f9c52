package reads

import (
	"fmt"

	"github.com/open-policy-agent/opa/v1/ast"
)

// analysis walks modules by naming every kind of node. OPA's own visitors are
// not used: they skip what they do not know (and the reference of a rule's
// head), and a skipped node is a missed read.
type analysis struct {
	impure   map[string]bool
	paths    []Path
	findings []Finding
	at       *ast.Location // of the innermost node that has one
}

func (a *analysis) refuse(format string, args ...any) {
	f := Finding{Why: fmt.Sprintf(format, args...)}
	if a.at != nil {
		f.File, f.Row = a.at.File, a.at.Row
	}
	a.findings = append(a.findings, f)
}

func (a *analysis) locate(l *ast.Location) {
	if l != nil {
		a.at = l
	}
}

// module reads the rules. Imports are resolved already and read nothing.
func (a *analysis) module(m *ast.Module) {
	for _, r := range m.Rules {
		a.rule(r)
	}
}

func (a *analysis) rule(r *ast.Rule) {
	a.locate(r.Location)
	a.head(r.Head)
	a.body(r.Body)
	if r.Else != nil {
		a.rule(r.Else)
	}
}

func (a *analysis) head(h *ast.Head) {
	a.locate(h.Location)
	if len(h.Reference) > 0 {
		a.terms(h.Reference[1:]) // the first part is the rule's own name
	}
	a.terms(h.Args)
	a.term(h.Key)
	a.term(h.Value)
}

func (a *analysis) body(b ast.Body) {
	for _, e := range b {
		a.expr(e)
	}
}

func (a *analysis) expr(e *ast.Expr) {
	a.locate(e.Location)
	switch t := e.Terms.(type) {
	case *ast.Term:
		a.term(t)
	case []*ast.Term:
		a.terms(t)
	case *ast.SomeDecl:
		a.terms(t.Symbols)
	case *ast.Every:
		a.term(t.Key)
		a.term(t.Value)
		a.term(t.Domain)
		a.body(t.Body)
	case *ast.Not:
		a.body(t.Body)
	case *ast.LogicalAnd:
		a.body(t.Lhs)
		a.body(t.Rhs)
	case *ast.LogicalOr:
		a.body(t.Lhs)
		a.body(t.Rhs)
	default:
		a.refuse("expression of a kind that is not known here (%T)", t)
	}
	for _, w := range e.With {
		a.with(w)
	}
}

// with reads its value. Its target is written, not read, and what is evaluated
// under it is walked where it stands. But writing below input.x merges with
// the value of input.x, so that one counts.
func (a *analysis) with(w *ast.With) {
	a.locate(w.Location)
	target, ok := w.Target.Value.(ast.Ref)
	switch {
	case !ok:
		a.term(w.Target)
	case !rootedAtInput(target):
		a.ref(target)
	case len(target) > 1:
		a.ref(target[:2])
	}
	a.term(w.Value)
}

func (a *analysis) terms(ts []*ast.Term) {
	for _, t := range ts {
		a.term(t)
	}
}

func (a *analysis) term(t *ast.Term) {
	if t == nil {
		return
	}
	a.locate(t.Location)
	switch v := t.Value.(type) {
	case ast.Null, ast.Boolean, ast.Number, ast.String:
	case ast.Var:
		if v == inputVar {
			a.refuse("input is used as a whole")
		}
	case ast.Ref:
		a.ref(v)
	case *ast.Array:
		v.Foreach(a.term)
	case ast.Object:
		v.Foreach(func(key, value *ast.Term) {
			a.term(key)
			a.term(value)
		})
	case ast.Set:
		v.Foreach(a.term)
	case *ast.ArrayComprehension:
		a.term(v.Term)
		a.body(v.Body)
	case *ast.SetComprehension:
		a.term(v.Term)
		a.body(v.Body)
	case *ast.ObjectComprehension:
		a.term(v.Key)
		a.term(v.Value)
		a.body(v.Body)
	case ast.Call:
		a.terms(v)
	case *ast.TemplateString:
		a.template(v)
	default:
		a.refuse("value of a kind that is not known here (%T)", v)
	}
}

func (a *analysis) template(t *ast.TemplateString) {
	for _, part := range t.Parts {
		switch p := part.(type) {
		case *ast.Term:
			a.term(p)
		case *ast.Expr:
			a.expr(p)
		default:
			a.refuse("template part of a kind that is not known here (%T)", p)
		}
	}
}

var inputVar = ast.InputRootDocument.Value.(ast.Var)

func rootedAtInput(r ast.Ref) bool {
	return len(r) > 0 && r[0].Value.Compare(inputVar) == 0
}

// ref notes what a reference reads, and walks the parts that are themselves
// computed.
func (a *analysis) ref(r ast.Ref) {
	if name := r.String(); a.impure[name] {
		a.refuse("%s does not depend on its arguments alone", name)
	}
	if !rootedAtInput(r) {
		if _, plain := r[0].Value.(ast.Var); !plain {
			a.term(r[0])
		}
		a.terms(r[1:])
		return
	}
	path := constantPrefix(r[1:])
	if len(path) == 0 {
		a.refuse("input is used as a whole")
	} else {
		a.paths = append(a.paths, path)
	}
	a.terms(r[1:])
}

// constantPrefix is the leading run of string constants.
func constantPrefix(parts ast.Ref) Path {
	var path Path
	for _, p := range parts {
		s, ok := p.Value.(ast.String)
		if !ok {
			break
		}
		path = append(path, string(s))
	}
	return path
}
