// Package policy owns OPA: it loads Rego and data, compiles them, swaps the
// result in atomically and evaluates it. It must not know tokens, revocations
// or Envoy; its input is a value and its result a decision.
//
// An Engine holds the Policy that serves now. A Policy is compiled, warmed and
// immutable, so a request that took one keeps it to its end, and a reload never
// blocks a decision. What does not load, compile or hold together is never
// swapped in: the last good policy goes on serving.
package policy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	opametrics "github.com/open-policy-agent/opa/v1/metrics"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/topdown"

	"github.com/tegata/tegata/authz/policy/reads"
)

// Result is the decision of a policy, in OPA-Envoy's decision format.
type Result struct {
	Allowed                 bool
	Status                  int         // 0 if the policy named none
	Headers                 http.Header // allowed: to upstream; denied: to the caller
	ResponseHeadersToAdd    http.Header
	RequestHeadersToRemove  []string
	QueryParametersToSet    map[string]string
	QueryParametersToRemove []string
	Body                    string
	DynamicMetadata         map[string]any
	Reasons                 []string
	RequiredScopes          []string // our addition: the scopes that would have sufficed, sorted
	StepUp                  *StepUp  // our addition: the login that would have sufficed; nil: it was not about that

	Value ast.Value // the whole decision as the policy made it; read only
}

// StepUp is a login that a policy asks for (RFC 9470).
type StepUp struct {
	ACRValues []string       // one of these classes; empty: any
	MaxAge    *time.Duration // not older than this; nil: of any age
}

// ErrUndefined is returned when the entry rule has no value for an input.
var ErrUndefined = errors.New("decision is undefined")

// Policy is one compiled, immutable policy.
type Policy struct {
	revision string
	entry    string
	deadline time.Duration
	compiler *ast.Compiler
	query    ast.Body
	store    storage.Store
	txn      storage.Transaction // one read, open for the policy's life: the data never changes
	routes   *routes
	reads    reads.Reads
	scopes   scopeSources

	asked sync.Map // path → query of Ask; an ast.Body
}

// compilePolicy builds a Policy whose entry is a path such as "envoy/authz/allow".
func compilePolicy(ctx context.Context, s sources, entry string, deadline time.Duration) (*Policy, error) {
	modules, err := s.modules()
	if err != nil {
		return nil, err
	}
	data, err := s.document()
	if err != nil {
		return nil, err
	}
	p := &Policy{revision: s.revision, entry: strings.Trim(entry, "/"), deadline: deadline}
	p.store = inmem.NewFromObjectWithOpts(data, inmem.OptReturnASTValuesOnRead(true))
	if p.txn, err = p.store.NewTransaction(ctx); err != nil {
		return nil, fmt.Errorf("opening the data: %w", err)
	}
	p.compiler = ast.NewCompiler().WithPathConflictsCheck(storage.NonEmpty(ctx, p.store, p.txn))
	if p.compiler.Compile(modules); p.compiler.Failed() {
		return nil, fmt.Errorf("compiling: %w", p.compiler.Errors)
	}
	if err := p.compileEntry(entry); err != nil {
		return nil, err
	}
	if p.routes, err = newRoutes(routeTable(data)); err != nil {
		return nil, err
	}
	p.reads = reads.Of(p.compiler)
	p.scopes = scopesOf(p.compiler, rule(entry))
	return p, p.warm(ctx)
}

// compileEntry prepares the query for the entry rule.
func (p *Policy) compileEntry(entry string) (err error) {
	ref := rule(entry)
	if len(p.compiler.GetRulesExact(ref)) == 0 {
		return fmt.Errorf("no rule %s in the policies: set policy.entry to the rule that decides, such as envoy/authz/allow", ref)
	}
	p.query, err = p.compileQuery(ref)
	return err
}

// rule is the reference to a rule, from its path.
func rule(path string) ast.Ref {
	ref := ast.Ref{ast.DefaultRootDocument}
	for part := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		ref = append(ref, ast.StringTerm(part))
	}
	return ref
}

func (p *Policy) compileQuery(ref ast.Ref) (ast.Body, error) {
	body := ast.NewBody(ast.Equality.Expr(ast.NewTerm(ref), ast.VarTerm(resultVar)))
	compiled, err := p.compiler.QueryCompiler().Compile(body)
	if err != nil {
		return nil, fmt.Errorf("compiling the query for %s: %w", ref, err)
	}
	return compiled, nil
}

const resultVar = "result"

// routeTable is data.tegata.routes, nil if there is none.
func routeTable(data map[string]any) map[string]any {
	tegata, _ := data["tegata"].(map[string]any)
	table, _ := tegata["routes"].(map[string]any)
	return table
}

// warm evaluates once, so that no request pays for what OPA builds lazily,
// and what can never work is found before it serves.
func (p *Policy) warm(ctx context.Context) error {
	_, err := p.Evaluate(ctx, ast.NewObject())
	if errors.Is(err, errDecision) {
		return fmt.Errorf("deciding an empty request: %w", err)
	}
	return nil // undefined or failing on an empty input is the policy's right
}

// Revision is the hash of its sources.
func (p *Policy) Revision() string { return p.revision }

// Entry is the path of the rule that decides.
func (p *Policy) Entry() string { return p.entry }

// Reads says which input paths a decision can depend on.
func (p *Policy) Reads() reads.Reads { return p.reads }

// Route matches method and raw path (a query is ignored) against
// data.tegata.routes, if the policy has such a table, and returns the matched
// template. "%2F" stays in its segment; a path with two readings matches nothing.
func (p *Policy) Route(method, path string) (template string, ok bool) {
	if !p.routes.any {
		return "", false
	}
	path, _, _ = strings.Cut(path, "?")
	return p.routes.match(method, path)
}

// Evaluate runs the entry rule. ErrUndefined, a decision of the wrong form, a
// runtime error and the deadline are errors: the caller refuses.
func (p *Policy) Evaluate(ctx context.Context, input ast.Value) (Result, error) {
	return p.evaluate(ctx, input, nil)
}

// evaluate tells tracer, if there is one, what it does.
func (p *Policy) evaluate(ctx context.Context, input ast.Value, tracer topdown.QueryTracer) (Result, error) {
	value, err := p.run(ctx, p.query, input, tracer)
	switch {
	case err != nil:
		return Result{}, err
	case value == nil:
		return Result{}, ErrUndefined
	}
	return decode(value)
}

// Has reports whether there is a rule at a path such as system/log/mask.
func (p *Policy) Has(path string) bool { return len(p.compiler.GetRulesExact(rule(path))) > 0 }

// Ask evaluates any rule, by its path such as system/log/mask, on an input. The
// value is nil if the rule is undefined or not there.
func (p *Policy) Ask(ctx context.Context, path string, input ast.Value) (ast.Value, error) {
	if !p.Has(path) {
		return nil, nil
	}
	query, ok := p.asked.Load(path)
	if !ok {
		compiled, err := p.compileQuery(rule(path))
		if err != nil {
			return nil, err
		}
		query, _ = p.asked.LoadOrStore(path, compiled)
	}
	return p.run(ctx, query.(ast.Body), input, nil)
}

// run runs a query that binds resultVar; nil if it is undefined. A tracer hears
// of every rule, also of those that OPA's index would leave out.
func (p *Policy) run(ctx context.Context, body ast.Body, input ast.Value, tracer topdown.QueryTracer) (value ast.Value, err error) {
	cancel := topdown.NewCancel()
	timer := time.AfterFunc(p.deadline, cancel.Cancel)
	defer timer.Stop()
	query := topdown.NewQuery(body).
		WithCompiler(p.compiler).
		WithStore(p.store).
		WithTransaction(p.txn).
		WithCancel(cancel).
		WithMetrics(opametrics.NoOp()). // else it keeps timers that nobody reads
		WithInput(ast.NewTerm(input))
	if tracer != nil {
		query = query.WithQueryTracer(tracer).WithIndexing(false)
	}
	err = query.Iter(ctx, func(qr topdown.QueryResult) error {
		value = qr[resultVar].Value
		return nil
	})
	switch {
	case topdown.IsCancel(err):
		return nil, fmt.Errorf("evaluating: no decision within %s", p.deadline)
	case err != nil:
		return nil, fmt.Errorf("evaluating: %w", err)
	}
	return value, nil
}
