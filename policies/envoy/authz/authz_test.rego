package envoy.authz_test

import data.envoy.authz

routes := {
	"/healthz": {"GET": {"public": true}},
	"/orders": {"GET": {"scopes": ["orders:read"]}, "POST": {"scopes": ["orders:read", "orders:write"]}},
	"/any": {"GET": {"scopes": []}, "POST": {"scope": "orders:write"}, "PUT": {}},
}

request(method, route) := {"route": route, "attributes": {"request": {"http": {"method": method}}}}

request_as(token, method, route) := object.union(request(method, route), {"token": token})

reader := {"scopes": {"orders:read"}, "subject": "s", "client": "c"}

test_public_route_needs_no_token if {
	decision := authz.allow with input as request("GET", "/healthz") with data.tegata.routes as routes
	decision.allowed
	"x-tegata-subject" in decision.request_headers_to_remove
	not decision.headers
}

test_granted_scope_is_let_through if {
	decision := authz.allow with input as request_as(reader, "GET", "/orders") with data.tegata.routes as routes
	decision.allowed
	decision.headers == {"x-tegata-client": "c", "x-tegata-subject": "s"}
}

test_unknown_client_is_asserted_empty if {
	token := {"scopes": {"orders:read"}, "subject": "s"}
	decision := authz.allow with input as request_as(token, "GET", "/orders") with data.tegata.routes as routes
	decision.allowed
	decision.headers == {"x-tegata-client": "", "x-tegata-subject": "s"}
}

test_missing_scope_is_named if {
	decision := authz.allow with input as request_as(reader, "POST", "/orders") with data.tegata.routes as routes
	not decision.allowed
	decision.required_scopes == {"orders:read", "orders:write"}
	decision.reasons == ["scope orders:write is missing"]
}

test_any_token_where_no_scope_is_asked_for if {
	decision := authz.allow with input as request_as(reader, "GET", "/any") with data.tegata.routes as routes
	decision.allowed
	refused := authz.allow with input as request("GET", "/any") with data.tegata.routes as routes
	not refused.allowed
}

test_a_rule_without_scopes_lets_nobody_in if {
	some method in ["POST", "PUT"]
	decision := authz.allow with input as request_as(reader, method, "/any") with data.tegata.routes as routes
	not decision.allowed
}

test_no_token_is_refused if {
	decision := authz.allow with input as request("GET", "/orders") with data.tegata.routes as routes
	not decision.allowed
}

test_unknown_route_is_refused if {
	decision := authz.allow with input as request_as(reader, "GET", "/none") with data.tegata.routes as routes
	not decision.allowed
	not decision.required_scopes
}

test_unknown_method_is_refused if {
	decision := authz.allow with input as request_as(reader, "DELETE", "/orders") with data.tegata.routes as routes
	not decision.allowed
}

test_missing_route_is_refused if {
	decision := authz.allow with input as {"token": reader} with data.tegata.routes as routes
	not decision.allowed
}

test_empty_input_is_refused if {
	decision := authz.allow with input as {}
	not decision.allowed
}

test_false_token_is_refused if {
	decision := authz.allow with input as request_as(false, "GET", "/orders") with data.tegata.routes as routes
	not decision.allowed
}
