package reference

import (
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
)

// allow lets the request through with the headers that the policy names.
func allow(decision map[string]any) *auth.CheckResponse {
	ok := &auth.OkHttpResponse{}
	headers, _ := decision["headers"].(map[string]any)
	for name, value := range headers {
		text, _ := value.(string)
		ok.Headers = append(ok.Headers, header(name, text))
	}
	remove, _ := decision["request_headers_to_remove"].([]any)
	for _, name := range remove {
		text, _ := name.(string)
		ok.HeadersToRemove = append(ok.HeadersToRemove, text)
	}
	return &auth.CheckResponse{
		Status:       &status.Status{Code: int32(codes.OK)},
		HttpResponse: &auth.CheckResponse_OkResponse{OkResponse: ok},
	}
}

// refuse answers with an RFC 6750 challenge.
func refuse(code typev3.StatusCode, challenge string) *auth.CheckResponse {
	return &auth.CheckResponse{
		Status: &status.Status{Code: int32(codes.PermissionDenied)},
		HttpResponse: &auth.CheckResponse_DeniedResponse{DeniedResponse: &auth.DeniedHttpResponse{
			Status:  &typev3.HttpStatus{Code: code},
			Headers: []*core.HeaderValueOption{header("www-authenticate", challenge)},
		}},
	}
}

func header(name, value string) *core.HeaderValueOption {
	return &core.HeaderValueOption{Header: &core.HeaderValue{Key: name, Value: value}}
}
