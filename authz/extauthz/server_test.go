package extauthz

import (
	"context"
	"net"
	"net/http"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"

	"github.com/tegata/tegata/authz/check"
	"github.com/tegata/tegata/authz/policy"
	"github.com/tegata/tegata/authz/verify"
	"github.com/tegata/tegata/revocation"
)

// checkerFunc is a Checker.
type checkerFunc func(check.Request) check.Decision

func (f checkerFunc) Check(_ context.Context, r check.Request) check.Decision { return f(r) }

func server(t testing.TB, f checkerFunc) *Server {
	t.Helper()
	s, err := New(Config{Checker: f})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// ask is check, decoded.
func (s *Server) ask(t testing.TB, message string) *authv3.CheckResponse {
	t.Helper()
	resp := new(authv3.CheckResponse)
	if err := proto.Unmarshal(s.check(t.Context(), message), resp); err != nil {
		t.Fatal(err)
	}
	return resp
}

func marshal(t testing.TB, http *authv3.AttributeContext_HttpRequest) string {
	t.Helper()
	b, err := proto.Marshal(&authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		Request: &authv3.AttributeContext_Request{Http: http},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestEveryAuthorizationFieldIsSeen(t *testing.T) {
	t.Parallel()
	raw := func(values ...string) *corev3.HeaderMap {
		m := &corev3.HeaderMap{}
		for _, v := range values {
			m.Headers = append(m.Headers, &corev3.HeaderValue{Key: "Authorization", RawValue: []byte(v)})
		}
		return m
	}
	tests := []struct {
		name string
		http *authv3.AttributeContext_HttpRequest
		want []string
	}{
		{"none", &authv3.AttributeContext_HttpRequest{}, nil},
		{"one", &authv3.AttributeContext_HttpRequest{Headers: map[string]string{"authorization": "Bearer a"}}, []string{"Bearer a"}},
		{"joined by Envoy", &authv3.AttributeContext_HttpRequest{Headers: map[string]string{"authorization": "Bearer a,Bearer b"}}, []string{"Bearer a,Bearer b"}},
		{"raw", &authv3.AttributeContext_HttpRequest{HeaderMap: raw("Bearer a")}, []string{"Bearer a"}},
		{"raw, two", &authv3.AttributeContext_HttpRequest{HeaderMap: raw("Bearer a", "Bearer b")}, []string{"Bearer a", "Bearer b"}},
		{"both forms", &authv3.AttributeContext_HttpRequest{Headers: map[string]string{"authorization": "Bearer a"}, HeaderMap: raw("Bearer b")}, []string{"Bearer a", "Bearer b"}},
		{"upper case", &authv3.AttributeContext_HttpRequest{Headers: map[string]string{"Authorization": "Bearer a"}}, []string{"Bearer a"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var got []string
			server(t, func(r check.Request) check.Decision {
				got = r.Authorization
				return check.Decision{}
			}).ask(t, marshal(t, tt.http))
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("authorization (-want +got):\n%s", d)
			}
		})
	}
}

func TestRefusalsUseTheTwoCodesThatEnvoyTakesForRefusals(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]codes.Code{
		0: codes.PermissionDenied, 400: codes.PermissionDenied, 401: codes.Unauthenticated, 403: codes.PermissionDenied, 503: codes.PermissionDenied,
	} {
		resp := server(t, func(check.Request) check.Decision {
			return check.Decision{Status: status, Body: "b", Headers: http.Header{"Www-Authenticate": {"Bearer"}}}
		}).ask(t, marshal(t, nil))
		denied := resp.GetDeniedResponse()
		if got := codes.Code(resp.GetStatus().GetCode()); got != want || denied == nil {
			t.Fatalf("status %d: code %v, want %v with a denied_response", status, got, want)
		}
		if got := int(denied.GetStatus().GetCode()); got != status && (status != 0 || got != 403) {
			t.Errorf("HTTP status = %d, want %d", got, status)
		}
		if denied.GetBody() != "b" || denied.GetHeaders()[0].GetHeader().GetKey() != "Www-Authenticate" {
			t.Errorf("denied = %v", denied)
		}
	}
}

func TestDestinationAndExtensionsAreEnvoys(t *testing.T) {
	t.Parallel()
	b, err := proto.Marshal(&authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		Destination:       &authv3.AttributeContext_Peer{Principal: "spiffe://m/sa/api"},
		ContextExtensions: map[string]string{"policy": "strict"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	asked := false
	resp := server(t, func(r check.Request) check.Decision {
		asked = true
		if r.Destination() != "spiffe://m/sa/api" || r.Extension("policy") != "strict" || r.Extension("other") != "" {
			t.Errorf("destination %q, extension %q", r.Destination(), r.Extension("policy"))
		}
		return check.Decision{Allowed: true, Reason: check.Revoked, Shadowed: true, Policy: "strict"}
	}).ask(t, string(b))
	if !asked || resp.GetOkResponse() == nil {
		t.Fatalf("answered %v", resp)
	}
	metadata := resp.GetDynamicMetadata().AsMap()
	if metadata["shadow"] != true || metadata["policy"] != "strict" || metadata["reason"] != "revoked" {
		t.Errorf("metadata = %v", metadata)
	}
}

func TestWhatCannotBeDecidedIsRefused(t *testing.T) {
	t.Parallel()
	panics := server(t, func(check.Request) check.Decision { panic("bug") })
	if resp := panics.ask(t, marshal(t, nil)); resp.GetDeniedResponse().GetStatus().GetCode() != 403 {
		t.Errorf("a panic gives %v", resp)
	}
	allows := server(t, func(check.Request) check.Decision { return check.Decision{Allowed: true} })
	if resp := allows.ask(t, "\x0a\xff"); resp.GetDeniedResponse().GetStatus().GetCode() != 400 {
		t.Errorf("broken bytes give %v", resp)
	}
}

func TestAllowCarriesWhatThePolicySaid(t *testing.T) {
	t.Parallel()
	resp := server(t, func(check.Request) check.Decision {
		return check.Decision{
			Allowed: true, Reason: check.Allowed, ID: "d1", Route: "/orders/{id}", PolicyRevision: "abc", RevocationRevision: 7,
			Headers: http.Header{"X-A": {"1", "2"}},
			Token:   &verify.Token{Scopes: []string{"a", "b"}, Revocation: revocation.Token{Issuer: "iss", Subject: "sub", Client: "cl"}},
			Result: policy.Result{
				RequestHeadersToRemove: []string{"x-b"}, ResponseHeadersToAdd: http.Header{"X-C": {"3"}},
				QueryParametersToSet: map[string]string{"q": "1"}, QueryParametersToRemove: []string{"z"},
				DynamicMetadata: map[string]any{"own": []any{"x"}, "subject": "forged"},
			},
		}
	}).ask(t, marshal(t, nil))
	ok := resp.GetOkResponse()
	if ok == nil || codes.Code(resp.GetStatus().GetCode()) != codes.OK {
		t.Fatalf("response = %v", resp)
	}
	set, add := corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD, corev3.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD
	if h := ok.GetHeaders(); len(h) != 2 || h[0].GetAppendAction() != set || h[1].GetAppendAction() != add || h[1].GetHeader().GetValue() != "2" {
		t.Errorf("headers = %v", h)
	}
	if ok.GetHeadersToRemove()[0] != "x-b" || ok.GetResponseHeadersToAdd()[0].GetHeader().GetKey() != "X-C" ||
		ok.GetQueryParametersToSet()[0].GetKey() != "q" || ok.GetQueryParametersToRemove()[0] != "z" {
		t.Errorf("ok response = %v", ok)
	}
	want := map[string]any{
		"own": []any{"x"}, "reason": "allowed", "decision_id": "d1", "route": "/orders/{id}", "policy_revision": "abc",
		"revocation_revision": 7.0, "issuer": "iss", "subject": "sub", "client": "cl", "scopes": []any{"a", "b"},
	}
	if d := cmp.Diff(want, resp.GetDynamicMetadata().AsMap()); d != "" {
		t.Errorf("dynamic metadata (-want +got):\n%s", d)
	}
}

// TestOverTheWire holds the codec and the hand-made method handler to what a
// stock client expects.
func TestOverTheWire(t *testing.T) {
	t.Parallel()
	l := bufconn.Listen(1 << 16)
	g := grpc.NewServer(Codec())
	server(t, func(r check.Request) check.Decision {
		return check.Decision{Allowed: r.Path == "/yes" && r.Method == "GET" && r.Host == "h"}
	}).Register(g)
	served := make(chan error)
	go func() { served <- g.Serve(l) }()
	t.Cleanup(func() {
		g.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	conn, err := grpc.NewClient("passthrough:///b", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return l.Dial() }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	for path, want := range map[string]bool{"/yes": true, "/no": false} {
		resp, err := authv3.NewAuthorizationClient(conn).Check(t.Context(), &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
			Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{Method: "GET", Host: "h", Path: path}},
		}})
		if err != nil || (resp.GetOkResponse() != nil) != want {
			t.Errorf("%s: %v, %v", path, resp, err)
		}
	}
}

// FuzzCheck: no message makes the door panic, err, or answer anything but an
// allow that the checker gave or a proper refusal.
func FuzzCheck(f *testing.F) {
	for _, seed := range scanSeeds(f) {
		f.Add(seed)
	}
	s, err := New(Config{Checker: checkerFunc(func(r check.Request) check.Decision {
		_, _ = r.Input(nil)
		return check.Decision{Status: http.StatusForbidden}
	})})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		resp := s.ask(t, string(message))
		if resp.GetDeniedResponse() == nil {
			t.Fatalf("answered %v", resp)
		}
	})
}
