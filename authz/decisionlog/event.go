package decisionlog

import (
	"context"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
)

// Event is one decision, as whoever decided knows it. It never holds a token
// or the value of an Authorization header but in Input, where it is erased.
type Event struct {
	ID   string    // decision id
	Time time.Time // of the decision
	Took time.Duration
	Path string // rule that was asked, such as envoy/authz/allow

	// Input builds the input document: an ast.Value, or what encoding/json
	// can encode. It is called at most once, on another goroutine, after
	// Record has returned. nil: there is none.
	Input func() (any, error)

	Result   any  // likewise, and read later: what it points to must not change; nil: there is none
	Allowed  bool // what the caller was told
	Shadowed bool // let through although refused; Reason is the refusal's
	Reason   string
	Detail   string // of a refusal, for the operator; no token
	Status   int    // HTTP status of a refusal
	Route    string // matched template

	Policy             string // name
	PolicyRevision     string
	RevocationRevision uint64

	Issuer, Subject, Client string // of the token
	Session                 string

	TraceID, SpanID string // W3C, in hex
	RequestedBy     string // address of the caller
	RequestID       uint64

	Size int // bytes that Input keeps from being freed, about
}

// Rule asks a policy about an event, whose document (without secret headers)
// is the rule's input. The value is nil if the rule is undefined.
type Rule func(ctx context.Context, event ast.Value) (ast.Value, error)

// Rules are a policy's, in OPA's terms; each may be nil.
type Rules struct {
	Drop Rule // data.system.log.drop: true if the event is not to be logged
	Mask Rule // data.system.log.mask: paths to remove, or objects {op, path, value}
}

// weight is what the event counts as in the queue, in bytes.
func (e *Event) weight() int64 { return int64(max(e.Size, minWeight)) }

// reason is the reason, which a caller may have left to Allowed.
func (e *Event) reason() string {
	switch {
	case e.Reason != "":
		return e.Reason
	case e.Allowed && !e.Shadowed:
		return allowed
	}
	return refused
}

// document is an event in OPA's format (v1/plugins/logs.EventV1), members in
// its order. What OPA does not know is in custom, which it has for that.
type document struct {
	Labels      map[string]string `json:"labels"`
	DecisionID  string            `json:"decision_id"`
	TraceID     string            `json:"trace_id,omitempty"`
	SpanID      string            `json:"span_id,omitempty"`
	Bundles     map[string]bundle `json:"bundles,omitempty"`
	Path        string            `json:"path,omitempty"`
	Input       *any              `json:"input,omitempty"`
	Result      *any              `json:"result,omitempty"`
	Erased      []string          `json:"erased,omitempty"`
	Masked      []string          `json:"masked,omitempty"`
	Error       *problem          `json:"error,omitempty"`
	RequestedBy string            `json:"requested_by,omitempty"`
	Timestamp   time.Time         `json:"timestamp"`
	Metrics     map[string]int64  `json:"metrics,omitempty"`
	RequestID   uint64            `json:"req_id,omitempty"`
	Custom      custom            `json:"custom"`
}

type bundle struct {
	Revision string `json:"revision,omitempty"`
}

type problem struct {
	Message string `json:"message"`
}

// custom is what Tegata knows besides.
type custom struct {
	Allowed            bool   `json:"allowed"`
	Reason             string `json:"reason"`
	Detail             string `json:"detail,omitempty"`
	Shadowed           bool   `json:"shadowed,omitempty"`
	Status             int    `json:"status,omitempty"`
	Route              string `json:"route,omitempty"`
	Policy             string `json:"policy,omitempty"`
	RevocationRevision uint64 `json:"revocation_revision,omitempty"`
	Issuer             string `json:"issuer,omitempty"`
	Subject            string `json:"subject,omitempty"`
	Client             string `json:"client,omitempty"`
	Session            string `json:"session,omitempty"`
}

// newDocument is the event but for input and result.
func newDocument(e *Event, labels map[string]string) *document {
	d := &document{
		Labels: labels, DecisionID: e.ID, TraceID: e.TraceID, SpanID: e.SpanID, Path: e.Path,
		RequestedBy: e.RequestedBy, Timestamp: e.Time.UTC(), RequestID: e.RequestID,
		Custom: custom{
			Allowed: e.Allowed, Reason: e.reason(), Detail: e.Detail, Shadowed: e.Shadowed, Status: e.Status,
			Route: e.Route, Policy: e.Policy, RevocationRevision: e.RevocationRevision,
			Issuer: e.Issuer, Subject: e.Subject, Client: e.Client, Session: e.Session,
		},
	}
	if e.PolicyRevision != "" {
		d.Bundles = map[string]bundle{e.Policy: {e.PolicyRevision}}
	}
	if e.Took > 0 {
		d.Metrics = map[string]int64{"timer_server_handler_ns": e.Took.Nanoseconds()}
	}
	return d
}
