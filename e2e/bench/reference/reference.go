// Package reference is what a good engineer writes in an afternoon with the
// same libraries: an ext_authz server that verifies the token with jwx and
// evaluates a Rego scope policy on a prepared query, on every request. The
// benchmark measures Tegata against it.
//
// It must not know Tegata, and it must not be slowed down on purpose: keys are
// fetched once, the query is prepared once, the input is small.
package reference

import (
	"context"
	_ "embed"
	"fmt"
	"strings"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/lestrrat-go/jwx/v2/jwt"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
)

//go:embed policy.rego
var policy string

// routes is the table that policy reads; "*" is any one segment.
var routes = []any{
	map[string]any{"method": "GET", "path": []any{"orders"}, "scopes": []any{"orders:read"}},
	map[string]any{"method": "POST", "path": []any{"orders"}, "scopes": []any{"orders:write"}},
	map[string]any{"method": "GET", "path": []any{"orders", "*"}, "scopes": []any{"orders:read"}},
	map[string]any{"method": "PUT", "path": []any{"orders", "*"}, "scopes": []any{"orders:write"}},
	map[string]any{"method": "DELETE", "path": []any{"orders", "*"}, "scopes": []any{"orders:write"}},
}

// Server decides by signature, issuer, audience, time and scope.
type Server struct {
	auth.UnimplementedAuthorizationServer
	keys             jwk.Set
	issuer, audience string
	query            rego.PreparedEvalQuery
}

// New fetches the keys of the issuer from jwksURL and compiles the policy.
func New(ctx context.Context, issuer, audience, jwksURL string) (*Server, error) {
	keys, err := jwk.Fetch(ctx, jwksURL)
	if err != nil {
		return nil, fmt.Errorf("fetching keys: %w", err)
	}
	query, err := rego.New(
		rego.Query("data.reference.allow"),
		rego.Module("policy.rego", policy),
		rego.Store(inmem.NewFromObject(map[string]any{"routes": routes})),
	).PrepareForEval(ctx)
	if err != nil {
		return nil, fmt.Errorf("compiling the policy: %w", err)
	}
	return &Server{keys: keys, issuer: issuer, audience: audience, query: query}, nil
}

// Check implements Authorization.
func (s *Server) Check(ctx context.Context, req *auth.CheckRequest) (*auth.CheckResponse, error) {
	http := req.GetAttributes().GetRequest().GetHttp()
	compact, ok := strings.CutPrefix(http.GetHeaders()["authorization"], "Bearer ")
	if !ok {
		return refuse(typev3.StatusCode_Unauthorized, "Bearer"), nil
	}
	token, err := jwt.Parse([]byte(compact), jwt.WithKeySet(s.keys), jwt.WithIssuer(s.issuer), jwt.WithAudience(s.audience))
	if err != nil {
		return refuse(typev3.StatusCode_Unauthorized, `Bearer error="invalid_token"`), nil
	}
	claims, err := token.AsMap(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the claims: %w", err)
	}
	path, _, _ := strings.Cut(http.GetPath(), "?")
	result, err := s.query.Eval(ctx, rego.EvalInput(map[string]any{
		"method": http.GetMethod(),
		"path":   strings.Split(strings.TrimPrefix(path, "/"), "/"),
		"claims": claims,
	}))
	if err != nil {
		return nil, fmt.Errorf("evaluating: %w", err)
	}
	if !result.Allowed() {
		return refuse(typev3.StatusCode_Forbidden, `Bearer error="insufficient_scope"`), nil
	}
	return Allow(), nil
}

// Allow is the answer that lets a request through.
func Allow() *auth.CheckResponse {
	return &auth.CheckResponse{
		Status:       &status.Status{Code: int32(codes.OK)},
		HttpResponse: &auth.CheckResponse_OkResponse{OkResponse: &auth.OkHttpResponse{}},
	}
}

func refuse(code typev3.StatusCode, challenge string) *auth.CheckResponse {
	return &auth.CheckResponse{
		Status: &status.Status{Code: int32(codes.PermissionDenied)},
		HttpResponse: &auth.CheckResponse_DeniedResponse{DeniedResponse: &auth.DeniedHttpResponse{
			Status:  &typev3.HttpStatus{Code: code},
			Headers: []*core.HeaderValueOption{{Header: &core.HeaderValue{Key: "www-authenticate", Value: challenge}}},
		}},
	}
}
