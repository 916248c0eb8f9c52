package extauthz

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/open-policy-agent/opa/v1/ast"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/tegata/tegata/authz/check"
)

// Checker decides; *check.Checker satisfies it.
type Checker interface {
	Check(ctx context.Context, r check.Request) check.Decision
}

// Config configures a Server.
type Config struct {
	Checker Checker
	Logger  *slog.Logger

	// ErrorResponses answers what cannot be decided with an error_response,
	// which Envoy 1.37 and later count as an error: with failure_mode_allow
	// they let the request through. Envoys before it refuse with 403.
	ErrorResponses bool

	// Identify says in the metadata which token was let through
	// (verify.Identity), for extproc. It names the token, and cannot be used
	// as one.
	Identify bool
}

// Server is the ext_authz service.
type Server struct {
	checker Checker
	log     *slog.Logger
	as      form
}

// form is what a configuration says of how answers look.
type form struct {
	errors   bool // see Config.ErrorResponses
	identify bool // see Config.Identify
}

// New checks the configuration.
func New(c Config) (*Server, error) {
	if c.Checker == nil {
		return nil, errors.New("extauthz: no Checker")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return &Server{checker: c.Checker, log: c.Logger, as: form{errors: c.ErrorResponses, identify: c.Identify}}, nil
}

// Register adds the service to a gRPC server, which must have been made with
// Codec.
func (s *Server) Register(r grpc.ServiceRegistrar) {
	desc := authv3.Authorization_ServiceDesc
	desc.HandlerType = (*any)(nil)
	desc.Methods = []grpc.MethodDesc{{MethodName: "Check", Handler: s.handle}}
	r.RegisterService(&desc, s)
}

// handle is the method handler that generated code would hold, but for the
// frame that keeps the request's bytes.
func (s *Server) handle(_ any, ctx context.Context, decode func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
	var in frame
	if err := decode(&in); err != nil {
		return nil, err // no request has arrived
	}
	if intercept == nil {
		return s.check(ctx, in.message), nil
	}
	info := &grpc.UnaryServerInfo{Server: s, FullMethod: authv3.Authorization_Check_FullMethodName}
	return intercept(ctx, &in, info, func(ctx context.Context, _ any) (any, error) {
		return s.check(ctx, in.message), nil
	})
}

// check answers one message. A panic below, a bug of ours, is a refusal.
func (s *Server) check(ctx context.Context, message string) (answer reply) {
	defer func() {
		if p := recover(); p != nil {
			s.log.ErrorContext(ctx, "check panicked", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			answer = encode(refuse(http.StatusForbidden, nil, ""))
		}
	}()
	r, err := newRequest(message)
	if err != nil {
		s.log.WarnContext(ctx, "check request does not decode", "error", err)
		return encode(refuse(http.StatusBadRequest, nil, ""))
	}
	d := s.checker.Check(ctx, r.check())
	return render(&d, s.as).reply(&d)
}

// request is one CheckRequest: scanned, and decoded in full when need be.
type request struct {
	message string
	scanned
	authorization []string
	proofs        []string
	forwarded     []string
	full          *authv3.CheckRequest // nil until somebody needs it
	doc           ast.Object           // likewise
}

func newRequest(message string) (*request, error) {
	r := &request{message: message}
	var ok bool
	if r.scanned, ok = scan(message); ok {
		if v, ok := r.header("authorization"); ok {
			r.authorization = []string{v}
		}
		if v, ok := r.header("dpop"); ok {
			r.proofs = []string{v}
		}
		if v, ok := r.header(forwardedCertificate); ok {
			r.forwarded = []string{v}
		}
		return r, nil
	}
	if err := r.decode(); err != nil {
		return nil, err
	}
	h := r.full.GetAttributes().GetRequest().GetHttp()
	r.scanned = scanned{method: h.GetMethod(), path: h.GetPath(), host: h.GetHost(), scheme: h.GetScheme(), protocol: h.GetProtocol()}
	for name, value := range h.GetHeaders() {
		r.headers = append(r.headers, header{name, value})
		r.take(name, value)
	}
	// encode_raw_headers: every field on its own, as bytes.
	for _, field := range h.GetHeaderMap().GetHeaders() {
		value := string(field.GetRawValue())
		if value == "" {
			value = field.GetValue()
		}
		r.take(field.GetKey(), value)
	}
	return r, nil
}

const forwardedCertificate = "x-forwarded-client-cert"

// take keeps the fields that check is shown apart, each value of them.
func (r *request) take(name, value string) {
	switch {
	case strings.EqualFold(name, "authorization"):
		r.authorization = append(r.authorization, value)
	case strings.EqualFold(name, "dpop"):
		r.proofs = append(r.proofs, value)
	case strings.EqualFold(name, forwardedCertificate):
		r.forwarded = append(r.forwarded, value)
	}
}

// certificate is the client's, which Envoy passes on with
// include_peer_certificate.
func (r *request) certificate() string {
	if r.decode() != nil {
		return ""
	}
	return r.full.GetAttributes().GetSource().GetCertificate()
}

func (r *request) decode() error {
	if r.full != nil {
		return nil
	}
	full := new(authv3.CheckRequest)
	if err := proto.Unmarshal([]byte(r.message), full); err != nil {
		return fmt.Errorf("decoding a CheckRequest: %w", err)
	}
	r.full = full
	return nil
}

// destination is the principal that Envoy authenticated the workload as.
func (r *request) destination() string {
	if r.decode() != nil { // then it is nobody's
		return ""
	}
	return r.full.GetAttributes().GetDestination().GetPrincipal()
}

func (r *request) extension(name string) string {
	if r.decode() != nil {
		return ""
	}
	return r.full.GetAttributes().GetContextExtensions()[name]
}

func (r *request) check() check.Request {
	return check.Request{
		Method:        r.method,
		Path:          r.path,
		Host:          r.host,
		Scheme:        r.scheme,
		Authorization: r.authorization,
		Proofs:        r.proofs,
		Forwarded:     r.forwarded,
		Certificate:   r.certificate,
		Size:          len(r.message),
		Destination:   r.destination,
		Extension:     r.extension,
		Input:         r.input,
		Key:           r.key,
	}
}
