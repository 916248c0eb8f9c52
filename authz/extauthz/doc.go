// Package extauthz is the Envoy door: it turns the bytes of an ext_authz v3
// CheckRequest into a check.Request, and a check.Decision into a
// CheckResponse. It must not know how a decision is made.
//
// A request is read in one of two ways. Almost always a scan of its bytes is
// enough (scan.go): the few fields that a decision needs. What the scan does
// not understand, and what a policy reads beyond those fields, is decoded in
// full, and the input document is built from it (package input).
//
// Envoy may take any gRPC error for a failure and let the request through, so
// this door never returns one: what goes wrong is a refusal.
package extauthz
