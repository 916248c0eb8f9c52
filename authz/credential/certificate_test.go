package credential

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"net/url"
	"strings"
	"testing"
)

// der stands for a certificate: only its hash counts. Its base64 has every
// character that Envoy escapes.
var der = bytes.Repeat([]byte{0xfb, 0xff, 0xfe, 1}, 50)

func certificate() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// escaped is PEM as Envoy URL-encodes it.
func escaped(text string) string {
	return strings.NewReplacer("\n", "%0A", " ", "%20", "+", "%2B", "/", "%2F", "=", "%3D").Replace(text)
}

func TestCertificateHash(t *testing.T) {
	t.Parallel()
	want := sha256.Sum256(der)
	other := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("issuer")}))
	headed := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der, Headers: map[string]string{"A": "b"}}))
	tests := []struct {
		name, in string
		err      error
	}{
		{"as Envoy sends it", escaped(certificate()), nil},
		{"escaped by others", url.PathEscape(certificate()), nil},
		{"plain", certificate(), nil},
		{"the first of a chain", escaped(certificate() + other), nil},
		{"none", "", ErrNone},
		{"broken escapes", "%zz" + certificate(), ErrMalformed},
		{"no PEM", escaped("certificate"), ErrMalformed},
		{"text before", escaped("x\n" + certificate()), ErrMalformed},
		{"a key", escaped(strings.ReplaceAll(certificate(), "CERTIFICATE", "PRIVATE KEY")), ErrMalformed},
		{"with headers", escaped(headed), ErrMalformed},
		{"cut", escaped(certificate()[:100]), ErrMalformed},
		{"too long", certificate() + strings.Repeat(" ", maxCertificate), ErrMalformed},
	}
	for _, tt := range tests {
		got, err := CertificateHash(tt.in)
		if !errors.Is(err, tt.err) || (err == nil) != bytes.Equal(got, want[:]) {
			t.Errorf("%s: got %x, %v, want %v", tt.name, got, err, tt.err)
		}
	}
}

func TestForwardedHash(t *testing.T) {
	t.Parallel()
	sum := sha256.Sum256(der)
	hash := hex.EncodeToString(sum[:])
	tests := []struct {
		name   string
		values []string
		err    error
	}{
		{"alone", []string{"Hash=" + hash}, nil},
		{"as Envoy sends it", []string{`By=spiffe://a/b;Hash=` + hash + `;Subject="CN=x,O=\"y;Hash=0\"";URI=spiffe://c/d`}, nil},
		{"name in lower case, digits in upper", []string{"hash=" + strings.ToUpper(hash)}, nil},
		{"no header", nil, ErrNone},
		{"no Hash", []string{`By=x;Subject="Hash=` + hash + `"`}, ErrNone},
		{"two headers", []string{"Hash=" + hash, "Hash=" + hash}, ErrMultiple},
		{"two elements", []string{"Hash=" + hash + ",By=x"}, ErrMultiple},
		{"two hashes", []string{"Hash=" + hash + ";Hash=" + hash}, ErrMultiple},
		{"short", []string{"Hash=" + hash[2:]}, ErrMalformed},
		{"no hex", []string{"Hash=" + strings.Repeat("x", 64)}, ErrMalformed},
		{"quoted", []string{`Hash="` + hash + `"`}, ErrMalformed},
		{"quote without end", []string{`Hash=` + hash + `;Subject="x`}, ErrMalformed},
		{"no pair", []string{"Hash"}, ErrMalformed},
		{"empty", []string{""}, ErrMalformed},
		{"too long", []string{"Hash=" + hash + ";URI=" + strings.Repeat("x", maxCertificate)}, ErrMalformed},
	}
	for _, tt := range tests {
		got, err := ForwardedHash(tt.values)
		if !errors.Is(err, tt.err) || (err == nil) != bytes.Equal(got, sum[:]) {
			t.Errorf("%s: got %x, %v, want %v", tt.name, got, err, tt.err)
		}
	}
}

// FuzzCertificates: whatever comes, a hash is one of 32 bytes, and of the one
// element there is.
func FuzzCertificates(f *testing.F) {
	f.Add(escaped(certificate()))
	f.Add(certificate())
	f.Add("Hash=" + strings.Repeat("0", 64) + `;Subject="a\",b"`)
	f.Add("Hash=1,Hash=2")
	f.Fuzz(func(t *testing.T, s string) {
		for _, read := range []func() ([]byte, error){
			func() ([]byte, error) { return CertificateHash(s) },
			func() ([]byte, error) { return ForwardedHash([]string{s}) },
		} {
			if hash, err := read(); (err == nil) != (len(hash) == sha256.Size) {
				t.Errorf("%q: got %x, %v", s, hash, err)
			}
		}
		if hash, err := ForwardedHash([]string{s}); err == nil && !strings.Contains(strings.ToLower(s), hex.EncodeToString(hash)) {
			t.Errorf("%q: got %x", s, hash)
		}
	})
}
