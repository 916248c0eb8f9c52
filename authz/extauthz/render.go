package extauthz

import (
	"net/http"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/tegata/tegata/authz/check"
)

// rendered is a response in its encoded form, all but what names this one
// decision. It is kept with the decision, so that one that is remembered costs
// no encoding: BenchmarkReply shows what that is worth.
type rendered struct {
	route    string // in metadata, and the one thing in it that a remembered decision may differ in
	response []byte // CheckResponse without dynamic_metadata
	metadata []byte // entries of dynamic_metadata's fields
}

// render returns the response to a decision, from the last time if it was kept.
func render(d *check.Decision, as form) *rendered {
	if d.Made != nil {
		if r, ok := d.Made.Load().(*rendered); ok && r.route == d.Route {
			return r
		}
	}
	r := &rendered{route: d.Route, response: encode(response(d, as.errors))}
	r.metadata = appendFixed(nil, d, as.identify)
	if d.Made != nil {
		d.Made.Store(r)
	}
	return r
}

// encode encodes a response. A policy may have made a header of bytes that are
// no UTF-8, which has no encoding; then the request is refused without words.
func encode(resp *authv3.CheckResponse) reply {
	b, err := proto.Marshal(resp)
	if err != nil {
		b, _ = proto.Marshal(refuse(http.StatusForbidden, nil, ""))
	}
	return b
}

// responseMetadata is the field number of CheckResponse.dynamic_metadata.
const responseMetadata = 4

// reply completes the response to d.
func (r *rendered) reply(d *check.Decision) reply {
	var own [160]byte
	metadata := appendMetadata(own[:0], d)
	size := len(r.metadata) + len(metadata)
	b := make([]byte, 0, len(r.response)+size+protowire.SizeTag(responseMetadata)+protowire.SizeVarint(uint64(size)))
	b = append(b, r.response...)
	b = protowire.AppendTag(b, responseMetadata, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(size))
	b = append(b, r.metadata...)
	return append(b, metadata...)
}
