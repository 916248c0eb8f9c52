package tegata.scope_test

import data.tegata.scope

routes := {
	"/open": {"GET": {"public": true}},
	"/both": {"GET": {"scopes": ["a", "b"]}},
	"/odd": {"GET": {"public": "yes", "scopes": ["a"]}},
}

get(route) := {"route": route, "attributes": {"request": {"http": {"method": "GET"}}}}

with_scopes(route, scopes) := object.union(get(route), {"token": {"scopes": scopes}})

test_public_route_is_public if {
	scope.public with input as get("/open") with data.tegata.routes as routes
}

test_only_true_makes_public if {
	not scope.public with input as get("/odd") with data.tegata.routes as routes
	not scope.public with input as get("/both") with data.tegata.routes as routes
}

test_rule_is_undefined_for_unknown_route if {
	not scope.rule with input as get("/none") with data.tegata.routes as routes
}

test_rule_is_undefined_for_unknown_method if {
	not scope.rule with input as {"route": "/both", "attributes": {"request": {"http": {"method": "POST"}}}}
		with data.tegata.routes as routes
}

test_rule_is_undefined_without_route if {
	not scope.rule with input as {"attributes": {"request": {"http": {"method": "GET"}}}} with data.tegata.routes as routes
}

test_required_lists_the_scopes if {
	scope.required == {"a", "b"} with input as get("/both") with data.tegata.routes as routes
}

test_missing_is_what_was_not_granted if {
	scope.missing == {"b"} with input as with_scopes("/both", {"a", "c"}) with data.tegata.routes as routes
}

test_missing_is_everything_without_token if {
	scope.missing == {"a", "b"} with input as get("/both") with data.tegata.routes as routes
}

test_missing_is_empty_with_all if {
	scope.missing == set() with input as with_scopes("/both", {"b", "a"}) with data.tegata.routes as routes
}
