package forwardauth

import (
	"context"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/tegata/tegata/authz/check"
)

// contextFunc is a Checker that looks at the time it has.
type contextFunc func(context.Context) check.Decision

func (f contextFunc) Check(ctx context.Context, _ check.Request) check.Decision { return f(ctx) }

// TestAnAnswerComesWhileEnvoyWaits: it may let pass what it waited for in vain,
// and says how long it waits. What a client says to the others does not count.
func TestAnAnswerComesWhileEnvoyWaits(t *testing.T) {
	t.Parallel()
	const header = "\nX-Envoy-Expected-Rq-Timeout-Ms: "
	for _, tt := range []struct {
		name, in string
		want     time.Duration // 0: no end
	}{
		{"envoy", "GET /auth/envoy/a HTTP/1.1\nHost: a" + header + "200", 200 * time.Millisecond},
		{"envoy that waits for ever", "GET /auth/envoy/a HTTP/1.1\nHost: a" + header + "0", 0},
		{"envoy that does not say", "GET /auth/envoy/a HTTP/1.1\nHost: a", 0},
		{"no number", "GET /auth/envoy/a HTTP/1.1\nHost: a" + header + "-1", 0},
		{"too large a number", "GET /auth/envoy/a HTTP/1.1\nHost: a" + header + "18446744073709551615", 0},
		{"nginx", "GET /auth/nginx HTTP/1.1\nX-Forwarded-Host: a\nHost: a\nX-Original-Method: GET\nX-Original-Uri: /a" + header + "200", 0},
	} {
		var got time.Duration
		asked := false
		h, err := New(Config{Checker: contextFunc(func(ctx context.Context) check.Decision {
			asked = true
			if end, ok := ctx.Deadline(); ok {
				got = time.Until(end)
			}
			return check.Decision{Allowed: true}
		})})
		if err != nil {
			t.Fatal(err)
		}
		ask(h, arrived(t, tt.in))
		if !asked || got > tt.want || (got > 0) != (tt.want > 0) {
			t.Errorf("%s: asked %v, with %v to go, want %v", tt.name, asked, got, tt.want)
		}
	}
}

// TestOnlyEnvoyVouchesForCertificates: the others pass on what a client sends
// under that name, and so does a peer that is not trusted.
func TestOnlyEnvoyVouchesForCertificates(t *testing.T) {
	t.Parallel()
	const header = "\nX-Forwarded-Client-Cert: Hash=00"
	for _, tt := range []struct {
		name, in, peer string
		want           []string
	}{
		{"envoy", "GET /auth/envoy/a HTTP/1.1\nHost: a" + header, "127.0.0.1:1", []string{"Hash=00"}},
		{"a stranger", "GET /auth/envoy/a HTTP/1.1\nHost: a" + header, "192.0.2.1:1", nil},
		{"nginx", "GET /auth/nginx HTTP/1.1\nX-Forwarded-Host: a\nHost: a\nX-Original-Method: GET\nX-Original-Uri: /a" + header, "127.0.0.1:1", nil},
		{"traefik", "GET /auth/traefik HTTP/1.1\nHost: a\nX-Forwarded-Method: GET\nX-Forwarded-Host: a\nX-Forwarded-Uri: /a" + header, "127.0.0.1:1", nil},
	} {
		asked := false
		h := handler(t, func(r check.Request) check.Decision {
			if asked = true; !slices.Equal(r.Forwarded, tt.want) {
				t.Errorf("%s: got %q, want %q", tt.name, r.Forwarded, tt.want)
			}
			return check.Decision{Allowed: true}
		})
		r := arrived(t, tt.in)
		r.RemoteAddr = tt.peer
		if w := ask(h, r); !asked || w.Code != http.StatusOK {
			t.Errorf("%s: %d", tt.name, w.Code)
		}
	}
}
