package envoy.authz

import rego.v1

deny contains "weekend" if input.attributes.request.http.headers["x-day"] in ["sat", "sun"]

deny contains "no tenant" if not input.attributes.request.http.headers["x-tenant"]

allow := {"allowed": count(deny) == 0, "http_status": 409, "body": json.marshal(deny)}
