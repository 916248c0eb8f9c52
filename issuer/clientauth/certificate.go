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
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
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
// trusted, with the client's name (RFC 8705 §2.1).
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
	if !named(c.CertificateName(), shown) {
		return badCertificate(errors.New("the certificate has another name"))
	}
	return nil
}

// named reports whether a certificate has the one name that is wanted (RFC 8705
// §2.1.2). Nothing is a pattern, on neither side: a certificate for
// *.example.com is not one for a.example.com here.
func named(want client.CertificateName, shown *x509.Certificate) bool {
	switch {
	case want.Subject != "":
		var subject pkix.RDNSequence
		rest, err := asn1.Unmarshal(shown.RawSubject, &subject)
		return err == nil && len(rest) == 0 && normalDN(want.Subject) == normalDN(subject.String())
	case want.DNS != "":
		return slices.ContainsFunc(shown.DNSNames, func(name string) bool { return strings.EqualFold(name, want.DNS) })
	case want.URI != "":
		uri, err := url.Parse(want.URI) // as the certificate's were
		return err == nil && slices.ContainsFunc(shown.URIs, func(u *url.URL) bool { return u.String() == uri.String() })
	case want.IP != "":
		a, err := netip.ParseAddr(want.IP)
		return err == nil && slices.ContainsFunc(shown.IPAddresses, func(ip net.IP) bool {
			b, ok := netip.AddrFromSlice(ip)
			return ok && a.Unmap() == b.Unmap()
		})
	case want.Email != "":
		return slices.ContainsFunc(shown.EmailAddresses, func(address string) bool { return sameMailbox(address, want.Email) })
	}
	return false
}

// sameMailbox compares the host without case, the rest as it is (RFC 5280
// §4.2.1.6).
func sameMailbox(a, b string) bool {
	i, j := strings.LastIndexByte(a, '@'), strings.LastIndexByte(b, '@')
	return i >= 0 && j >= 0 && a[:i] == b[:j] && strings.EqualFold(a[i:], b[j:])
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
