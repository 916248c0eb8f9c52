// Package extproc is the door for requests that outlive their check:
// websockets, gRPC streams, server-sent events. ext_authz asks once, before
// such a request begins; this door holds it and ends it when its token dies.
//
// It is an Envoy ext_proc server that is asked for nothing but the headers of
// the request and the trailers of the response. Between the two Envoy keeps
// the call open, and no byte of a body passes through it; the call costs
// nothing while nothing happens. To end the request it answers at once: Envoy
// then sends the refusal, if the response has not begun, and else resets the
// request on both sides.
//
// It decides nothing. What of the token has to be known comes from ext_authz,
// in the dynamic metadata of its answer (extauthz.Config.Identify), so that it
// is the same whatever kind of token it is and however it was presented.
package extproc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	procv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/tegata/tegata/authz/check"
	"github.com/tegata/tegata/authz/extauthz"
	"github.com/tegata/tegata/authz/verify"
)

// Config configures a Server. Still is required.
type Config struct {
	// Still decides again about the token of a request that was let through.
	Still func(verify.Identity) check.Decision

	// Fresh reports whether what Still stands on can be relied on. While it
	// cannot, every request is decided about again and again.
	Fresh func() bool

	Max     int // requests held at once, default 100,000; more are refused with 503
	Logger  *slog.Logger
	Metrics prometheus.Registerer
}

const (
	defaultMax = 100_000

	// Every is how often Run looks whether what Still stands on is fresh. A
	// caller who says how fresh it is must look further ahead than that.
	Every = 50 * time.Millisecond

	// allEvery is how often Run decides about all, for what nobody is told of: a
	// key that its issuer has withdrawn, a clock that was set.
	allEvery = time.Second

	// patience bounds how long Recheck waits for Envoy to have ended a request.
	patience = time.Second

	// maxMessages is how many messages Envoy may send of a request, of which
	// those that are wanted are two. More would be a body, whose answers could
	// fill what may be sent until nothing can be sent any more.
	maxMessages = 8
)

// Server is the ext_proc service.
type Server struct {
	procv3.UnimplementedExternalProcessorServer

	c    Config
	held prometheus.Gauge
	over *prometheus.CounterVec

	mu    sync.Mutex
	holds map[*hold]struct{}
}

// New checks the configuration.
func New(c Config) (*Server, error) {
	if c.Still == nil || c.Fresh == nil {
		return nil, errors.New("extproc: Still and Fresh are required")
	}
	if c.Max == 0 {
		c.Max = defaultMax
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{
		c: c, holds: make(map[*hold]struct{}),
		held: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tegata_held_requests", Help: "Long-lived requests that end when their token dies.",
		}),
		over: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tegata_held_requests_ended_total", Help: "Long-lived requests that were ended, by reason.",
		}, []string{"reason"}),
	}
	for _, why := range []check.Reason{check.Revoked, check.InvalidToken, check.StaleRevocations, check.NotReady} {
		s.over.WithLabelValues(string(why)) // the first of each counts as a rise
	}
	if c.Metrics == nil {
		return s, nil
	}
	for _, m := range []prometheus.Collector{s.held, s.over} {
		if err := c.Metrics.Register(m); err != nil {
			return nil, fmt.Errorf("extproc: registering metrics: %w", err)
		}
	}
	return s, nil
}

// Register adds the service to a gRPC server.
func (s *Server) Register(r grpc.ServiceRegistrar) { procv3.RegisterExternalProcessorServer(r, s) }

// Run decides again about every held request now and then, and at once while
// what decisions stand on is not fresh, until ctx ends. It waits for nobody.
func (s *Server) Run(ctx context.Context) {
	tick := time.NewTicker(Every)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			if s.c.Fresh() && now.Sub(last) < allEvery {
				continue
			}
			last = now
		}
		s.endTheDead()
	}
}

// Recheck decides again about every held request, and ends those whose token
// is dead. It returns when Envoy has ended them too, or did not for a second.
func (s *Server) Recheck(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for _, h := range s.endTheDead() {
		select {
		case <-h.gone:
		case <-ctx.Done():
			return
		}
	}
}

// endTheDead returns those that it has ended. Those that were ended before are
// not waited for again: an Envoy that hangs must not slow down each revocation.
func (s *Server) endTheDead() []*hold {
	var ended []*hold
	for _, h := range s.all() {
		if s.recheck(h) == ending {
			ended = append(ended, h)
		}
	}
	return ended
}

func (s *Server) all() []*hold {
	s.mu.Lock()
	defer s.mu.Unlock()
	holds := make([]*hold, 0, len(s.holds))
	for h := range s.holds {
		holds = append(holds, h)
	}
	return holds
}

// fate is what becomes of a hold.
type fate int

const (
	goingOn fate = iota
	ending       // it has just been told
	over         // it was told before, or has gone by itself
)

func (s *Server) recheck(h *hold) fate {
	d := s.c.Still(h.id)
	if d.Allowed {
		return goingOn
	}
	if !h.end(&d) {
		return over
	}
	s.over.WithLabelValues(string(d.Reason)).Inc()
	s.c.Logger.Debug("a held request is ended", "reason", d.Reason, "detail", d.Detail, "client", h.id.Revocation.Client)
	return ending
}

// Process implements the service: one call is one request.
func (s *Server) Process(call procv3.ExternalProcessor_ProcessServer) error {
	first, err := call.Recv()
	if err != nil {
		return err
	}
	if first.GetRequestHeaders() == nil {
		return status.Error(codes.FailedPrecondition, "the headers of the request are wanted first: set request_header_mode to SEND")
	}
	id, held, err := identity(first)
	switch {
	case err != nil:
		s.c.Logger.Error("a long-lived request cannot be held, and is refused", "error", err)
		return call.Send(refuse(&unknown))
	case !held: // nobody's token: there is nothing that could die
		return call.Send(proceed(first))
	}
	h := &hold{id: id, call: call, gone: make(chan struct{})}
	defer h.leave()
	if !s.add(h) {
		return call.Send(refuse(&full))
	}
	defer s.remove(h)
	// Not sooner: what is revoked from now on is rechecked.
	if s.recheck(h) == goingOn {
		h.send(proceed(first))
		defer s.expiring(h)()
	}
	return h.attend()
}

// add takes a hold on, unless there are too many.
func (s *Server) add(h *hold) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.holds) >= s.c.Max {
		return false
	}
	s.holds[h] = struct{}{}
	s.held.Set(float64(len(s.holds)))
	return true
}

func (s *Server) remove(h *hold) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.holds, h)
	s.held.Set(float64(len(s.holds)))
}

// expiring ends a hold when its token has expired. The caller stops it.
func (s *Server) expiring(h *hold) (stop func()) {
	if h.id.Expires.IsZero() {
		return func() {}
	}
	// If it has some leeway left, Run finds its end.
	timer := time.AfterFunc(max(0, time.Until(h.id.Expires)), func() { s.recheck(h) })
	return func() { timer.Stop() }
}

// hold is one request that goes on.
type hold struct {
	id   verify.Identity
	call procv3.ExternalProcessor_ProcessServer
	gone chan struct{} // closed when its call has ended

	mu    sync.Mutex // guards sending
	ended bool       // nothing more is to be sent
}

// leave says that the request is over.
func (h *hold) leave() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended = true
	close(h.gone)
}

// end answers the request in the place of whoever would; false if that was
// done before, or the request is over.
func (h *hold) end(d *check.Decision) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended {
		return false
	}
	h.ended = true
	_ = h.call.Send(refuse(d)) // if it fails, the request is over
	return true
}

func (h *hold) send(m *procv3.ProcessingResponse) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.ended {
		_ = h.call.Send(m) // if it fails, Recv knows
	}
}

// attend waits for the request's end. What else Envoy shows, it is configured
// to show for nothing.
func (h *hold) attend() error {
	for range maxMessages {
		m, err := h.call.Recv()
		if err != nil {
			return nil // the request is over, or its proxy
		}
		h.send(proceed(m))
	}
	return status.Error(codes.ResourceExhausted, "nothing but headers and trailers is wanted: set request_body_mode and response_body_mode to NONE")
}

// errNoIdentity says what is wrong with the configuration.
var errNoIdentity = errors.New("no decision of ext_authz in the metadata: ext_proc must come after it, with metadata_options.forwarding_namespaces.untyped: [" +
	extauthz.Namespace + "], and authz.ext_proc must be set where ext_authz asks")

// identity is what ext_authz said of the token; held is false if the request
// was let through without one.
func identity(m *procv3.ProcessingRequest) (id verify.Identity, held bool, err error) {
	decision := m.GetMetadataContext().GetFilterMetadata()[extauthz.Namespace].GetFields()
	if decision[extauthz.MetadataID].GetStringValue() == "" {
		return id, false, errNoIdentity
	}
	text, isText := decision[extauthz.MetadataToken].GetKind().(*structpb.Value_StringValue)
	if !isText {
		return id, false, errNoIdentity
	}
	if text.StringValue == "" {
		return id, false, nil
	}
	id, err = verify.ParseIdentity(text.StringValue)
	return id, err == nil, err
}

// unknown and full are refusals that are nobody's decision.
var (
	unknown = check.Decision{Reason: check.NotReady, Status: http.StatusServiceUnavailable}
	full    = check.Decision{Reason: check.Overloaded, Status: http.StatusServiceUnavailable}
)

// refuse ends the request.
func refuse(d *check.Decision) *procv3.ProcessingResponse {
	grpcStatus := codes.Unavailable
	if d.Status == http.StatusUnauthorized {
		grpcStatus = codes.Unauthenticated
	}
	r := &procv3.ImmediateResponse{
		Status:     &typev3.HttpStatus{Code: typev3.StatusCode(d.Status)},
		GrpcStatus: &procv3.GrpcStatus{Status: uint32(grpcStatus)},
		Headers:    &procv3.HeaderMutation{},
		Body:       []byte(d.Body),
		Details:    "tegata_" + string(d.Reason),
	}
	names := make([]string, 0, len(d.Headers))
	for name := range d.Headers {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		for _, value := range d.Headers[name] {
			r.Headers.SetHeaders = append(r.Headers.SetHeaders, &corev3.HeaderValueOption{
				Header: &corev3.HeaderValue{Key: name, RawValue: []byte(value)},
			})
		}
	}
	return &procv3.ProcessingResponse{Response: &procv3.ProcessingResponse_ImmediateResponse{ImmediateResponse: r}}
}

// proceed changes nothing.
func proceed(m *procv3.ProcessingRequest) *procv3.ProcessingResponse {
	r := new(procv3.ProcessingResponse)
	switch m.GetRequest().(type) {
	case *procv3.ProcessingRequest_RequestHeaders:
		r.Response = &procv3.ProcessingResponse_RequestHeaders{RequestHeaders: &procv3.HeadersResponse{}}
	case *procv3.ProcessingRequest_ResponseHeaders:
		r.Response = &procv3.ProcessingResponse_ResponseHeaders{ResponseHeaders: &procv3.HeadersResponse{}}
	case *procv3.ProcessingRequest_RequestBody:
		r.Response = &procv3.ProcessingResponse_RequestBody{RequestBody: &procv3.BodyResponse{}}
	case *procv3.ProcessingRequest_ResponseBody:
		r.Response = &procv3.ProcessingResponse_ResponseBody{ResponseBody: &procv3.BodyResponse{}}
	case *procv3.ProcessingRequest_RequestTrailers:
		r.Response = &procv3.ProcessingResponse_RequestTrailers{RequestTrailers: &procv3.TrailersResponse{}}
	case *procv3.ProcessingRequest_ResponseTrailers:
		r.Response = &procv3.ProcessingResponse_ResponseTrailers{ResponseTrailers: &procv3.TrailersResponse{}}
	}
	return r
}
