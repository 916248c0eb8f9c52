// Package reference is what a good engineer writes in an afternoon with the
// same libraries: an ext_authz server that verifies the token with jwx and
// evaluates Rego on a prepared query, on every request. The benchmark measures
// Tegata against it, so it evaluates the policy that Tegata ships and gives
// the answer that this policy asks for.
//
// It must not know how Tegata works, and it must not be slowed down on
// purpose: keys are fetched once, the query is prepared once, the input holds
// what the policy may want and no more, and is not sent through JSON.
package reference

import (
	"context"
	"fmt"
	"strings"

	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/lestrrat-go/jwx/v2/jwt"
	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
)

// Server decides by signature, issuer, audience, time and policy.
type Server struct {
	auth.UnimplementedAuthorizationServer
	keys             jwk.Set
	issuer, audience string
	query            rego.PreparedEvalQuery
	routes           []route
}

// New fetches the keys of the issuer from jwksURL and compiles the policy.
func New(ctx context.Context, issuer, audience, jwksURL string) (*Server, error) {
	keys, err := jwk.Fetch(ctx, jwksURL)
	if err != nil {
		return nil, fmt.Errorf("fetching keys: %w", err)
	}
	query, routes, err := prepare(ctx)
	if err != nil {
		return nil, fmt.Errorf("preparing the policy: %w", err)
	}
	return &Server{keys: keys, issuer: issuer, audience: audience, query: query, routes: routes}, nil
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
	decision, err := s.decide(ctx, http, token)
	if err != nil {
		return nil, err
	}
	if decision["allowed"] != true {
		return refuse(typev3.StatusCode_Forbidden, `Bearer error="insufficient_scope"`), nil
	}
	return allow(decision), nil
}

// decide evaluates the policy and returns its decision object.
func (s *Server) decide(ctx context.Context, http *auth.AttributeContext_HttpRequest, token jwt.Token) (map[string]any, error) {
	claims, err := token.AsMap(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the claims: %w", err)
	}
	path, _, _ := strings.Cut(http.GetPath(), "?")
	document := map[string]any{
		"attributes": map[string]any{"request": map[string]any{"http": map[string]any{
			"method": http.GetMethod(), "path": path, "host": http.GetHost(),
		}}},
		"token": map[string]any{
			"claims": claims, "subject": token.Subject(), "client": claims["client_id"], "scopes": scopes(claims),
		},
	}
	if template, ok := match(s.routes, path); ok {
		document["route"] = template
	}
	input, err := ast.InterfaceToValue(document)
	if err != nil {
		return nil, fmt.Errorf("converting the input: %w", err)
	}
	result, err := s.query.Eval(ctx, rego.EvalParsedInput(input))
	if err != nil {
		return nil, fmt.Errorf("evaluating: %w", err)
	}
	if len(result) == 0 {
		return nil, nil // undefined: not allowed
	}
	decision, _ := result[0].Expressions[0].Value.(map[string]any)
	return decision, nil
}

// scopes is the scope claim (RFC 9068 §2.2.3) as the set that the policy compares.
func scopes(claims map[string]any) ast.Set {
	text, _ := claims["scope"].(string)
	set := ast.NewSet()
	for name := range strings.FieldsSeq(text) {
		set.Add(ast.StringTerm(name))
	}
	return set
}
