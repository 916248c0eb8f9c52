package issuer

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/tegata/tegata/issuer/clientauth"
	"github.com/tegata/tegata/issuer/grant"
	"github.com/tegata/tegata/issuer/oauth"
	"github.com/tegata/tegata/issuer/realm"
)

func TestTheCallerIsWhomTrustedProxiesSaw(t *testing.T) {
	t.Parallel()
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	tests := []struct{ name, peer, forwarded, want string }{
		{"no proxy, no header", "192.0.2.1", "", "192.0.2.1"},
		{"no proxy, made-up header", "192.0.2.1", "198.51.100.7", "192.0.2.1"},
		{"one proxy", "10.0.0.1", "192.0.2.1", "192.0.2.1"},
		{"one proxy, caller made up more", "10.0.0.1", "198.51.100.7, 192.0.2.1", "192.0.2.1"},
		{"two proxies", "10.0.0.1", "198.51.100.7, 192.0.2.1, 10.0.0.2", "192.0.2.1"},
		{"two headers", "10.0.0.1", "198.51.100.7|192.0.2.1,10.0.0.2", "192.0.2.1"},
		{"all are proxies", "10.0.0.1", "10.0.0.3", "10.0.0.3"},
		{"a proxy that says nothing", "10.0.0.1", "", "10.0.0.1"},
		{"nonsense", "10.0.0.1", "192.0.2.1, unknown", "10.0.0.1"},
		{"with a port", "10.0.0.1", "192.0.2.1:4711", "192.0.2.1"},
		{"IPv6", "::1", "2001:db8::7", "2001:db8::7"},
		{"IPv6 with a port", "::1", "[2001:db8::7]:4711", "2001:db8::7"},
		{"IPv4 in IPv6", "10.0.0.1", "::ffff:192.0.2.1", "192.0.2.1"},
		{"without end", "10.0.0.1", strings.Repeat("10.0.0.1,", 1000) + "10.0.0.1", "10.0.0.1"},
	}
	for _, tt := range tests {
		got := caller(netip.MustParseAddr(tt.peer), strings.Split(tt.forwarded, "|"), trusted)
		if got.String() != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
}

// TestAProxysCertificateIsNobodyElses (RFC 8705 §6.5: where TLS ends).
func TestAProxysCertificateIsNobodyElses(t *testing.T) {
	t.Parallel()
	i := &Issuer{c: Config{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}}
	for address, want := range map[string]bool{"10.0.0.1:1": false, "192.0.2.1:1": true} {
		req := httptest.NewRequest(http.MethodGet, "/", nil)
		req.RemoteAddr, req.TLS = address, &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{Raw: []byte("c")}}}
		seen := false
		i.address(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
			seen = clientauth.CertificateThumbprint(req) != ""
		})).ServeHTTP(httptest.NewRecorder(), req)
		if seen != want {
			t.Errorf("from %s: seen %v, want %v", address, seen, want)
		}
	}
}

// secretIsRight authenticates by a secret alone.
type secretIsRight struct{ grant.ClientAuth }

func (secretIsRight) Authenticate(_ context.Context, _ realm.Realm, req *http.Request, form oauth.Form) (clientauth.Result, error) {
	if form["client_secret"] != "right" {
		return clientauth.Result{}, oauth.InvalidClient("no")
	}
	return clientauth.Result{}, nil
}

func TestGuessingAClientsSecretIsSlow(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	th := newThrottle(secretIsRight{}, func() time.Time { return now })
	try := func(address, client, secret string) error {
		req := httptest.NewRequest(http.MethodPost, "/", nil)
		req.RemoteAddr = address
		_, err := th.Authenticate(t.Context(), realm.Realm{ID: "r"}, req, oauth.Form{"client_id": client, "client_secret": secret})
		return err
	}
	status := func(err error) int {
		var e *oauth.Error
		if !errors.As(err, &e) {
			return http.StatusOK
		}
		if e.Status == 0 {
			return http.StatusUnauthorized
		}
		return e.Status
	}
	for n := range failuresAtOnce {
		if got := status(try("[2001:db8::1]:1", "a", "guess")); got != http.StatusUnauthorized {
			t.Fatalf("guess %d: %d", n, got)
		}
	}
	for name, tt := range map[string]struct {
		address, client, secret string
		want                    int
	}{
		"one more":                     {"[2001:db8::1]:1", "a", "guess", 429},
		"the right one":                {"[2001:db8::1]:1", "a", "right", 429},
		"the next address of that /64": {"[2001:db8::2]:9", "a", "guess", 429},
		"another network":              {"[2001:db8:1::1]:1", "a", "right", 200},
		"another client":               {"[2001:db8::1]:1", "b", "right", 200},
	} {
		if got := status(try(tt.address, tt.client, tt.secret)); got != tt.want {
			t.Errorf("%s: %d, want %d", name, got, tt.want)
		}
	}
	var e *oauth.Error
	if err := try("[2001:db8::1]:1", "a", "guess"); !errors.As(err, &e) || e.Header.Get("Retry-After") != "2" {
		t.Errorf("Retry-After is %v", e.Header)
	}
	now = now.Add(2 * time.Second)
	if got := status(try("[2001:db8::1]:1", "a", "right")); got != http.StatusOK {
		t.Errorf("after the wait: %d", got)
	}
}

func TestTheThrottleIsBounded(t *testing.T) {
	t.Parallel()
	th := newThrottle(nil, func() time.Time { return time.Unix(0, 0) })
	for n := range 3 * throttledMost {
		th.failed(attempt{from: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), 32)})
	}
	if len(th.attempts) > throttledMost {
		t.Errorf("%d attempts remembered, want at most %d", len(th.attempts), throttledMost)
	}
}
