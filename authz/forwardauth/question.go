package forwardauth

import (
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/open-policy-agent/opa/v1/ast"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tegata/tegata/authz/check"
	"github.com/tegata/tegata/authz/input"
	"github.com/tegata/tegata/authz/policy/reads"
)

// question is an original request on its way through check.
type question struct {
	original
	at  time.Time
	doc ast.Object // the input document, nil until somebody needs it
}

func (q *question) check() check.Request {
	return check.Request{
		Method:        q.method,
		Path:          q.target,
		Host:          q.host,
		Scheme:        q.scheme,
		Authorization: q.headers["Authorization"],
		Proofs:        q.headers["Dpop"],
		Forwarded:     q.forwarded,
		Size:          size(q.headers) + len(q.target) + len(q.body),
		Extension:     func(name string) string { return q.extensions[name] },
		Input:         q.input,
		Key:           q.key,
	}
}

// input builds all of it, whatever is wanted: beside HTTP that is little.
func (q *question) input([]reads.Path) ([][2]*ast.Term, error) { return input.Members(q.message()) }

// key reads what the document has, which is built once. That costs some
// microseconds, a fraction of what HTTP has cost by then.
func (q *question) key(dst []byte, path reads.Path) ([]byte, bool) {
	if q.doc == nil {
		members, err := q.input(nil)
		if err != nil {
			return nil, false
		}
		q.doc = ast.NewObject(members...)
	}
	v, err := q.doc.Find(path.Ref())
	if err != nil {
		return reads.AppendUndefined(dst), true
	}
	return reads.AppendValue(dst, v)
}

// message is the CheckRequest that Envoy would have sent by gRPC, as far as it
// is known.
func (q *question) message() *authv3.CheckRequest {
	http := &authv3.AttributeContext_HttpRequest{
		Method: q.method, Path: q.target, Host: q.host, Scheme: q.scheme,
		Size: int64(len(q.body)), Headers: q.headerMap(),
	}
	if utf8.ValidString(q.body) {
		http.Body = q.body
	} else {
		http.RawBody = []byte(q.body)
	}
	attributes := &authv3.AttributeContext{
		Request:           &authv3.AttributeContext_Request{Time: timestamppb.New(q.at), Http: http},
		ContextExtensions: q.extensions,
	}
	if q.client.IsValid() {
		attributes.Source = &authv3.AttributeContext_Peer{Address: &corev3.Address{Address: &corev3.Address_SocketAddress{
			SocketAddress: &corev3.SocketAddress{Address: q.client.String(), PortSpecifier: &corev3.SocketAddress_PortValue{}},
		}}}
	}
	return &authv3.CheckRequest{Attributes: attributes}
}

// headerMap writes headers as Envoy does: lower-case names, the pseudo-headers
// among them, fields of one name joined, no bytes that are not UTF-8.
func (q *question) headerMap() map[string]string {
	headers := make(map[string]string, len(q.headers)+4)
	for name, values := range q.headers {
		if hopByHop(name) || name == "Content-Length" && q.body == "" { // it is that of the question
			continue
		}
		separator := ","
		if name == "Cookie" {
			separator = "; "
		}
		headers[strings.ToLower(name)] = strings.ToValidUTF8(strings.Join(values, separator), "!")
	}
	headers[":method"], headers[":path"], headers[":authority"] = q.method, q.target, q.host
	if q.scheme != "" {
		headers[":scheme"] = q.scheme
	}
	return headers
}

// hopByHop reports whether a header is about the connection it came on (RFC
// 9110 §7.6.1).
func hopByHop(name string) bool {
	switch http.CanonicalHeaderKey(name) {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade":
		return true
	}
	return false
}
