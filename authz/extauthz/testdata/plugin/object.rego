package envoy.authz

import rego.v1

default decision := {"allowed": false, "http_status": 302, "headers": {"location": "/login"}, "body": "log in first"}

decision := {
	"allowed": true,
	"headers": {"x-user": user},
	"request_headers_to_remove": ["x-internal"],
	"response_headers_to_add": {"x-checked": "yes"},
	"dynamic_metadata": {"user": user},
} if {
	user := input.attributes.request.http.headers["x-session-user"]
}

allow := decision
