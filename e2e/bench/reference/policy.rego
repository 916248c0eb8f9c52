# The scope policy of the reference server: a table of routes, and a token must
# have every scope that the first matching route names.
package reference

import rego.v1

default allow := false

allow if {
	some route in data.routes
	route.method == input.method
	matches(route.path, input.path)
	every scope in route.scopes {
		scope in token_scopes
	}
}

token_scopes := {s | some s in split(input.claims.scope, " ")}

matches(template, path) if {
	count(template) == count(path)
	every i, segment in template {
		fits(segment, path[i])
	}
}

fits(segment, text) if segment == text

fits("*", text) if text != ""
