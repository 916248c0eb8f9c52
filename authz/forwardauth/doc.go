// Package forwardauth holds the HTTP doors: proxies that ask by HTTP whether a
// request may pass. It turns an HTTP sub-request into a check.Request, and a
// check.Decision into the answer that the asking proxy understands. It must
// not know how a decision is made.
//
// # Three dialects
//
// A dialect is where a proxy puts the original request, and what it makes of
// an answer. The proxy's configuration names the dialect by the path it asks:
//
//	/auth/envoy…   Envoy and Istio: the request itself, its target behind the prefix
//	/auth/nginx    NGINX auth_request: X-Original-Method and X-Original-URI
//	/auth/traefik  Traefik ForwardAuth: X-Forwarded-Method and X-Forwarded-Uri
//
// Query parameters of the last two, which the operator writes into the proxy's
// configuration, are the context extensions of the request.
//
// # Whom and what to believe
//
// The headers that describe an original request are believed of configured
// peers only. One that is missing, doubled, or can be read in two ways is a
// refusal: whoever reads it otherwise than the proxy decides about another
// request than the one that passes.
//
// # What an answer may be
//
// 200 lets through, and nothing else does in any dialect. Every other status
// is chosen so that the proxy takes it for a refusal, and never for a failure
// of this server, about which it may have been told to let through.
package forwardauth
