package envoy.authz

import rego.v1

default allow := false

allow if "orders" in payload.permissions

# Another has checked the signature; here only what it says counts.
payload := claims if {
	[scheme, token] := split(input.attributes.request.http.headers.authorization, " ")
	lower(scheme) == "bearer"
	[_, claims, _] := io.jwt.decode(token)
}
