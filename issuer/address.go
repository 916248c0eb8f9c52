package issuer

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// maxHops is how many addresses of X-Forwarded-For are looked at.
const maxHops = 16

// address makes the caller's address that of the person or program behind the
// proxies that are trusted: below here RemoteAddr is whom limits count and
// what sessions remember. Without trusted proxies it is the connection's. A
// certificate that a trusted proxy showed is its own, and no caller's; the
// caller's is in the header that the proxy is said to write, and nobody else is
// believed about that.
func (i *Issuer) address(next http.Handler) http.Handler {
	if len(i.c.TrustedProxies) == 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if peer, err := netip.ParseAddrPort(req.RemoteAddr); err == nil {
			from := caller(peer.Addr().Unmap(), req.Header.Values("X-Forwarded-For"), i.c.TrustedProxies)
			req.RemoteAddr = netip.AddrPortFrom(from, 0).String()
			if trusts(i.c.TrustedProxies, peer.Addr().Unmap()) {
				req.TLS = i.behind(req)
			}
		}
		next.ServeHTTP(w, req)
	})
}

func trusts(proxies []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(proxies, func(p netip.Prefix) bool { return p.Contains(a) })
}

// behind is the connection to the trusted proxy, as if it were the caller's.
func (i *Issuer) behind(req *http.Request) *tls.ConnectionState {
	var s tls.ConnectionState
	if req.TLS != nil {
		s = *req.TLS
	}
	s.PeerCertificates, s.VerifiedChains = i.forwarded(req), nil
	if req.TLS == nil && s.PeerCertificates == nil {
		return nil
	}
	return &s
}

// forwarded is what a trusted proxy hands on. A header that cannot be read is no
// certificate.
func (i *Issuer) forwarded(req *http.Request) []*x509.Certificate {
	if i.c.CertificateHeader == "" {
		return nil
	}
	chain, err := forwarded(req.Header, i.c.CertificateHeader)
	if err != nil {
		i.c.Logger.WarnContext(req.Context(), "forwarded certificate not read", "header", i.c.CertificateHeader, "err", err)
		return nil
	}
	return chain
}

// caller walks X-Forwarded-For from its end, where the nearest proxy wrote:
// the first address that is no trusted proxy's is the caller. What lies before
// it is the caller's own invention. Behind an entry that is no address nobody
// is known, so the proxy that passed it on counts.
func caller(peer netip.Addr, forwarded []string, trusted []netip.Prefix) netip.Addr {
	hops := strings.Split(strings.Join(forwarded, ","), ",")
	for range maxHops {
		if !trusts(trusted, peer) || len(hops) == 0 {
			return peer
		}
		text := strings.TrimSpace(hops[len(hops)-1])
		hops = hops[:len(hops)-1]
		next, err := netip.ParseAddr(text)
		if err != nil {
			withPort, err := netip.ParseAddrPort(text) // some proxies add the port
			if err != nil {
				return peer
			}
			next = withPort.Addr()
		}
		peer = next.Unmap().WithZone("")
	}
	return peer
}
