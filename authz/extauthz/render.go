package extauthz

import (
	"math"
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
func render(d *check.Decision, errors bool) *rendered {
	if d.Made != nil {
		if r, ok := d.Made.Load().(*rendered); ok && r.route == d.Route {
			return r
		}
	}
	r := &rendered{route: d.Route, response: encode(response(d, errors))}
	r.metadata, _ = proto.Marshal(fixedMetadata(d)) // of what has no encoding nothing is said
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

// Field numbers of envoy.service.auth.v3.CheckResponse, google.protobuf.Struct
// and Value.
const (
	responseMetadata = 4
	structFields     = 1
	valueNumber      = 2
	valueString      = 3
)

// Metadata that differs from one request to the next.
const (
	metadataID       = "decision_id"
	metadataRevision = "revocation_revision"
)

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

// appendMetadata appends the entries that name this decision.
func appendMetadata(b []byte, d *check.Decision) []byte {
	value := protowire.AppendTag(make([]byte, 0, 64), valueString, protowire.BytesType)
	b = appendEntry(b, metadataID, protowire.AppendString(value, d.ID))
	value = protowire.AppendTag(value[:0], valueNumber, protowire.Fixed64Type)
	return appendEntry(b, metadataRevision, protowire.AppendFixed64(value, math.Float64bits(float64(d.RevocationRevision))))
}

func appendEntry(b []byte, key string, value []byte) []byte {
	size := protowire.SizeTag(entryKey) + protowire.SizeBytes(len(key)) + protowire.SizeTag(entryValue) + protowire.SizeBytes(len(value))
	b = protowire.AppendTag(b, structFields, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(size))
	b = protowire.AppendTag(b, entryKey, protowire.BytesType)
	b = protowire.AppendString(b, key)
	b = protowire.AppendTag(b, entryValue, protowire.BytesType)
	return protowire.AppendBytes(b, value)
}
