// Package policies embeds the Rego that ships. It knows nothing of who
// evaluates it.
package policies

import "embed"

// FS holds the shipped policies and data, without their tests.
//
//go:embed policies.go
var FS embed.FS
