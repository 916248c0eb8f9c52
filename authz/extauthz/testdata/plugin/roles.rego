package envoy.authz

import rego.v1

# Whoever is known by name has the groups of a table; groups open paths.
groups := {"ana": ["reader"], "bo": ["reader", "editor"]}

opens := {
	"reader": [{"method": "GET", "path": ["articles"]}],
	"editor": [{"method": "POST", "path": ["articles"]}, {"method": "DELETE", "path": ["articles"]}],
}

default allow := false

allow if {
	some group in groups[input.attributes.request.http.headers["x-user"]]
	some rule in opens[group]
	rule.method == input.attributes.request.http.method
	rule.path[0] == input.parsed_path[0]
}
