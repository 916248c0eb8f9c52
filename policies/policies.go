// Package policies embeds the Rego that ships. It knows nothing of who
// evaluates it.
package policies

import "embed"

// FS holds the shipped policies and data; a loader leaves out the tests.
//
//go:embed envoy tegata
var FS embed.FS
