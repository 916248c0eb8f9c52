package check

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/tegata/tegata/authz/policy"
	"github.com/tegata/tegata/authz/verify"
	"github.com/tegata/tegata/revocation"
)

// Request is one request to decide, as its door saw it.
type Request struct {
	Method        string
	Path          string // as received, with query
	Host          string
	Authorization []string // every Authorization value

	// Input builds the door's members of the input document (attributes,
	// parsed_path …, as OPA-Envoy has them) when a policy is to be evaluated.
	// It returns key/value pairs to which check adds token, route, revocation.
	Input func() ([][2]*ast.Term, error)
}

// Reason is why a decision came out as it did: a closed list, for metrics,
// logs and dynamic metadata.
type Reason string

// The reasons.
const (
	Allowed           Reason = "allowed"
	NoCredential      Reason = "no_credential"      // 401, bare challenge
	BadRequest        Reason = "invalid_request"    // 400: two credentials, malformed
	InvalidToken      Reason = "invalid_token"      // 401
	Revoked           Reason = "revoked"            // 401 invalid_token
	InsufficientScope Reason = "insufficient_scope" // 403
	PolicyDenied      Reason = "policy_denied"      // 403
	PolicyError       Reason = "policy_error"       // 403 (500 never leaves: fail closed)
	StaleRevocations  Reason = "stale_revocations"  // 503, Retry-After
	NotReady          Reason = "not_ready"          // 503: no snapshot, keys or policy yet
)

// Decision is what the door answers.
type Decision struct {
	Allowed            bool
	Reason             Reason
	Detail             string        // for the log only, never for the caller
	Status             int           // HTTP status of a refusal
	Headers            http.Header   // refusal: WWW-Authenticate, Retry-After …; allowed: added upstream
	Body               string        // refusal; a small JSON error object
	Result             policy.Result // what the policy said, if it was evaluated
	Route              string
	Token              *verify.Token // nil without a verified token
	PolicyRevision     string
	RevocationRevision revocation.Revision
	ID                 string // decision id
	Took               time.Duration
}

// OnStale says what to do without a valid lease: revocation.md, "Stale".
type OnStale string

// Deny refuses with 503; Serve accepts and sets input.revocation.stale.
// (introspect is a later issue.)
const (
	Deny  OnStale = "deny"
	Serve OnStale = "serve"
)

// Config configures a Checker.
type Config struct {
	Realm       string // of the WWW-Authenticate challenge
	Verifier    *verify.Verifier
	Policy      *policy.Engine
	Revocations *revocation.Set
	Trust       func(issuer string) revocation.Trust
	OnStale     OnStale
	Now         func() time.Time
	Logger      *slog.Logger
	Metrics     prometheus.Registerer
}

// Checker decides requests in five named steps: credential, verify, alive,
// route and policy, answer.
type Checker struct{}

// New checks the configuration.
func New(c Config) (*Checker, error) { panic("unbuilt") }

// Check decides. It never returns an error: what cannot be decided is refused.
func (c *Checker) Check(ctx context.Context, r Request) Decision { panic("unbuilt") }
