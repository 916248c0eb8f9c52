package envoy.authz

import rego.v1

default allow := false

allow if {
	startswith(input.attributes.source.principal, "spiffe://mesh.example/ns/shop/")
	input.attributes.destination.address.socketAddress.portValue == 8443
}
