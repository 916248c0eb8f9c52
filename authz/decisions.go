package authz

import (
	"context"

	"github.com/open-policy-agent/opa/v1/ast"
	"go.opentelemetry.io/otel/trace"

	"github.com/tegata/tegata/authz/check"
	"github.com/tegata/tegata/authz/decisionlog"
)

// record hands a decision to the decision log. It does not wait.
func (c Config) record(ctx context.Context, r check.Record) {
	d := r.Decision
	e := decisionlog.Event{
		ID: d.ID, Time: c.Now(), Took: d.Took, Path: r.Entry,
		Input:   func() (any, error) { return r.Input() },
		Allowed: d.Allowed, Shadowed: d.Shadowed, Reason: string(d.Reason), Detail: d.Detail, Status: d.Status, Route: d.Route,
		Size:   r.Size,
		Policy: d.Policy, PolicyRevision: d.PolicyRevision, RevocationRevision: uint64(d.RevocationRevision),
	}
	if span := trace.SpanContextFromContext(ctx); span.IsValid() {
		e.TraceID, e.SpanID = span.TraceID().String(), span.SpanID().String()
	}
	if d.Result.Value != nil {
		e.Result = d.Result.Value
	}
	if d.Token != nil {
		t := d.Token.Revocation
		e.Issuer, e.Subject, e.Client, e.Session = t.Issuer, t.Subject, t.Client, t.Session
	}
	c.Decisions.Record(e)
}

// LogRules are what the policy of that name says of events of the decision
// log: OPA's data.system.log.drop and data.system.log.mask, if it has them.
func (s *Server) LogRules(name string) decisionlog.Rules {
	engine := s.core.Load().named[name]
	if engine == nil {
		return decisionlog.Rules{}
	}
	policy := engine.Current()
	ask := func(path string) decisionlog.Rule {
		if !policy.Has(path) {
			return nil
		}
		return func(ctx context.Context, event ast.Value) (ast.Value, error) { return policy.Ask(ctx, path, event) }
	}
	return decisionlog.Rules{Drop: ask("system/log/drop"), Mask: ask("system/log/mask")}
}
