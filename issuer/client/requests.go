package client

// Attributes that say how a client's authorization requests come, as in
// Keycloak.
const attrPushedOnly = "require.pushed.authorization.requests"

// PushedOnly reports whether every authorization request has to be pushed
// (RFC 9126 §6: require_pushed_authorization_requests).
func (c Client) PushedOnly() bool { return c.Attributes[attrPushedOnly] == "true" }
