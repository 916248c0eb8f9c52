package policy

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/tegata/tegata/authz/policy/reads"
)

// Suggestion says which scopes would have turned a refusal into an allow.
type Suggestion struct {
	// Missing is what the token lacks: with exactly these added it is allowed,
	// and with fewer of the scopes that the policy knows it is not. Sorted.
	Missing []string
	// Scopes is what to ask for: a token that is otherwise the same is allowed
	// with exactly these, and with none of them left out. Sorted.
	Scopes []string
}

// Limits of the search for a Suggestion.
const (
	maxCandidates  = 64  // scopes that are looked at
	maxEvaluations = 300 // of the policy, for one Suggestion
	maxSingles     = 12  // scopes that are tried alone when all together do not help
)

// Suggest derives a Suggestion for an input that the policy has refused. ok is
// false if there is none: without a token, if no scopes would do, or if the
// search for the smallest set would take more than maxEvaluations evaluations
// or the policy's deadline. A refusal that has nothing to do with scopes costs
// one evaluation, as a rule; a policy that never looks at them costs nothing.
// The answer depends on what Evaluate's does, so whoever remembers one may
// remember the other.
//
// Candidates are the strings that the policy, or its data, holds against
// input.token.scopes (or the claims scope and scp). A policy that computes the
// names of scopes has no such strings; one that refuses some scopes may get no
// suggestion. What is suggested is always true: every set in it was evaluated.
func (p *Policy) Suggest(ctx context.Context, input ast.Value) (s Suggestion, ok bool) {
	if !p.scopes.matter || slices.ContainsFunc(p.reads.Findings, func(f reads.Finding) bool { return f.Impure }) {
		return Suggestion{}, false
	}
	document, granted, ok := tokenOf(input)
	if !ok {
		return Suggestion{}, false
	}
	known := p.scopes.candidates(ctx, p, document)
	candidates := slices.DeleteFunc(slices.Clone(known), func(c string) bool { return slices.Contains(granted, c) })
	if len(candidates) == 0 || len(candidates) > maxCandidates {
		return Suggestion{}, false
	}
	q := search{ctx: ctx, policy: p, input: document, granted: granted, until: time.Now().Add(p.deadline)}
	missing := q.smallest(candidates)
	if missing == nil {
		return Suggestion{}, false
	}
	s = Suggestion{Missing: missing, Scopes: q.sufficient(slices.Concat(missing, granted), known)}
	slices.Sort(s.Missing)
	slices.Sort(s.Scopes)
	return s, true
}

// search evaluates one input with other scopes.
type search struct {
	ctx     context.Context
	policy  *Policy
	input   ast.Object
	granted []string
	until   time.Time
	spent   int // evaluations
}

// exhausted reports whether no more may be evaluated.
func (q *search) exhausted() bool {
	return q.spent >= maxEvaluations || q.ctx.Err() != nil || time.Now().After(q.until)
}

// allows reports whether a token with exactly these scopes is allowed. An
// exhausted search finds nothing more.
func (q *search) allows(scopes []string) bool {
	if q.exhausted() {
		return false
	}
	q.spent++
	r, err := q.policy.Evaluate(q.ctx, withScopes(q.input, scopes))
	return err == nil && r.Allowed
}

func (q *search) allowsAdded(scopes []string) bool { return q.allows(slices.Concat(q.granted, scopes)) }

// smallest returns the smallest of the sets that suffice when added; nil if
// there is none, or no proof that it is the smallest.
func (q *search) smallest(candidates []string) []string {
	if !q.allowsAdded(candidates) {
		return q.single(candidates)
	}
	// No scope of this set can go, so the smallest set is no larger.
	upper := q.reduce(candidates, q.allowsAdded)
	for size := 1; size < len(upper); size++ {
		if found := q.ofSize(candidates, nil, size); found != nil {
			return found
		}
	}
	if q.exhausted() {
		return nil
	}
	return upper
}

// single is for policies that refuse some of the candidates.
func (q *search) single(candidates []string) []string {
	if len(candidates) > maxSingles {
		return nil
	}
	return q.ofSize(candidates, nil, 1)
}

// reduce leaves out what can go, one after the other.
func (q *search) reduce(set []string, allows func([]string) bool) []string {
	set = slices.Clone(set)
	for i := len(set) - 1; i >= 0; i-- {
		if less := slices.Delete(slices.Clone(set), i, i+1); allows(less) {
			set = less
		}
	}
	return set
}

// ofSize tries every set of so many more of the candidates.
func (q *search) ofSize(candidates, taken []string, size int) []string {
	if size == 0 {
		if q.allowsAdded(taken) {
			return slices.Clone(taken)
		}
		return nil
	}
	for i, c := range candidates {
		if q.exhausted() {
			return nil
		}
		if found := q.ofSize(candidates[i+1:], append(taken, c), size-1); found != nil {
			return found
		}
	}
	return nil
}

// sufficient leaves out of a set that is allowed what the policy does not need;
// first, together, the scopes that it does not know.
func (q *search) sufficient(set, known []string) []string {
	if less := slices.DeleteFunc(slices.Clone(set), func(s string) bool { return !slices.Contains(known, s) }); q.allows(less) {
		set = less
	}
	return q.reduce(set, q.allows)
}

// Keys of the input document below the token.
var (
	keyToken  = ast.StringTerm("token")
	keyScopes = ast.StringTerm("scopes")
	keyClaims = ast.StringTerm("claims")

	scopeClaims = []*ast.Term{ast.StringTerm("scope"), ast.StringTerm("scp")}
)

// tokenOf returns the document and the scopes of its token; ok is false if it
// has none.
func tokenOf(input ast.Value) (document ast.Object, granted []string, ok bool) {
	document, ok = input.(ast.Object)
	if !ok {
		return nil, nil, false
	}
	scopes, err := document.Find(ast.Ref{keyToken, keyScopes})
	if err != nil {
		return nil, nil, false
	}
	granted, err = stringsOf(scopes)
	return document, granted, err == nil
}

// withScopes returns the document that a token with other scopes would have
// had, which says so in its claims too.
func withScopes(document ast.Object, scopes []string) ast.Value {
	set := ast.NewSetWithCapacity(len(scopes))
	for _, s := range scopes {
		set.Add(ast.StringTerm(s))
	}
	token, _ := document.Get(keyToken).Value.(ast.Object) // tokenOf has looked
	token = replaced(token, keyScopes, ast.NewTerm(set))
	if claims := token.Get(keyClaims); claims != nil {
		if object, ok := claims.Value.(ast.Object); ok {
			token = replaced(token, keyClaims, ast.NewTerm(claimsWith(object, scopes)))
		}
	}
	return replaced(document, keyToken, ast.NewTerm(token))
}

func claimsWith(claims ast.Object, scopes []string) ast.Object {
	for _, key := range scopeClaims {
		old := claims.Get(key)
		if old == nil {
			continue
		}
		value := ast.StringTerm(strings.Join(scopes, " "))
		if _, isArray := old.Value.(*ast.Array); isArray {
			terms := make([]*ast.Term, len(scopes))
			for i, s := range scopes {
				terms[i] = ast.StringTerm(s)
			}
			value = ast.ArrayTerm(terms...)
		}
		claims = replaced(claims, key, value)
	}
	return claims
}

// replaced returns a copy of an object, which is shared, with another member.
func replaced(object ast.Object, key, value *ast.Term) ast.Object {
	members := make([][2]*ast.Term, 0, object.Len()+1)
	object.Foreach(func(k, v *ast.Term) {
		if k.Value.Compare(key.Value) != 0 {
			members = append(members, [2]*ast.Term{k, v})
		}
	})
	return ast.NewObject(append(members, [2]*ast.Term{key, value})...)
}
