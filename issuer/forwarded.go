package issuer

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// Header fields in which a trusted proxy hands on the certificate that a client
// showed to it, as Config.CertificateHeader. The name decides the format.
const (
	HeaderEnvoy   = "X-Forwarded-Client-Cert" // Envoy's Cert= and Chain=: URL-encoded PEM
	HeaderNGINX   = "Ssl-Client-Cert"         // NGINX's $ssl_client_escaped_cert: URL-encoded PEM
	HeaderRFC9440 = "Client-Cert"             // RFC 9440, with Client-Cert-Chain
)

// Limits on what a proxy hands on.
const (
	maxForwarded = 32 << 10 // bytes of one field
	maxChain     = 10       // certificates behind the client's
)

// forwardedReaders are the formats, by name.
var forwardedReaders = map[string]func(http.Header) ([][]byte, error){
	HeaderEnvoy: readEnvoy, HeaderNGINX: readNGINX, HeaderRFC9440: readRFC9440,
}

// forwarded is the client's certificate, and those behind it, in the field of
// that name; none if there is no field or if it is empty.
func forwarded(h http.Header, name string) ([]*x509.Certificate, error) {
	chain, err := forwardedReaders[name](h)
	if err != nil || len(chain) == 0 {
		return nil, err
	}
	if len(chain) > maxChain+1 {
		return nil, errors.New("the chain is too long")
	}
	certificates := make([]*x509.Certificate, len(chain))
	for i, der := range chain {
		if certificates[i], err = x509.ParseCertificate(der); err != nil {
			return nil, fmt.Errorf("certificate %d: %w", i, err)
		}
	}
	return certificates, nil
}

// field is the one value of a field. A second would be of somebody before the
// trusted proxy, or of a proxy behind it: none is surely the client's.
func field(h http.Header, name string) (string, error) {
	values := h.Values(name)
	switch {
	case len(values) == 0:
		return "", nil
	case len(values) > 1:
		return "", errors.New("the field is there more than once")
	case len(values[0]) > maxForwarded:
		return "", errors.New("the field is too long")
	}
	return strings.TrimSpace(values[0]), nil
}

func readNGINX(h http.Header) ([][]byte, error) {
	value, err := field(h, HeaderNGINX)
	if err != nil {
		return nil, err
	}
	return escapedPEM(value)
}

// escapedPEM is URL-encoded PEM: certificates and nothing else.
func escapedPEM(value string) ([][]byte, error) {
	text, err := url.PathUnescape(value)
	if err != nil {
		return nil, errors.New("not URL-encoded")
	}
	var chain [][]byte
	rest := bytes.TrimSpace([]byte(text))
	for len(rest) > 0 {
		if !bytes.HasPrefix(rest, []byte("-----BEGIN CERTIFICATE-----")) {
			return nil, errors.New("not PEM of certificates alone")
		}
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil || block.Type != "CERTIFICATE" || len(block.Headers) > 0 {
			return nil, errors.New("not PEM of certificates alone")
		}
		chain = append(chain, block.Bytes)
		rest = bytes.TrimSpace(rest)
	}
	return chain, nil
}

// readEnvoy reads the one element that a proxy which replaces the field leaves
// (SANITIZE_SET): of several, added by proxies on the way, none is surely the
// client's.
func readEnvoy(h http.Header) ([][]byte, error) {
	value, err := field(h, HeaderEnvoy)
	if err != nil || value == "" {
		return nil, err
	}
	pairs, err := envoyPairs(value)
	if err != nil {
		return nil, err
	}
	leaf, err := escapedPEM(pairs["cert"])
	if err != nil {
		return nil, err
	}
	chain, err := escapedPEM(pairs["chain"])
	switch {
	case err != nil:
		return nil, err
	case len(leaf) > 1:
		return nil, errors.New("more than one certificate as Cert")
	case len(leaf) == 0:
		return chain, nil
	case len(chain) > 0 && bytes.Equal(chain[0], leaf[0]): // Envoy's Chain begins with it
		return chain, nil
	}
	return append(leaf, chain...), nil
}

// envoyPairs are the Cert and the Chain of an element, whose keys are without
// case and whose values may be quoted.
func envoyPairs(value string) (map[string]string, error) {
	pairs := make(map[string]string)
	for value != "" {
		name, rest, ok := strings.Cut(value, "=")
		if !ok {
			return nil, errors.New("a part is no pair")
		}
		content, rest, err := envoyValue(rest)
		if err != nil {
			return nil, err
		}
		name = strings.ToLower(strings.TrimSpace(name))
		if _, twice := pairs[name]; twice && (name == "cert" || name == "chain") {
			return nil, errors.New("a part is there twice")
		}
		pairs[name] = content
		value = rest
	}
	return pairs, nil
}

// envoyValue is the value that text begins with, and what follows its
// semicolon.
func envoyValue(text string) (value, rest string, err error) {
	var b strings.Builder
	quoted := false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			quoted = !quoted
		case c == '\\' && quoted && i+1 < len(text):
			i++
			b.WriteByte(text[i])
		case c == ',' && !quoted:
			return "", "", errors.New("more than one element")
		case c == ';' && !quoted:
			return b.String(), text[i+1:], nil
		default:
			b.WriteByte(c)
		}
	}
	if quoted {
		return "", "", errors.New("a quote is open")
	}
	return b.String(), "", nil
}

// readRFC9440 reads byte sequences of structured fields (RFC 9440 §2.1, §2.2).
func readRFC9440(h http.Header) ([][]byte, error) {
	leaf, err := field(h, HeaderRFC9440)
	if err != nil || leaf == "" {
		return nil, err
	}
	der, err := byteSequence(leaf)
	if err != nil {
		return nil, err
	}
	chain := [][]byte{der}
	// A list may be split over several fields.
	list := strings.Join(h.Values(HeaderRFC9440+"-Chain"), ",")
	if len(list) > maxForwarded {
		return nil, errors.New("the chain is too long")
	}
	if list == "" {
		return chain, nil
	}
	for item := range strings.SplitSeq(list, ",") {
		if der, err = byteSequence(strings.TrimSpace(item)); err != nil {
			return nil, err
		}
		chain = append(chain, der)
	}
	return chain, nil
}

// byteSequence is RFC 8941 §3.3.5, without parameters.
func byteSequence(text string) ([]byte, error) {
	if len(text) < 2 || text[0] != ':' || text[len(text)-1] != ':' {
		return nil, errors.New("not a byte sequence")
	}
	data, err := base64.StdEncoding.DecodeString(text[1 : len(text)-1])
	if err != nil || len(data) == 0 {
		return nil, errors.New("not a byte sequence")
	}
	return data, nil
}
