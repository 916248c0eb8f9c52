package envoy.authz

import rego.v1

default allow := false

allow if {
	input.attributes.request.http.method == "POST"
	not input.truncated_body
	input.parsed_body.amount <= 100
	input.parsed_body.currency in ["EUR", "JPY"]
}
