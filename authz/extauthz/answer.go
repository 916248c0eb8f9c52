package extauthz

import (
	"encoding/json"
	"net/http"
	"slices"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/structpb"

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

// fixedMetadata is what later filters and access logs may use: the policy's
// own, then ours, which it cannot change. Never the token. What differs from
// one request to the next is appendMetadata's.
func fixedMetadata(d *check.Decision) *structpb.Struct {
	fields := make(map[string]*structpb.Value, 10)
	for key, value := range d.Result.DynamicMetadata {
		if v, err := structpb.NewValue(plain(value)); err == nil {
			fields[key] = v
		}
	}
	set := func(key, value string) {
		if value != "" {
			fields[key] = structpb.NewStringValue(value)
		}
	}
	set("reason", string(d.Reason))
	set("policy", d.Policy)
	if d.Shadowed {
		fields["shadow"] = structpb.NewBoolValue(true)
	}
	set("route", d.Route)
	set("policy_revision", d.PolicyRevision)
	if d.Token != nil {
		set("issuer", d.Token.Revocation.Issuer)
		set("subject", d.Token.Revocation.Subject)
		set("client", d.Token.Revocation.Client)
		scopes := make([]*structpb.Value, len(d.Token.Scopes))
		for i, scope := range d.Token.Scopes {
			scopes[i] = structpb.NewStringValue(scope)
		}
		fields["scopes"] = structpb.NewListValue(&structpb.ListValue{Values: scopes})
	}
	delete(fields, metadataID)
	delete(fields, metadataRevision)
	return &structpb.Struct{Fields: fields}
}

// plain turns the numbers of a policy's JSON into those that structpb takes.
func plain(v any) any {
	switch v := v.(type) {
	case json.Number:
		f, err := v.Float64()
		if err != nil {
			return v.String()
		}
		return f
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = plain(e)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[k] = plain(e)
		}
		return out
	}
	return v
}
