package clientauth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"

	"github.com/tegata/tegata/internal/jose"
	"github.com/tegata/tegata/issuer/client"
	"github.com/tegata/tegata/issuer/oauth"
)

// certificate is the one that the caller showed in the TLS handshake, whose key
// it holds therefore; nil if it showed none. Whose it is, nobody has checked.
func certificate(req *http.Request) *x509.Certificate {
	if req.TLS == nil || len(req.TLS.PeerCertificates) == 0 {
		return nil
	}
	return req.TLS.PeerCertificates[0]
}

// CertificateThumbprint is the x5t#S256 of the caller's certificate (RFC 8705
// §3.1), or nothing.
func CertificateThumbprint(req *http.Request) string {
	c := certificate(req)
	if c == nil {
		return ""
	}
	sum := sha256.Sum256(c.Raw)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// byCertificate authenticates by mutual TLS (RFC 8705 §2).
func (a *Authenticator) byCertificate(ctx context.Context, c client.Client, req *http.Request) (Result, error) {
	shown := certificate(req)
	if shown == nil {
		return Result{}, badCertificate(errors.New("no client certificate"))
	}
	if c.ClientAuthenticatorType == client.AuthSelfSigned {
		return Result{Client: c, Method: MethodSelfSigned}, a.checkSelfSigned(ctx, c, shown)
	}
	return Result{Client: c, Method: MethodTLS}, a.checkIssued(c, shown, req.TLS.PeerCertificates[1:])
}

// checkIssued is tls_client_auth: a certificate of an authority that is
// trusted, with the client's subject (RFC 8705 §2.1).
func (a *Authenticator) checkIssued(c client.Client, shown *x509.Certificate, more []*x509.Certificate) error {
	if a.c.ClientCAs == nil {
		return badCertificate(errors.New("no authority is trusted"))
	}
	between := x509.NewCertPool()
	for _, m := range more {
		between.AddCert(m)
	}
	_, err := shown.Verify(x509.VerifyOptions{
		Roots: a.c.ClientCAs, Intermediates: between, CurrentTime: a.c.Now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return badCertificate(err)
	}
	var subject pkix.RDNSequence
	if rest, err := asn1.Unmarshal(shown.RawSubject, &subject); err != nil || len(rest) > 0 {
		return badCertificate(errors.New("the certificate's subject is malformed"))
	}
	want := c.SubjectDN()
	if want == "" || normalDN(want) != normalDN(subject.String()) {
		return badCertificate(errors.New("the certificate has another subject"))
	}
	return nil
}

// normalDN is a distinguished name (RFC 4514) without the spaces around its
// parts, and with attribute types in capitals. Values are compared as they are.
func normalDN(dn string) string {
	var parts []string
	start, escaped := 0, false
	for i := 0; i <= len(dn); i++ {
		switch {
		case i == len(dn) || dn[i] == ',' && !escaped:
			name, value, _ := strings.Cut(dn[start:i], "=")
			parts = append(parts, strings.ToUpper(strings.TrimSpace(name))+"="+strings.TrimSpace(value))
			start = i + 1
			escaped = false
		default:
			escaped = dn[i] == '\\' && !escaped
		}
	}
	return strings.Join(parts, ",")
}

// checkSelfSigned is self_signed_tls_client_auth: the certificate is of a key
// that the client has registered (RFC 8705 §2.2). Who signed it, and until
// when, says nothing; that the caller holds the key, the handshake has shown.
func (a *Authenticator) checkSelfSigned(ctx context.Context, c client.Client, shown *x509.Certificate) error {
	set, err := a.keys(ctx, c, "")
	if err != nil {
		return badCertificate(err)
	}
	want, err := jose.Thumbprint(shown.PublicKey)
	if err != nil {
		return badCertificate(err)
	}
	for _, k := range set.Keys() {
		got, err := jose.Thumbprint(k.Key)
		if err == nil && subtle.ConstantTimeCompare(got[:], want[:]) == 1 {
			return nil
		}
	}
	return badCertificate(errors.New("the certificate's key is not registered"))
}

func badCertificate(cause error) *oauth.Error {
	e := oauth.InvalidClient(textInvalid)
	e.Cause = cause
	return e
}
