package check

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/tegata/tegata/authz/credential"
	"github.com/tegata/tegata/authz/policy"
	"github.com/tegata/tegata/authz/policy/reads"
	"github.com/tegata/tegata/authz/turns"
	"github.com/tegata/tegata/authz/verify"
	"github.com/tegata/tegata/revocation"
)

// Request is one request to decide, as its door saw it.
type Request struct {
	Method        string
	Path          string // as received, with query
	Host          string
	Scheme        string   // http or https, as the client asked
	Authorization []string // every Authorization value
	Proofs        []string // every DPoP value (RFC 9449)
	Size          int      // bytes that the request takes, about

	// Input builds the door's members of the input document (attributes,
	// parsed_path …, as OPA-Envoy has them) when a policy is to be evaluated.
	// It returns key/value pairs to which check adds token, route, revocation.
	// Only what is at the wanted paths need be there; nil wants all.
	Input func(wanted []reads.Path) ([][2]*ast.Term, error)

	Forwarded []string // every X-Forwarded-Client-Cert value

	// Certificate is the client's, as the door was given it: URL-encoded PEM,
	// empty if it showed none. It is asked for tokens that are bound to one.
	// nil: the door knows of none.
	Certificate func() string

	// Destination is the principal of the workload that the request is for, and
	// Extension a context extension of the route, for choosing among several
	// policies. nil: the door knows of none.
	Destination func() string
	Extension   func(name string) string

	// Key appends reads.AppendValue's encoding of what Input has at a path,
	// without building it if that can be helped. nil, or false: the decision
	// is not remembered.
	Key func(dst []byte, path reads.Path) ([]byte, bool)
}

// Reason is why a decision came out as it did: a closed list, for metrics,
// logs and dynamic metadata.
type Reason string

// The reasons.
const (
	Allowed           Reason = "allowed"
	NoCredential      Reason = "no_credential"                    // 401, bare challenge
	BadRequest        Reason = "invalid_request"                  // 400: two credentials, malformed
	InvalidToken      Reason = "invalid_token"                    // 401
	InvalidProof      Reason = "invalid_dpop_proof"               // 401
	UseNonce          Reason = "use_dpop_nonce"                   // 401, DPoP-Nonce
	StepUp            Reason = "insufficient_user_authentication" // 401, RFC 9470
	Revoked           Reason = "revoked"                          // 401 invalid_token
	InsufficientScope Reason = "insufficient_scope"               // 403
	PolicyDenied      Reason = "policy_denied"                    // 403
	PolicyError       Reason = "policy_error"                     // 403 (500 never leaves: fail closed)
	NoPolicy          Reason = "no_policy"                        // 403: no policy is for this request
	StaleRevocations  Reason = "stale_revocations"                // 503, Retry-After
	Overloaded        Reason = "overloaded"                       // 503: too much under way
	NotReady          Reason = "not_ready"                        // 503: no snapshot, keys or policy yet
)

// reasons lists them all, for metrics.
var reasons = []Reason{
	Allowed, NoCredential, BadRequest, InvalidToken, InvalidProof, UseNonce, StepUp, Revoked,
	InsufficientScope, PolicyDenied, PolicyError, NoPolicy, StaleRevocations, Overloaded, NotReady,
}

// Undecided reports whether the reason is that nothing could be decided, not
// that the request is refused for what it is.
func (r Reason) Undecided() bool {
	return r == StaleRevocations || r == Overloaded || r == NotReady
}

// Decision is what the door answers. What it points to is shared: read only.
type Decision struct {
	Allowed            bool
	Reason             Reason        // of a shadowed refusal, why it would have been one
	Shadowed           bool          // let through though refused: the policy only shadows
	Shadow             bool          // the policy only shadows, whatever it said
	Policy             string        // name of the policy that decided; empty if none is for the request
	Detail             string        // for the log only, never for the caller
	Status             int           // HTTP status of a refusal
	Headers            http.Header   // refusal: WWW-Authenticate, Retry-After …; allowed: added upstream
	Body               string        // refusal; a small JSON error object
	Result             policy.Result // what the policy said, if it was evaluated
	Route              string
	Token              *verify.Token // nil without a verified token
	PolicyRevision     string
	RevocationRevision revocation.Revision // of the state it was made on; 0 if it did not come to that
	ID                 string              // decision id
	Took               time.Duration

	// Made is where a door keeps what it made of this decision, for the next
	// time that it is remembered; nil if it is not. What is kept may depend on
	// nothing but Allowed, Reason, Shadowed, Shadow, Policy, Result, Token and
	// PolicyRevision.
	Made *Made
}

// Made holds one value; it is safe for concurrent use.
type Made struct{ value atomic.Pointer[any] }

// Load returns the value, or nil.
func (m *Made) Load() any {
	if v := m.value.Load(); v != nil {
		return *v
	}
	return nil
}

// Store replaces the value.
func (m *Made) Store(v any) { m.value.Store(&v) }

// OnStale says what to do without a valid lease: revocation.md, "Stale".
type OnStale string

// Deny refuses with 503; Serve accepts and sets input.revocation.stale.
// (introspect is a later issue.)
const (
	Deny  OnStale = "deny"
	Serve OnStale = "serve"
)

// Verifier turns a token as it was presented into a verified one;
// *verify.Verifier satisfies it.
type Verifier interface {
	VerifyBound(ctx context.Context, p verify.Presented) (*verify.Token, error)
	Nonce() string             // for the next proof of possession; empty if none is demanded
	ProofAlgorithms() []string // of proofs
}

// Config configures a Checker.
type Config struct {
	Realm    string // of the WWW-Authenticate challenge
	Verifier Verifier

	// ResourceMetadata is the URL of the API's metadata, said in challenges
	// (RFC 9728 §5.1); empty: none.
	ResourceMetadata string

	// TrustXFCC believes X-Forwarded-Client-Cert before the certificate of the
	// connection. Only a proxy that sets the header itself, whatever clients
	// send, makes that safe.
	TrustXFCC bool

	Policy      *policy.Engine // decides what none of Policies is for; nil: that is refused
	Shadow      bool           // Policy only shadows, see Named
	LeaveTokens bool           // to Policy, see Named
	Policies    []Named        // the first that is for a request decides
	Revocations *revocation.Set
	Trust       func(issuer string) revocation.Trust // read after a decision began
	OnStale     OnStale                              // default Deny
	NoCache     bool                                 // evaluate every request
	Turns       *turns.Turns                         // for evaluations; nil: no bound
	Record      func(context.Context, Record)        // is told of every decision; must not block
	Now         func() time.Time
	NewID       func() string // decision ids; default: 128 random bits
	Logger      *slog.Logger
	Metrics     prometheus.Registerer
}

// Checker decides requests in five named steps: credential, verify, alive,
// policy, answer.
type Checker struct {
	c       Config
	choice  choice
	metrics *metrics
	noise   *rate.Limiter // of what goes wrong on our side

	suggestions *rate.Limiter // of refusals for which scopes are looked for
}

// suggestionsASecond bounds what looking for scopes can cost.
const suggestionsASecond = 200

// Record is a decision with what it was made on.
type Record struct {
	Decision *Decision
	Entry    string                    // the rule that decided; empty if no policy did
	Size     int                       // bytes that Input keeps from being freed, about
	Input    func() (ast.Value, error) // the whole input document, built when asked for
}

// New checks the configuration.
func New(c Config) (*Checker, error) {
	if c.Verifier == nil || c.Revocations == nil || c.Trust == nil {
		return nil, errors.New("check: Verifier, Revocations and Trust are required")
	}
	switch c.OnStale {
	case "":
		c.OnStale = Deny
	case Deny, Serve:
	default:
		return nil, fmt.Errorf("check: on_stale is %q, want deny or serve", c.OnStale)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.NewID == nil {
		c.NewID = newID
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	choice, err := newChoice(c)
	if err != nil {
		return nil, fmt.Errorf("check: %w", err)
	}
	m, err := newMetrics(c.Metrics)
	if err != nil {
		return nil, err
	}
	return &Checker{
		c: c, choice: choice, metrics: m, noise: rate.NewLimiter(1, 10),
		suggestions: rate.NewLimiter(suggestionsASecond, suggestionsASecond),
	}, nil
}

// newID draws an id that names a decision in logs; it is no secret.
func newID() string {
	var id [16]byte
	binary.LittleEndian.PutUint64(id[:8], rand.Uint64())
	binary.LittleEndian.PutUint64(id[8:], rand.Uint64())
	return hex.EncodeToString(id[:])
}

// Check decides. It never returns an error: what cannot be decided is refused.
func (c *Checker) Check(ctx context.Context, r Request) Decision {
	start := c.c.Now()
	s := &steps{c: c, r: r}
	s.d.ID = c.c.NewID()
	s.run(ctx)
	s.shadow()
	s.d.Took = c.c.Now().Sub(start)
	c.metrics.decided(ctx, &s.d)
	c.log(ctx, &s.d)
	if c.c.Record != nil {
		c.c.Record(ctx, s.record())
	}
	return s.d
}

func (s *steps) record() Record {
	r := Record{Decision: &s.d, Input: s.input, Size: s.r.Size}
	if s.policy != nil {
		r.Entry = s.policy.Entry()
	}
	return r
}

// steps is one decision under way.
type steps struct {
	c      *Checker
	r      Request
	view   revocation.View
	named  *Named
	policy *policy.Policy
	stale  bool
	scheme string // by which a token was presented

	misused bool // it is bound to what was not shown
	plain   bool // the refusal lacks scopes that it could name
	d       Decision
	buf     [256]byte // of the key
}

// run takes the steps in order; each says whether the next is to be taken.
func (s *steps) run(ctx context.Context) {
	if !s.choose() {
		return
	}
	cred, ok := s.credential()
	if !ok || !s.verify(ctx, cred) {
		return
	}
	// Not sooner: verify may wait for keys, and whoever revokes waits for
	// every view that began before.
	s.view = s.c.c.Revocations.Begin()
	defer s.view.End()
	s.d.RevocationRevision = s.view.Revision()
	if s.alive() && s.decide(ctx) {
		s.answer()
	}
}

// credential finds the token. A request without one goes on: the policy may
// leave the route public.
func (s *steps) credential() (credential.Credential, bool) {
	cred, err := credential.FromRequest(s.r.Authorization, s.r.Proofs)
	if err != nil && !errors.Is(err, credential.ErrNone) {
		s.refuse(BadRequest, err)
		return credential.Credential{}, false
	}
	s.scheme = cred.Scheme
	return cred, true
}

// verify checks what the token, if there is one, says of itself.
func (s *steps) verify(ctx context.Context, cred credential.Credential) bool {
	if cred.Token == "" {
		return true
	}
	token, err := s.c.c.Verifier.VerifyBound(ctx, s.presented(cred))
	switch {
	case errors.Is(err, turns.ErrNone):
		s.refuse(Overloaded, nil)
		return false
	case errors.Is(err, verify.ErrUnavailable):
		s.refuse(NotReady, err)
		return false
	case errors.Is(err, verify.ErrProof):
		s.refuse(InvalidProof, err)
		return false
	case errors.Is(err, verify.ErrNonce):
		s.refuse(UseNonce, err)
		return false
	case errors.Is(err, verify.ErrBinding):
		s.misused = true
		s.refuse(InvalidToken, err)
		return false
	case err != nil && s.named.LeaveTokens:
		return true
	case err != nil:
		s.refuse(InvalidToken, err)
		return false
	}
	s.d.Token = token
	return true
}

// presented is the token with what it may be bound to.
func (s *steps) presented(cred credential.Credential) verify.Presented {
	p := verify.Presented{
		Token: cred.Token, Scheme: cred.Scheme, Proof: cred.Proof,
		Target: verify.Target{Method: s.r.Method, Scheme: s.r.Scheme, Host: s.r.Host, Path: s.r.Path},
	}
	if s.r.Certificate != nil || len(s.r.Forwarded) > 0 {
		p.Certificate = s.certificate
	}
	return p
}

// certificate is the SHA-256 of the client's certificate, nil if there is none
// that could be believed.
func (s *steps) certificate() []byte {
	certificate := ""
	if s.r.Certificate != nil {
		certificate = s.r.Certificate()
	}
	var hash []byte
	var err error
	switch {
	case s.c.c.TrustXFCC && len(s.r.Forwarded) > 0: // the connection's own is the proxy's
		hash, err = credential.ForwardedHash(s.r.Forwarded)
	case certificate != "":
		hash, err = credential.CertificateHash(certificate)
	}
	if err != nil {
		s.c.c.Logger.Debug("client certificate not read", "error", err)
		return nil
	}
	return hash
}

// alive checks that no record kills the token, if there is one, and that our
// knowing so counts.
func (s *steps) alive() bool {
	t := s.d.Token
	if t == nil {
		s.stale = s.c.c.Trust("") != revocation.Fresh
		return true
	}
	if !s.trusted(s.c.c.Trust(t.Revocation.Issuer)) {
		return false
	}
	// A Set that has not moved since the token was found alive has nothing
	// new to say. Stored is the generation and one, so that zero is never.
	generation := s.view.Generation() + 1
	if t.AliveAt.Load() == generation {
		return true
	}
	if record, dead := s.view.Revoked(t.Revocation); dead {
		s.refuse(Revoked, byRecord(record))
		return false
	}
	t.AliveAt.Store(generation)
	return true
}

// trusted reports whether what is known of revocations counts.
func (s *steps) trusted(t revocation.Trust) bool {
	switch t {
	case revocation.Fresh:
		return true
	case revocation.Stale:
		s.stale = true
		if s.c.c.OnStale == Serve {
			return true
		}
		s.refuse(StaleRevocations, nil)
	default:
		s.refuse(NotReady, errors.New("no snapshot of the revocations yet"))
	}
	return false
}

func byRecord(r revocation.Record) error {
	return fmt.Errorf("by record %d: %s", r.Revision, r.Reason)
}

// decide asks the policy.
func (s *steps) decide(ctx context.Context) bool {
	s.d.Route, _ = s.policy.Route(s.r.Method, s.r.Path)
	key, keyed := s.key(s.buf[:0])
	if keyed {
		if m := recall(s.d.Token, s.policy, key); m != nil {
			s.d.Result, s.d.Made = m.result, &m.made
			s.c.metrics.cached.Inc()
			return true
		}
	}
	err := s.evaluate(ctx)
	if errors.Is(err, turns.ErrNone) {
		s.refuse(Overloaded, nil)
		return false
	}
	s.c.metrics.evaluated.Inc()
	if err != nil {
		s.refuse(PolicyError, err)
		return false
	}
	if keyed && !s.plain {
		s.d.Made = &remember(s.d.Token, s.policy, key, s.d.Result).made
	}
	return true
}

// evaluate evaluates the policy when it is this request's turn.
func (s *steps) evaluate(ctx context.Context) error {
	if err := s.c.c.Turns.Take(ctx); err != nil {
		return err
	}
	defer s.c.c.Turns.Give()
	input, err := s.read()
	if err != nil {
		return err
	}
	s.d.Result, err = s.policy.Evaluate(ctx, input)
	if err == nil && !s.d.Result.Allowed && s.d.Token != nil && len(s.d.Result.RequiredScopes) == 0 {
		s.suggest(ctx, input)
	}
	return err
}

// suggest finds the scopes that would do, for a policy that does not name them
// itself. It becomes part of the result, and is remembered with it.
//
// It costs some evaluations more, which nobody shall be able to provoke without
// end: beyond a rate, a refusal names no scopes, and is not remembered so.
func (s *steps) suggest(ctx context.Context, input ast.Value) {
	if !s.c.suggestions.Allow() {
		s.plain = true
		return
	}
	if would, ok := s.policy.Suggest(ctx, input); ok {
		s.d.Result.RequiredScopes = would.Scopes
	}
}

// Keys of the members that check adds to the door's.
var (
	keyToken      = ast.StringTerm("token")
	keyRoute      = ast.StringTerm("route")
	keyRevocation = ast.StringTerm("revocation")
	keyStale      = ast.StringTerm("stale")
	keyRevision   = ast.StringTerm("revision")
)

// read is as much of the document as the policy can read. That is all of it,
// if nobody can say what it reads; else building the rest would cost more than
// the evaluation.
func (s *steps) read() (ast.Value, error) {
	what := s.policy.Reads()
	if s.c.c.NoCache || !what.Known() {
		return s.input()
	}
	wanted := make([]reads.Path, 0, len(what.Paths))
	var token *ast.Term
	for _, path := range what.Paths {
		switch path[0] {
		case "token":
			if len(path) == 1 || path[1] == "claims" {
				token = s.document()
			}
		case "route", "revocation":
		default:
			wanted = append(wanted, path)
		}
	}
	if token == nil && s.d.Token != nil {
		token = s.d.Token.Brief()
	}
	return s.complete(wanted, token)
}

// input is the whole document.
func (s *steps) input() (ast.Value, error) { return s.complete(nil, s.document()) }

// document is that of the token, or nil.
func (s *steps) document() *ast.Term {
	if s.d.Token == nil {
		return nil
	}
	return s.d.Token.Document()
}

// complete adds to what the door has.
func (s *steps) complete(wanted []reads.Path, token *ast.Term) (ast.Value, error) {
	members, err := s.r.Input(wanted)
	if err != nil {
		return nil, fmt.Errorf("building the input: %w", err)
	}
	if token != nil {
		members = append(members, [2]*ast.Term{keyToken, token})
	}
	if s.d.Route != "" {
		members = append(members, [2]*ast.Term{keyRoute, ast.StringTerm(s.d.Route)})
	}
	members = append(members, [2]*ast.Term{keyRevocation, ast.ObjectTerm(
		[2]*ast.Term{keyStale, ast.InternedTerm(s.stale)},
		[2]*ast.Term{keyRevision, ast.UIntNumberTerm(uint64(s.d.RevocationRevision))},
	)})
	return ast.NewObject(members...), nil
}

// log writes one record for a refusal: what went wrong on our side at a level
// that is seen, at most so often; the rest for those who look.
func (c *Checker) log(ctx context.Context, d *Decision) {
	level := slog.LevelDebug
	if (d.Reason == PolicyError || d.Reason == NotReady || d.Reason == Overloaded) && c.noise.Allow() {
		level = slog.LevelWarn
	}
	what := "refused"
	if d.Shadowed {
		what, level = "would have been refused", slog.LevelInfo
	}
	if d.Reason == Allowed || !c.c.Logger.Enabled(ctx, level) {
		return
	}
	c.c.Logger.Log(ctx, level, what, "policy", d.Policy, "reason", d.Reason, "detail", d.Detail, "status", d.Status,
		"route", d.Route, "decision_id", d.ID, "policy_revision", d.PolicyRevision)
}
