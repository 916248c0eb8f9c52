package input

import (
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/open-policy-agent/opa/v1/ast"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// TestMembers shows the document of requests; that it equals the plugin's for
// any request is tested where requests are generated, in extauthz.
func TestMembers(t *testing.T) {
	t.Parallel()
	const rest = `, "version": {"encoding": "protojson", "ext_authz": "v3"}}`
	at := func(http *authv3.AttributeContext_HttpRequest) *authv3.AttributeContext {
		return &authv3.AttributeContext{Request: &authv3.AttributeContext_Request{Http: http}}
	}
	tests := []struct {
		name string
		in   *authv3.AttributeContext
		want string
	}{
		{"nothing", nil, `{"parsed_path": [""], "parsed_query": {}, "parsed_body": null, "truncated_body": false` + rest},
		{
			"a request",
			&authv3.AttributeContext{
				Source: &authv3.AttributeContext_Peer{Principal: "spiffe://m/sa/a", Address: &corev3.Address{
					Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
						Address: "10.0.0.1", PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: 7},
					}},
				}},
				Request: &authv3.AttributeContext_Request{
					Time: &timestamppb.Timestamp{Seconds: 1, Nanos: 5e8},
					Http: &authv3.AttributeContext_HttpRequest{Method: "GET", Path: "/a%2Fb//c?x=1&x=2&y", Size: -1},
				},
				ContextExtensions: map[string]string{"policy": "a"},
			},
			`{"attributes": {
				"source": {"principal": "spiffe://m/sa/a", "address": {"socketAddress": {"address": "10.0.0.1", "portValue": 7}}},
				"request": {"time": "1970-01-01T00:00:01.500Z", "http": {"method": "GET", "path": "/a%2Fb//c?x=1&x=2&y", "size": "-1"}},
				"contextExtensions": {"policy": "a"}},
			"parsed_path": ["a", "b", "", "c"], "parsed_query": {"x": ["1", "2"], "y": [""]}, "parsed_body": null, "truncated_body": false` + rest,
		},
		{
			"a path that is no URL",
			at(&authv3.AttributeContext_HttpRequest{Path: "/%zz"}),
			`{"attributes": {"request": {"http": {"path": "/%zz"}}}, "parsed_body": null, "truncated_body": false` + rest,
		},
		{
			"a JSON body",
			at(&authv3.AttributeContext_HttpRequest{Path: "/", Headers: map[string]string{"content-type": "application/json"}, Body: `{"n": 1.50}`}),
			`{"attributes": {"request": {"http": {"path": "/", "headers": {"content-type": "application/json"}, "body": "{\"n\": 1.50}"}}},
			"parsed_path": [""], "parsed_query": {}, "parsed_body": {"n": 1.50}, "truncated_body": false` + rest,
		},
		{
			"half of a body",
			at(&authv3.AttributeContext_HttpRequest{Headers: map[string]string{"content-type": "application/json", "content-length": "9"}, Body: `{"n":`}),
			`{"attributes": {"request": {"http": {"headers": {"content-type": "application/json", "content-length": "9"}, "body": "{\"n\":"}}},
			"parsed_path": [""], "parsed_query": {}, "parsed_body": null, "truncated_body": true` + rest,
		},
		{
			"a broken body",
			at(&authv3.AttributeContext_HttpRequest{Headers: map[string]string{"content-type": "application/json"}, Body: `{"n":`}),
			`{"attributes": {"request": {"http": {"headers": {"content-type": "application/json"}, "body": "{\"n\":"}}},
			"parsed_path": [""], "parsed_query": {}, "truncated_body": false` + rest,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			members, err := Members(&authv3.CheckRequest{Attributes: tt.in})
			if err != nil {
				t.Fatal(err)
			}
			got := ast.NewObject(members...)
			if want := ast.MustParseTerm(tt.want).Value; got.Compare(want) != 0 {
				t.Errorf("got  %v\nwant %v", got, want)
			}
		})
	}
}

func TestATimeOutOfRangeHasNoDocument(t *testing.T) {
	t.Parallel()
	_, err := Members(&authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		Request: &authv3.AttributeContext_Request{Time: &timestamppb.Timestamp{Nanos: -1}},
	}})
	if err == nil {
		t.Error("it has one")
	}
}

// TestABodyNestsOnlySoDeep: what is deeper counts as malformed, whatever
// stands in its strings.
func TestABodyNestsOnlySoDeep(t *testing.T) {
	t.Parallel()
	deep := func(n int) string { return strings.Repeat(`[{"a":`, n/2) + `1` + strings.Repeat(`}]`, n/2) }
	for body, want := range map[string]bool{
		deep(64): true, deep(66): false, strings.Repeat("[", 1<<20): false,
		`"` + strings.Repeat("[", 100) + `"`:     true,
		`"\"` + strings.Repeat("[", 100) + `"`:   true,
		`"\\"` + strings.Repeat("[", 100):        false,
		strings.Repeat(`[],`, 100):               false, // no JSON, but not deep
		`[` + strings.Repeat(`[],`, 100) + `[]]`: true,
	} {
		if got := jsonBody(body) != nil; got != want {
			t.Errorf("%.20s… (%d bytes): read %t, want %t", body, len(body), got, want)
		}
	}
}
