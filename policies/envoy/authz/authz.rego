# METADATA
# title: Scope policy
# description: |
#   Lets a request through if its route is public, or if its token was granted
#   every scope that the route asks for (data.tegata.routes). Everything else
#   is refused.
package envoy.authz

import data.tegata.scope

# METADATA
# description: The decision, in the form that the OPA-Envoy plugin reads.
# entrypoint: true
default allow := {"allowed": false, "reasons": ["no rule for this route and method"]}

allow := public_access if scope.public

# The upstream trusts these headers: they replace whatever the caller sent
# under their names, also when the token names no client.
else := {
	"allowed": true,
	"headers": {
		"x-tegata-client": client,
		"x-tegata-subject": input.token.subject,
	},
} if {
	input.token.subject # every token has one
	scope.rule.scopes # none at all is [], not a table that says something else
	count(scope.missing) == 0
}

else := refused if scope.rule

public_access := {
	"allowed": true,
	"request_headers_to_remove": ["x-tegata-client", "x-tegata-subject"],
}

default client := ""

client := input.token.client

refused := {
	"allowed": false,
	"reasons": [sprintf("scope %s is missing", [name]) | some name in scope.missing],
	"required_scopes": scope.required,
}
