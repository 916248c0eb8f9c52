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
	found    []found
	findings []Finding
	at       *ast.Location // of the innermost node that has one
}

// refuse notes why no list of paths would be sound.
func (a *analysis) refuse(f Finding) {
	f.Place = a.place()
	a.findings = append(a.findings, f)
}

func (a *analysis) refuseWhole() {
	a.refuse(Finding{What: "input", Why: "input is used as a whole"})
}

// refuseUnknown is for syntax that came with a newer OPA.
func (a *analysis) refuseUnknown(kind string, node any) {
	what := fmt.Sprintf("%T", node)
	a.refuse(Finding{What: what, Why: fmt.Sprintf("%s of a kind that is not known here (%s)", kind, what)})
}

func (a *analysis) place() Place {
	if a.at == nil {
		return Place{}
	}
	return Place{a.at.File, a.at.Row}
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
		a.refuseUnknown("expression", t)
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
			a.refuseWhole()
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
		a.refuseUnknown("value", v)
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
			a.refuseUnknown("template part", p)
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
		a.refuse(Finding{What: name, Why: name + " does not depend on its arguments alone", Impure: true})
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
		a.refuseWhole()
	} else {
		a.found = append(a.found, found{path, a.place()})
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
