// Package input builds the input document of the OPA-Envoy plugin from a
// CheckRequest, field for field, so that policies written for it run
// unchanged. The doors share it; it must not know which of them asks, nor
// what check adds to the document.
//
// The document is what protojson and a JSON reader would make of the request,
// without the detour over text.
package input

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/util"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// pair is a member of an object.
type pair = [2]*ast.Term

// Members returns the members of the input document: version, attributes,
// parsed_path, parsed_query, parsed_body and truncated_body. The error is of a
// request that has no JSON form.
func Members(req *authv3.CheckRequest) ([][2]*ast.Term, error) {
	attributes, err := attributesTerm(req.GetAttributes())
	if err != nil {
		return nil, err
	}
	members := []pair{{keyVersion, version}}
	if attributes != nil {
		members = append(members, pair{keyAttributes, attributes})
	}
	h := req.GetAttributes().GetRequest().GetHttp()
	if path, query, ok := parsedPath(h.GetPath()); ok {
		members = append(members, pair{keyParsedPath, path}, pair{keyParsedQuery, query})
	}
	body, truncated := parsedBody(h)
	if body != nil {
		members = append(members, pair{keyParsedBody, body})
	}
	return append(members, pair{keyTruncatedBody, ast.InternedTerm(truncated)}), nil
}

// Keys and constants of the document.
var (
	keyVersion       = ast.StringTerm("version")
	keyAttributes    = ast.StringTerm("attributes")
	keyParsedPath    = ast.StringTerm("parsed_path")
	keyParsedQuery   = ast.StringTerm("parsed_query")
	keyParsedBody    = ast.StringTerm("parsed_body")
	keyTruncatedBody = ast.StringTerm("truncated_body")

	version = ast.ObjectTerm(
		pair{ast.StringTerm("encoding"), ast.StringTerm("protojson")},
		pair{ast.StringTerm("ext_authz"), ast.StringTerm("v3")},
	)
)

// fields collects the members of an object; like protojson it leaves out what
// has its zero value.
type fields struct {
	members []pair
	err     error
}

func (f *fields) term(name string, t *ast.Term) {
	if t != nil {
		f.members = append(f.members, pair{ast.InternedTerm(name), t})
	}
}

func (f *fields) text(name, value string) {
	if value != "" {
		f.term(name, ast.StringTerm(value))
	}
}

func (f *fields) texts(name string, values map[string]string) {
	if len(values) > 0 {
		f.term(name, stringsTerm(values))
	}
}

// generic converts what is rare by way of JSON, as the plugin converts
// everything. The caller knows that m is not nil.
func (f *fields) generic(name string, m proto.Message) {
	if proto.Size(m) == 0 { // as Envoy sends metadata that it has none of
		f.term(name, ast.ObjectTerm())
		return
	}
	b, err := protojson.Marshal(m)
	if err != nil {
		f.err = fmt.Errorf("encoding %s: %w", name, err)
		return
	}
	v, err := ast.ValueFromReader(strings.NewReader(string(b)))
	if err != nil {
		f.err = fmt.Errorf("reading %s: %w", name, err)
		return
	}
	f.term(name, ast.NewTerm(v))
}

func (f *fields) object() *ast.Term { return ast.ObjectTerm(f.members...) }

func stringsTerm(values map[string]string) *ast.Term {
	members := make([]pair, 0, len(values))
	for k, v := range values {
		members = append(members, pair{ast.StringTerm(k), ast.StringTerm(v)})
	}
	return ast.ObjectTerm(members...)
}

// attributesTerm is the protojson form of the attributes, without the detour.
func attributesTerm(a *authv3.AttributeContext) (*ast.Term, error) {
	if a == nil {
		return nil, nil
	}
	var f fields
	f.term("source", f.peer(a.GetSource()))
	f.term("destination", f.peer(a.GetDestination()))
	f.term("request", f.request(a.GetRequest()))
	f.texts("contextExtensions", a.GetContextExtensions())
	if m := a.GetMetadataContext(); m != nil {
		f.generic("metadataContext", m)
	}
	if m := a.GetRouteMetadataContext(); m != nil {
		f.generic("routeMetadataContext", m)
	}
	if m := a.GetTlsSession(); m != nil {
		f.generic("tlsSession", m)
	}
	return f.object(), f.err
}

func (f *fields) peer(p *authv3.AttributeContext_Peer) *ast.Term {
	if p == nil {
		return nil
	}
	var g fields
	g.address(p.GetAddress())
	g.text("service", p.GetService())
	g.texts("labels", p.GetLabels())
	g.text("principal", p.GetPrincipal())
	g.text("certificate", p.GetCertificate())
	f.keep(g.err)
	return g.object()
}

func (f *fields) keep(err error) {
	if f.err == nil {
		f.err = err
	}
}

// address handles an IP and port, which is what Envoy sends; the rest goes the
// generic way.
func (f *fields) address(a *corev3.Address) {
	if a == nil {
		return
	}
	s := a.GetSocketAddress()
	port, plain := s.GetPortSpecifier().(*corev3.SocketAddress_PortValue)
	if s == nil || !plain || s.GetResolverName() != "" || s.GetIpv4Compat() || s.GetProtocol() != corev3.SocketAddress_TCP ||
		s.GetNetworkNamespaceFilepath() != "" {
		f.generic("address", a)
		return
	}
	var socket fields
	socket.text("address", s.GetAddress())
	socket.term("portValue", ast.UIntNumberTerm(uint64(port.PortValue)))
	var address fields
	address.term("socketAddress", socket.object())
	f.term("address", address.object())
}

func (f *fields) request(r *authv3.AttributeContext_Request) *ast.Term {
	if r == nil {
		return nil
	}
	var g fields
	if t := r.GetTime(); t != nil {
		g.term("time", g.timestamp(t))
	}
	if h := r.GetHttp(); h != nil {
		g.term("http", g.http(h))
	}
	f.keep(g.err)
	return g.object()
}

// timestamp writes as protojson does: RFC 3339 in UTC with 0, 3, 6 or 9
// digits of fraction.
func (f *fields) timestamp(t *timestamppb.Timestamp) *ast.Term {
	if err := t.CheckValid(); err != nil {
		f.keep(fmt.Errorf("encoding time: %w", err))
		return nil
	}
	s := t.AsTime().Format("2006-01-02T15:04:05.000000000")
	for range 3 {
		s = strings.TrimSuffix(s, "000")
	}
	return ast.StringTerm(strings.TrimSuffix(s, ".") + "Z")
}

func (f *fields) http(h *authv3.AttributeContext_HttpRequest) *ast.Term {
	g := fields{members: make([]pair, 0, 13)}
	g.text("id", h.GetId())
	g.text("method", h.GetMethod())
	g.texts("headers", h.GetHeaders())
	g.text("path", h.GetPath())
	g.text("host", h.GetHost())
	g.text("scheme", h.GetScheme())
	g.text("query", h.GetQuery())
	g.text("fragment", h.GetFragment())
	if n := h.GetSize(); n != 0 {
		g.text("size", strconv.FormatInt(n, 10)) // protojson: 64-bit numbers are strings
	}
	g.text("protocol", h.GetProtocol())
	g.text("body", h.GetBody())
	if raw := h.GetRawBody(); len(raw) > 0 {
		b, err := json.Marshal(raw) // base64, as protojson has it
		g.keep(err)
		g.text("rawBody", strings.Trim(string(b), `"`))
	}
	if m := h.GetHeaderMap(); m != nil {
		g.generic("headerMap", m)
	}
	f.keep(g.err)
	return g.object()
}

// parsedPath splits the decoded path and the query. A path that is no URL has
// neither: the plugin fails there, and a policy that reads them refuses.
func parsedPath(raw string) (path, query *ast.Term, ok bool) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, nil, false
	}
	var segments []*ast.Term
	for segment := range strings.SplitSeq(strings.TrimLeft(u.Path, "/"), "/") {
		segments = append(segments, ast.StringTerm(segment))
	}
	if u.RawQuery == "" {
		return ast.ArrayTerm(segments...), ast.InternedEmptyObject, true
	}
	return ast.ArrayTerm(segments...), valuesTerm(u.Query()), true
}

func valuesTerm(values url.Values) *ast.Term {
	members := make([]pair, 0, len(values))
	for name, list := range values {
		terms := make([]*ast.Term, len(list))
		for i, v := range list {
			terms[i] = ast.StringTerm(v)
		}
		members = append(members, pair{ast.StringTerm(name), ast.ArrayTerm(terms...)})
	}
	return ast.ObjectTerm(members...)
}

// parsedBody reads a JSON or form body. Absent (nil is null in the plugin's
// document), truncated and malformed differ: a malformed one has no
// parsed_body at all, so only a policy that reads it can fail over it; one that
// nests deeper than maxDepth counts as malformed.
// multipart and gRPC bodies are not parsed.
func parsedBody(h *authv3.AttributeContext_HttpRequest) (body *ast.Term, truncated bool) {
	text := h.GetBody()
	kind := h.GetHeaders()["content-type"]
	isJSON := strings.Contains(kind, "application/json")
	isForm := strings.Contains(kind, "application/x-www-form-urlencoded")
	if text == "" || !isJSON && !isForm {
		return ast.InternedNullTerm, false
	}
	if partial(h, len(text)) {
		return ast.InternedNullTerm, true
	}
	if isJSON {
		return jsonBody(text), false
	}
	return formBody(text), false
}

// partial reports whether Envoy sent less than the whole body.
func partial(h *authv3.AttributeContext_HttpRequest, have int) bool {
	if h.GetHeaders()["x-envoy-auth-partial-body"] == "true" {
		return true
	}
	n, err := strconv.ParseInt(h.GetHeaders()["content-length"], 10, 64)
	return err == nil && n > int64(have)
}

// maxDepth is how deep objects and arrays of a body may nest. What policies
// walk is made by strangers; no API's documents are as deep.
const maxDepth = 64

// tooDeep reports whether text, if it is JSON, nests deeper than maxDepth.
func tooDeep(text string) bool {
	depth, inString := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case inString && c == '\\':
			i++ // what it escapes ends no string
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}

func jsonBody(text string) *ast.Term {
	if tooDeep(text) {
		return nil
	}
	var value any
	if err := util.UnmarshalJSON([]byte(text), &value); err != nil {
		return nil
	}
	v, err := ast.InterfaceToValue(value)
	if err != nil {
		return nil
	}
	return ast.NewTerm(v)
}

func formBody(text string) *ast.Term {
	values, err := url.ParseQuery(text)
	if err != nil {
		return nil
	}
	return valuesTerm(values)
}
