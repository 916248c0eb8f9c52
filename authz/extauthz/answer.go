package extauthz

import (
	"net/http"
	"slices"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"

	"github.com/tegata/tegata/authz/check"
)

// response turns a decision into Envoy's response, but for its metadata. With
// errors, "I cannot decide" is an error in Envoy's eyes too.
func response(d *check.Decision, errors bool) *authv3.CheckResponse {
	if d.Allowed {
		return allow(d)
	}
	resp := refuse(d.Status, d.Headers, d.Body)
	if errors && d.Reason.Undecided() {
		resp.HttpResponse = &authv3.CheckResponse_ErrorResponse{ErrorResponse: resp.GetDeniedResponse()}
		return resp
	}
	resp.GetDeniedResponse().Headers = append(resp.GetDeniedResponse().Headers, headerOptions(d.Result.ResponseHeadersToAdd)...)
	return resp
}

func allow(d *check.Decision) *authv3.CheckResponse {
	ok := &authv3.OkHttpResponse{
		Headers:                 headerOptions(d.Headers),
		HeadersToRemove:         d.Result.RequestHeadersToRemove,
		ResponseHeadersToAdd:    headerOptions(d.Result.ResponseHeadersToAdd),
		QueryParametersToRemove: d.Result.QueryParametersToRemove,
	}
	for _, name := range sortedKeys(d.Result.QueryParametersToSet) {
		ok.QueryParametersToSet = append(ok.QueryParametersToSet,
			&corev3.QueryParameter{Key: name, Value: d.Result.QueryParametersToSet[name]})
	}
	return &authv3.CheckResponse{
		Status:       &rpcstatus.Status{Code: int32(codes.OK)},
		HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: ok},
	}
}

// refuse uses the only two gRPC codes that Envoy reads as a refusal.
func refuse(status int, headers http.Header, body string) *authv3.CheckResponse {
	code := codes.PermissionDenied
	if status == http.StatusUnauthorized {
		code = codes.Unauthenticated
	}
	if status == 0 {
		status = http.StatusForbidden
	}
	return &authv3.CheckResponse{
		Status: &rpcstatus.Status{Code: int32(code)},
		HttpResponse: &authv3.CheckResponse_DeniedResponse{DeniedResponse: &authv3.DeniedHttpResponse{
			Status:  &typev3.HttpStatus{Code: typev3.StatusCode(status)},
			Headers: headerOptions(headers),
			Body:    body,
		}},
	}
}

// headerOptions lists headers in a stable order. The first value of a name
// replaces what the other side sent under it, so that nobody can pass off a
// header that we assert; more values are added to it.
func headerOptions(headers http.Header) []*corev3.HeaderValueOption {
	if len(headers) == 0 {
		return nil
	}
	options := make([]*corev3.HeaderValueOption, 0, len(headers))
	for _, name := range sortedKeys(headers) {
		action := corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD
		for _, value := range headers[name] {
			options = append(options, &corev3.HeaderValueOption{
				Header:       &corev3.HeaderValue{Key: name, Value: value},
				AppendAction: action,
			})
			action = corev3.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD
		}
	}
	return options
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
