package extauthz

import (
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	grpcproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
)

// Codec makes a gRPC server hand this door its requests as bytes. Every other
// service on the server is served as ever.
func Codec() grpc.ServerOption {
	return grpc.ForceServerCodecV2(codec{encoding.GetCodecV2(grpcproto.Name)})
}

// frame is a request that is not decoded.
type frame struct{ message string }

// reply is a response that is encoded.
type reply []byte

type codec struct{ encoding.CodecV2 }

// Marshal passes a reply on as it is.
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	if r, ok := v.(reply); ok {
		return mem.BufferSlice{mem.SliceBuffer(r)}, nil
	}
	return c.CodecV2.Marshal(v)
}

// Unmarshal copies the bytes of a frame, since gRPC takes its buffers back.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	f, ok := v.(*frame)
	if !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	var b strings.Builder
	b.Grow(data.Len())
	for _, part := range data {
		_, _ = b.Write(part.ReadOnlyData()) // a Builder never fails
	}
	f.message = b.String()
	return nil
}
