package credential

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"net/url"
	"strings"
)

// maxCertificate is the longest certificate or list of such that is read, in
// bytes as sent.
const maxCertificate = 64 << 10

// CertificateHash returns the SHA-256 of a client's certificate (its DER, as
// in x5t#S256, RFC 8705 §3.1), which is given as PEM, URL-encoded or not:
// Envoy's attributes.source.certificate. Of several blocks, the first is the
// client's. ErrNone: there is none; ErrMalformed.
func CertificateHash(certificate string) ([]byte, error) {
	if certificate == "" {
		return nil, ErrNone
	}
	if len(certificate) > maxCertificate {
		return nil, ErrMalformed
	}
	if strings.Contains(certificate, "%") { // PEM has none
		var err error
		if certificate, err = url.PathUnescape(certificate); err != nil {
			return nil, ErrMalformed
		}
	}
	const begin = "-----BEGIN CERTIFICATE-----"
	if !strings.HasPrefix(strings.TrimLeft(certificate, " \t\r\n"), begin) {
		return nil, ErrMalformed
	}
	block, _ := pem.Decode([]byte(certificate))
	if block == nil || block.Type != "CERTIFICATE" || len(block.Headers) > 0 || len(block.Bytes) == 0 {
		return nil, ErrMalformed
	}
	sum := sha256.Sum256(block.Bytes)
	return sum[:], nil
}

// ForwardedHash returns the Hash of x-forwarded-client-cert, the same SHA-256
// by Envoy's hand. The values are those of all header fields of that name, of
// a peer that is trusted to have removed the client's own. One element must be
// there, and one Hash in it: of several elements, added by proxies on the way,
// none is surely the client's. Errors: ErrNone, ErrMultiple, ErrMalformed.
func ForwardedHash(values []string) ([]byte, error) {
	switch {
	case len(values) == 0:
		return nil, ErrNone
	case len(values) > 1:
		return nil, ErrMultiple
	case len(values[0]) > maxCertificate:
		return nil, ErrMalformed
	}
	pairs, err := elements(values[0])
	if err != nil {
		return nil, err
	}
	var hash []byte
	for _, pair := range pairs {
		name, value, ok := strings.Cut(pair, "=")
		if !ok {
			return nil, ErrMalformed
		}
		if !strings.EqualFold(strings.TrimSpace(name), "Hash") {
			continue
		}
		if hash != nil {
			return nil, ErrMultiple
		}
		if hash, err = hex.DecodeString(value); err != nil || len(hash) != sha256.Size {
			return nil, ErrMalformed
		}
	}
	if hash == nil {
		return nil, ErrNone
	}
	return hash, nil
}

// elements splits the one element of a value at its semicolons, but for those
// in quotes.
func elements(value string) ([]string, error) {
	var pairs []string
	start, quoted := 0, false
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case c == '"':
			quoted = !quoted
		case c == '\\' && quoted:
			i++
		case quoted:
		case c == ',':
			return nil, ErrMultiple
		case c == ';':
			pairs, start = append(pairs, value[start:i]), i+1
		}
	}
	if quoted {
		return nil, ErrMalformed
	}
	return append(pairs, value[start:]), nil
}
