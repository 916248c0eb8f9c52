package envoy.authz

import rego.v1

default allow := false

# A search needs words, and may not ask for everything.
allow if {
	input.parsed_path == ["search"]
	count(input.parsed_query.q) == 1
	input.parsed_query.q[0] != ""
	not "all" in object.get(input.parsed_query, "scope", [])
}
