// Package envoy embeds the Envoy bootstrap that ships, so that the demo and
// the tests run the file that operators copy. It knows nothing of its content.
package envoy

import _ "embed"

// Bootstrap is envoy.yaml.
//
//go:embed envoy.yaml
var Bootstrap []byte
