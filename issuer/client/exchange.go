package client

// attrExchange is the attribute by which a client may exchange tokens, as in
// Keycloak.
const attrExchange = "standard.token.exchange.enabled"

// TokenExchangeEnabled reports whether the client may exchange access tokens
// that it was sent for tokens of its own (RFC 8693).
func (c Client) TokenExchangeEnabled() bool { return c.Attributes[attrExchange] == "true" }
