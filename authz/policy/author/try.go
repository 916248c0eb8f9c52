package author

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/tegata/tegata/authz/check"
	"github.com/tegata/tegata/authz/policy"
	"github.com/tegata/tegata/authz/verify"
	"github.com/tegata/tegata/revocation"
)

// Answer is how authz would decide a Question.
type Answer struct {
	Allowed bool         `json:"allowed"`
	Reason  check.Reason `json:"reason"`
	Status  int          `json:"status,omitempty"` // of a refusal
	Route   string       `json:"route,omitempty"`

	// Headers are those of a refusal; of an allow, those that the request to
	// the upstream gets.
	Headers                 http.Header       `json:"headers,omitempty"`
	ResponseHeadersToAdd    http.Header       `json:"response_headers_to_add,omitempty"`
	RequestHeadersToRemove  []string          `json:"request_headers_to_remove,omitempty"`
	QueryParametersToSet    map[string]string `json:"query_parameters_to_set,omitempty"`
	QueryParametersToRemove []string          `json:"query_parameters_to_remove,omitempty"`
	DynamicMetadata         map[string]any    `json:"dynamic_metadata,omitempty"`
	Body                    string            `json:"body,omitempty"`

	Reasons        []string `json:"reasons,omitempty"`         // the policy's
	RequiredScopes []string `json:"required_scopes,omitempty"` // what to ask a token for
	MissingScopes  []string `json:"missing_scopes,omitempty"`  // the fewest that would have to be added
	Detail         string   `json:"detail,omitempty"`          // what authz would log
	PolicyRevision string   `json:"policy_revision"`
}

// Try decides one made-up request as authz would: the same steps, the same
// input document, the same answer. Only the token is believed without a
// signature, and nothing is revoked.
func Try(ctx context.Context, q Question) (Answer, error) {
	r, err := rehearse(ctx, q)
	if err != nil {
		return Answer{}, err
	}
	return r.answer(ctx), nil
}

// rehearsal is a Checker with one request, and what came of it.
type rehearsal struct {
	policy   *policy.Policy
	checker  *check.Checker // remembers nothing
	request  check.Request
	asked    asked
	decision check.Decision
	input    ast.Value // nil if the policy was not asked
}

func rehearse(ctx context.Context, q Question) (*rehearsal, error) {
	a, err := q.ask()
	if err != nil {
		return nil, err
	}
	r := &rehearsal{asked: a}
	if r.request, err = a.request(); err != nil {
		return nil, err
	}
	engine, err := policy.New(ctx, policy.Config{Dir: q.Dir, Entry: q.Entry, Deadline: patience})
	if err != nil {
		return nil, err
	}
	r.policy = engine.Current()
	var input func() (ast.Value, error)
	r.checker, err = newChecker(q, engine, func(c *check.Config) {
		c.NoCache = true
		c.Record = func(_ context.Context, made check.Record) { input = made.Input }
	})
	if err != nil {
		return nil, err
	}
	r.decision = r.checker.Check(ctx, r.request)
	if r.reachedPolicy() {
		r.input, err = input()
	}
	return r, err
}

// patience is the deadline of one evaluation: authz's default and more, for a
// machine that is busy with other things.
const patience = time.Second

// newChecker is a Checker with nothing but a policy.
func newChecker(q Question, engine *policy.Engine, change func(*check.Config)) (*check.Checker, error) {
	c := check.Config{
		Realm: "tegata", Verifier: &believer{scopeClaim: q.ScopeClaim}, Policy: engine, Now: q.Now,
		Revocations: revocation.NewSet(), Trust: func(string) revocation.Trust { return revocation.Fresh },
	}
	change(&c)
	return check.New(c)
}

// believer believes any token. It remembers the last, as a verifier would.
type believer struct {
	scopeClaim string
	compact    string
	token      *verify.Token
}

// Nonce and ProofAlgorithms are for tokens that are bound to a key; here no
// proof is asked for.
func (b *believer) Nonce() string             { return "" }
func (b *believer) ProofAlgorithms() []string { return nil }

// VerifyBound believes the token.
func (b *believer) VerifyBound(_ context.Context, p verify.Presented) (*verify.Token, error) {
	compact := p.Token
	if b.token != nil && compact == b.compact {
		return b.token, nil
	}
	token, err := verify.Unchecked(compact, b.scopeClaim)
	if err != nil {
		return nil, err
	}
	b.compact, b.token = compact, token
	return token, nil
}

// reachedPolicy reports whether the policy was asked at all.
func (r *rehearsal) reachedPolicy() bool {
	switch r.decision.Reason {
	case check.Allowed, check.PolicyDenied, check.PolicyError, check.NoCredential, check.InsufficientScope:
		return true
	}
	return false
}

func (r *rehearsal) answer(ctx context.Context) Answer {
	d := &r.decision
	a := Answer{
		Allowed: d.Allowed, Reason: d.Reason, Status: d.Status, Route: d.Route, Headers: d.Headers,
		ResponseHeadersToAdd: d.Result.ResponseHeadersToAdd, RequestHeadersToRemove: d.Result.RequestHeadersToRemove,
		QueryParametersToSet: d.Result.QueryParametersToSet, QueryParametersToRemove: d.Result.QueryParametersToRemove,
		DynamicMetadata: d.Result.DynamicMetadata, Body: d.Body, Reasons: d.Result.Reasons,
		RequiredScopes: d.Result.RequiredScopes, PolicyRevision: d.PolicyRevision,
	}
	if d.Reason == check.PolicyError || !r.reachedPolicy() {
		a.Detail = d.Detail
	}
	if s, ok := r.suggest(ctx); ok {
		a.MissingScopes = s.Missing
		if len(a.RequiredScopes) == 0 {
			a.RequiredScopes = s.Scopes
		}
	}
	return a
}

// suggest derives which scopes would have helped, if the policy refused a token.
func (r *rehearsal) suggest(ctx context.Context) (policy.Suggestion, bool) {
	if r.input == nil || r.decision.Allowed {
		return policy.Suggestion{}, false
	}
	return r.policy.Suggest(ctx, r.input)
}

// Advice is the smallest change that would have allowed a refused request.
type Advice struct {
	Token  bool     `json:"token"`            // a token is missing
	Scopes []string `json:"scopes,omitempty"` // are missing from the token
}

// advise finds the smallest change. nil: none that is known to help.
func (r *rehearsal) advise(ctx context.Context, q Question) (*Advice, error) {
	if s, ok := r.suggest(ctx); ok {
		return &Advice{Scopes: s.Missing}, nil
	}
	if r.asked.bearer || r.decision.Allowed || r.input == nil {
		return nil, nil
	}
	q.Scopes = []string{} // a token that may do nothing
	with, err := rehearse(ctx, q)
	if err != nil {
		return nil, err
	}
	if with.decision.Allowed {
		return &Advice{Token: true}, nil
	}
	if s, ok := with.suggest(ctx); ok {
		return &Advice{Token: true, Scopes: s.Missing}, nil
	}
	return nil, nil
}

// Explanation is an Answer with how the policy came to it.
type Explanation struct {
	Answer
	Decided []string      `json:"decided_by,omitempty"` // the places of the rules whose value is the decision
	Rules   []policy.Step `json:"rules,omitempty"`      // in the order in which they were asked for
	Advice  *Advice       `json:"advice,omitempty"`
}

// Explain decides as Try does and says which rules decided, and the smallest
// change that would have allowed what was refused.
func Explain(ctx context.Context, q Question) (Explanation, error) {
	r, err := rehearse(ctx, q)
	if err != nil {
		return Explanation{}, err
	}
	e := Explanation{Answer: r.answer(ctx)}
	if r.input == nil {
		return e, nil
	}
	e.Rules, _, err = r.policy.Explain(ctx, r.input)
	if err != nil && !errors.Is(err, policy.ErrUndefined) && r.decision.Reason != check.PolicyError {
		return Explanation{}, err // it was decided a moment ago
	}
	for _, step := range e.Rules {
		at := step.Place.String()
		if step.Depth == 0 && len(step.Values) > 0 && !slices.Contains(e.Decided, at) {
			e.Decided = append(e.Decided, at)
		}
	}
	e.Advice, err = r.advise(ctx, q)
	return e, err
}
