package extauthz

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/util"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tegata/tegata/authz/policy/reads"
)

// slowInput makes the document in the way the OPA-Envoy plugin documents it:
// protojson, read back as JSON, with the parsed members added.
func slowInput(t testing.TB, req *authv3.CheckRequest) ast.Value {
	t.Helper()
	b, err := protojson.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := util.UnmarshalJSON(b, &doc); err != nil {
		t.Fatal(err)
	}
	doc["version"] = map[string]any{"encoding": "protojson", "ext_authz": "v3"}
	http := req.GetAttributes().GetRequest().GetHttp()
	if u, err := url.Parse(http.GetPath()); err == nil {
		doc["parsed_path"] = strings.Split(strings.TrimLeft(u.Path, "/"), "/")
		doc["parsed_query"] = map[string][]string(u.Query())
	}
	doc["truncated_body"], doc["parsed_body"] = false, nil
	kind := http.GetHeaders()["content-type"]
	switch body := http.GetBody(); {
	case body == "" || !strings.HasPrefix(kind, "application/"):
	case http.GetHeaders()["content-length"] == "999":
		doc["truncated_body"] = true
	case kind == "application/json; charset=utf-8":
		var parsed any
		if err := json.Unmarshal([]byte(body), &parsed); err != nil {
			delete(doc, "parsed_body")
			break
		}
		doc["parsed_body"] = parsed
	case kind == "application/x-www-form-urlencoded":
		values, _ := url.ParseQuery(body)
		doc["parsed_body"] = map[string][]string(values)
	}
	v, err := ast.InterfaceToValue(doc)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// arrived is a request as the door has it, and its input document.
func arrived(t *testing.T, req *authv3.CheckRequest) (*request, ast.Object) {
	t.Helper()
	message, err := proto.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	r, err := newRequest(string(message))
	if err != nil {
		t.Fatal(err)
	}
	members, err := r.input(nil)
	if err != nil {
		t.Fatal(err)
	}
	return r, ast.NewObject(members...)
}

func TestInputIsThePluginsFieldForField(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(7, 8))
	for range 3000 {
		req := generateRequest(rng)
		want := slowInput(t, req)
		_, got := arrived(t, req)
		if got.Compare(want) != 0 {
			t.Fatalf("request %v\ngot  %v\nwant %v", req, got, want)
		}
	}
}

// TestKeyIsWhatTheDocumentHas holds the short way of key to the document.
func TestKeyIsWhatTheDocumentHas(t *testing.T) {
	t.Parallel()
	paths := []reads.Path{
		{"attributes"},
		{"parsed_path"},
		{"nope"},
		{"truncated_body"},
		{"attributes", "request", "http"},
		{"attributes", "request", "http", "headers"},
		{"attributes", "source", "principal"},
	}
	for _, name := range []string{"method", "path", "host", "scheme", "protocol", "id", "size", "nope"} {
		paths = append(paths, append(slices.Clone(httpPrefix), name), append(slices.Clone(httpPrefix), name, "x"))
	}
	for _, name := range []string{"authorization", "x-empty", "nope", ":method"} {
		paths = append(paths, append(slices.Clone(httpPrefix), "headers", name), append(slices.Clone(httpPrefix), "headers", name, "x"))
	}
	rng := rand.New(rand.NewPCG(9, 10))
	for range 1000 {
		r, document := arrived(t, generateRequest(rng))
		for _, path := range paths {
			got, ok := r.key(nil, path)
			want, _ := reads.Reads{Paths: []reads.Path{path}}.AppendKey(nil, document)
			if !ok || !bytes.Equal(got, want) {
				t.Fatalf("%v: key %q, want %q", path, got, want)
			}
		}
	}
}

func maybe[T any](rng *rand.Rand, v T) (zero T) {
	if rng.IntN(3) > 0 {
		return v
	}
	return zero
}

func oneOf(rng *rand.Rand, from ...string) string { return from[rng.IntN(len(from))] }

func generatePeer(rng *rand.Rand) *authv3.AttributeContext_Peer {
	p := &authv3.AttributeContext_Peer{
		Service:     maybe(rng, "svc"),
		Principal:   maybe(rng, "spiffe://td/ns/a/sa/b"),
		Certificate: maybe(rng, "%2D%2D"),
		Labels:      maybe(rng, map[string]string{"app": "a", "v": ""}),
	}
	switch rng.IntN(5) {
	case 0:
	case 1:
		p.Address = &corev3.Address{Address: &corev3.Address_Pipe{Pipe: &corev3.Pipe{Path: "/run/x", Mode: 7}}}
	case 2:
		p.Address = &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
			Protocol: corev3.SocketAddress_UDP, Address: "::1", PortSpecifier: &corev3.SocketAddress_NamedPort{NamedPort: "dns"},
		}}}
	default:
		p.Address = &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
			Address: maybe(rng, "10.1.2.3"), PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: uint32(rng.IntN(2) * rng.IntN(65536))},
		}}}
	}
	return p
}

func generateRequest(rng *rand.Rand) *authv3.CheckRequest {
	headers := map[string]string{}
	for _, name := range []string{":method", "authorization", "x-empty", "cookie", "content-type", "content-length"} {
		if rng.IntN(3) > 0 {
			headers[name] = oneOf(rng, "", "Bearer a.b.c", "é\"\\", "7")
		}
	}
	if rng.IntN(2) == 0 {
		headers["content-type"] = oneOf(rng, "application/json; charset=utf-8", "application/x-www-form-urlencoded", "text/plain")
		headers["content-length"] = oneOf(rng, "999", "1", "-1", "x")
	}
	http := &authv3.AttributeContext_HttpRequest{
		Id: maybe(rng, "123"), Method: maybe(rng, "GET"), Headers: headers,
		Path:   oneOf(rng, "", "/", "/orders/1?a=1&a=2&b=%20x", "//x/%2F/é", "/%zz", "/a?b;c", "http://h/x", "*"),
		Host:   maybe(rng, "api.example:8443"),
		Scheme: maybe(rng, "https"), Query: maybe(rng, "a=b"), Fragment: maybe(rng, "f"),
		Size: int64(rng.IntN(3)-1) * rng.Int64(), Protocol: maybe(rng, "HTTP/2"),
		Body: oneOf(rng, "", `{"a": [1, 2.50, null, {"b": "c"}]}`, `{"a":`, "a=1&a=2&b="), RawBody: maybe(rng, []byte{0, 255, 'a'}),
	}
	a := &authv3.AttributeContext{
		Source: maybe(rng, generatePeer(rng)), Destination: maybe(rng, generatePeer(rng)),
		Request: maybe(rng, &authv3.AttributeContext_Request{
			Http: maybe(rng, http),
			Time: maybe(rng, &timestamppb.Timestamp{Seconds: rng.Int64N(4e9), Nanos: []int32{0, 5e8, 120_000_000, 1_000, 17}[rng.IntN(5)]}),
		}),
		ContextExtensions: maybe(rng, map[string]string{"policy": "a"}),
		TlsSession:        maybe(rng, &authv3.AttributeContext_TLSSession{Sni: "sni"}),
	}
	if rng.IntN(4) == 0 {
		s, _ := structpb.NewStruct(map[string]any{"k": []any{1.5, "x", nil}})
		a.MetadataContext = &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{"f": s}}
		a.RouteMetadataContext = &corev3.Metadata{}
	}
	if rng.IntN(6) == 0 && a.Request.GetHttp() != nil {
		http.HeaderMap = &corev3.HeaderMap{Headers: []*corev3.HeaderValue{{Key: "a", RawValue: []byte("b")}, {Key: "c", Value: "d"}}}
	}
	return &authv3.CheckRequest{Attributes: maybe(rng, a)}
}

func BenchmarkInput(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	req := generateRequest(rng)
	for req.GetAttributes().GetRequest().GetHttp() == nil || req.GetAttributes().GetSource() == nil {
		req = generateRequest(rng)
	}
	message, _ := proto.Marshal(req)
	b.ReportAllocs()
	for b.Loop() {
		r, err := newRequest(string(message))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := r.input(nil); err != nil {
			b.Fatal(err)
		}
	}
}
