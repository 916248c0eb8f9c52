package policy

import (
	"context"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"

	"github.com/tegata/tegata/authz/policy/reads"
)

// Step is what became of one rule in an evaluation.
type Step struct {
	Rule   string      `json:"rule"` // data.envoy.authz.allow
	Place  reads.Place `json:"place"`
	Depth  int         `json:"depth"`            // how many rules asked for it in turn
	Values []string    `json:"values,omitempty"` // what it yielded, in the order of its making; empty: it did not hold
	Failed *Failure    `json:"failed,omitempty"` // of a rule that did not hold: how far it came
}

// Failure is the expression at which a rule ended.
type Failure struct {
	Place  reads.Place `json:"place"`
	Source string      `json:"source"` // its first line, as written
}

// Limits on what is told of one rule.
const (
	maxValues = 8
	maxSource = 120 // bytes, of an expression or value
)

// Explain evaluates as Evaluate does and tells of each rule that was tried, in
// the order in which they were first asked for. It is slower by far: for
// people, not for requests.
func (p *Policy) Explain(ctx context.Context, input ast.Value) ([]Step, Result, error) {
	t := &trail{steps: map[*ast.Rule]*Step{}, queries: map[uint64]*Step{}}
	r, err := p.evaluate(ctx, input, t)
	steps := make([]Step, len(t.order))
	for i, s := range t.order {
		if len(s.Values) > 0 {
			s.Failed = nil
		}
		steps[i] = *s
	}
	return steps, r, err
}

// trail collects the steps of an evaluation from OPA's events. Each evaluation
// of a rule is a query of its own, below the one that asked.
type trail struct {
	order   []*Step
	steps   map[*ast.Rule]*Step
	queries map[uint64]*Step // whose body a query is
}

// Enabled implements topdown.QueryTracer.
func (t *trail) Enabled() bool { return true }

// Config implements topdown.QueryTracer.
func (t *trail) Config() topdown.TraceConfig { return topdown.TraceConfig{} }

// TraceEvent implements topdown.QueryTracer.
func (t *trail) TraceEvent(e topdown.Event) {
	switch node := e.Node.(type) {
	case *ast.Rule:
		switch e.Op {
		case topdown.EnterOp:
			t.enter(node, e)
		case topdown.ExitOp:
			t.exit(node, e)
		}
	case *ast.Expr:
		if s := t.queries[e.QueryID]; s != nil && e.Op == topdown.FailOp {
			s.fail(node)
		}
	case ast.Body: // of a comprehension, a negation: part of the rule it stands in
		if e.Op == topdown.EnterOp {
			t.queries[e.QueryID] = below(t.queries[e.ParentID])
		}
	}
}

// below stands for a query inside a rule whose failures are not the rule's.
func below(s *Step) *Step {
	if s == nil {
		return nil
	}
	return &Step{Depth: s.Depth}
}

func (t *trail) enter(r *ast.Rule, e topdown.Event) {
	s := t.steps[r]
	if s == nil {
		s = &Step{Rule: r.Ref().String(), Place: place(r.Location)}
		if parent := t.queries[e.ParentID]; parent != nil {
			s.Depth = parent.Depth + 1
		}
		t.steps[r] = s
		t.order = append(t.order, s)
	}
	t.queries[e.QueryID] = s
}

func (t *trail) exit(r *ast.Rule, e topdown.Event) {
	s := t.steps[r]
	if s == nil || len(s.Values) >= maxValues {
		return
	}
	value := r.Head.Value
	if r.Head.RuleKind() == ast.MultiValue {
		value = r.Head.Key
	}
	text := "true"
	if value != nil {
		text = short(e.Plug(value).String())
	}
	for _, had := range s.Values {
		if had == text {
			return
		}
	}
	s.Values = append(s.Values, text)
}

// fail notes an expression that did not hold, if no later one of the rule has
// been noted: the rule came as far as that.
func (s *Step) fail(e *ast.Expr) {
	at := place(e.Location)
	if s.Failed != nil && s.Failed.Place.Row >= at.Row {
		return
	}
	s.Failed = &Failure{Place: at, Source: short(source(e.Location))}
}

func place(l *ast.Location) reads.Place {
	if l == nil {
		return reads.Place{}
	}
	return reads.Place{File: l.File, Row: l.Row}
}

func source(l *ast.Location) string {
	if l == nil {
		return ""
	}
	line, rest, _ := strings.Cut(strings.TrimSpace(string(l.Text)), "\n")
	if rest != "" {
		line += " …"
	}
	return line
}

func short(s string) string {
	if len(s) > maxSource {
		return strings.ToValidUTF8(s[:maxSource], "") + "…"
	}
	return s
}
