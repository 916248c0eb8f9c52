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

// BootstrapStreams is envoy-streams.yaml, which holds long-lived requests.
//
//go:embed envoy-streams.yaml
var BootstrapStreams []byte

// BootstrapMTLS is envoy-mtls.yaml, which asks clients for certificates. Its
// keys and certificates are in TLSFolder: server.crt, server.key, clients.crt.
//
//go:embed envoy-mtls.yaml
var BootstrapMTLS []byte

// TLSFolder is where BootstrapMTLS looks for keys and certificates.
const TLSFolder = "/etc/envoy/tls"
