# METADATA
# title: Scopes of a route
# description: |
#   What the table data.tegata.routes asks of a request, and what of it the
#   token lacks. The host has matched the path already: input.route is the
#   template that fits.
package tegata.scope

# METADATA
# description: The table's entry for this route and method; undefined if there is none.
rule := data.tegata.routes[input.route][input.attributes.request.http.method]

# METADATA
# description: The route asks for no token at all; undefined if it does.
public if rule.public == true

# METADATA
# description: The scopes that the route asks for.
required contains scope if some scope in rule.scopes

# METADATA
# description: |
#   The scopes that the route asks for and the token was not granted: all of
#   them, if there is no token. It is empty too where there is no rule, or one
#   without scopes: look at rule.scopes before it.
missing := {scope | some scope in rule.scopes; not input.token.scopes[scope]}
