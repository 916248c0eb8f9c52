package policy

import (
	"context"
	"io/fs"
	"log/slog"
	"net/http"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/prometheus/client_golang/prometheus"
)

// Config configures an Engine.
type Config struct {
	Dir      string        // directory of .rego and data files (.yaml, .json); watched for changes
	FS       fs.FS         // used instead of Dir, not watched (the embedded policies)
	Entry    string        // rule to evaluate, default "envoy/authz/allow" as OPA-Envoy
	Deadline time.Duration // of one evaluation, default 100 ms
	Logger   *slog.Logger
	Metrics  prometheus.Registerer
}

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
	RequiredScopes          []string // our addition: the scopes that would have sufficed
}

// Engine holds the compiled policy and swaps it atomically.
type Engine struct{}

// New loads and compiles; the first load must succeed.
func New(ctx context.Context, c Config) (*Engine, error) { panic("unbuilt") }

// Run watches the directory and reloads; a broken policy keeps the last good
// one serving and turns up in Status, log and metrics.
func (e *Engine) Run(ctx context.Context) error { panic("unbuilt") }

// Reload loads now.
func (e *Engine) Reload(ctx context.Context) error { panic("unbuilt") }

// Status of the engine.
type Status struct {
	Revision  string // hash of what is serving, 12 hex digits
	LoadedAt  time.Time
	LastError error // of the newest attempt, nil if it serves
}

// Status returns the state.
func (e *Engine) Status() Status { panic("unbuilt") }

// Current returns the policy serving now; one request uses one Policy throughout.
func (e *Engine) Current() *Policy { panic("unbuilt") }

// Policy is one compiled, immutable policy.
type Policy struct{}

// Revision is the hash of its sources.
func (p *Policy) Revision() string { panic("unbuilt") }

// Route matches method and decoded path segments against data.tegata.routes
// (if the policy has such a table) and returns the matched template.
// Raw path: "%2F" in a segment stays one segment.
func (p *Policy) Route(method, path string) (template string, ok bool) { panic("unbuilt") }

// Evaluate runs the entry rule. Undefined, a wrong type, a runtime error and
// the deadline are errors: the caller refuses.
func (p *Policy) Evaluate(ctx context.Context, input ast.Value) (Result, error) { panic("unbuilt") }
