// Package envoy embeds the Envoy bootstraps that ship, so that the demo and
// the tests run the files that operators copy. It knows nothing of its content.
package envoy

import _ "embed"

// Bootstrap is envoy.yaml.
//
//go:embed envoy.yaml
var Bootstrap []byte

// BootstrapHTTP is envoy-http.yaml, which asks by HTTP instead of gRPC.
//
//go:embed envoy-http.yaml
var BootstrapHTTP []byte
