// Package decisionlog writes decisions in OPA's decision log format: to a
// writer, to a file, to an HTTP service, to an OpenTelemetry collector. It must not know requests, tokens or
// policies: what it writes comes in an Event, and what a policy says of an
// event comes through a function.
//
// The idea: whoever decides never waits. Record drops what is not wanted and
// puts the rest into a bounded queue; everything that costs happens behind it,
// in goroutines that Run owns.
//
//	Record ─► queue ─► input, drop, mask, JSON ─┬─► console
//	(sample, drop)                              ├─► file
//	                                            └─► buffer ─► upload, OPA's
//	                                           (memory or disk)  or OTLP
//
// Where something must give way, events do, the oldest first, and are counted.
// Headers that are secrets are erased before anything else sees the event.
package decisionlog
