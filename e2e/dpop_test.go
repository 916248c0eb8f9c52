package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"maps"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tegata/tegata/internal/stack"
)

// holder is a client with a key of its own, to which tokens are bound.
type holder struct{ *forge }

func newHolder(t *testing.T) holder {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return holder{&forge{ec: key}}
}

func (h holder) jwk(t *testing.T) map[string]any {
	t.Helper()
	point, err := h.ec.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return map[string]any{"kty": "EC", "crv": "P-256", "x": b64(point[1:33]), "y": b64(point[33:])}
}

// thumbprint is that of RFC 7638: members in order, no spaces.
func (h holder) thumbprint(t *testing.T) string {
	t.Helper()
	sum := sha256.Sum256(encode(t, h.jwk(t))) // encoding/json sorts
	return b64(sum[:])
}

// proof makes a good one for GET, but for the changes; nil removes a claim.
func (h holder) proof(t *testing.T, token, target string, changes map[string]any) string {
	t.Helper()
	ath := sha256.Sum256([]byte(token))
	claims := map[string]any{"jti": rand.Text(), "htm": "GET", "htu": target, "iat": time.Now().Unix(), "ath": b64(ath[:])}
	maps.Copy(claims, changes)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	header := map[string]any{"alg": "ES256", "typ": "dpop+jwt", "jwk": h.jwk(t)}
	return h.signBytes(t, encode(t, header), encode(t, claims))
}

// bound makes a token of f's that only h can use.
func (f *foreign) bound(t *testing.T, h holder) string {
	t.Helper()
	return f.sign(t, nil, func(c map[string]any) {
		c["typ"], c["cnf"] = "DPoP", map[string]any{"jkt": h.thumbprint(t)}
	})
}

// wantDPoP checks a refusal of RFC 9449 §7.1: challenged by DPoP, with the
// algorithms that would do.
func wantDPoP(t *testing.T, what string, a answer, code string) {
	t.Helper()
	for _, challenge := range a.header.Values("WWW-Authenticate") {
		if a.status == http.StatusUnauthorized && strings.HasPrefix(challenge, "DPoP ") &&
			strings.Contains(challenge, `error="`+code+`"`) && strings.Contains(challenge, `algs="ES256 `) {
			return
		}
	}
	t.Errorf("%s: got %v %q, want 401 with a DPoP challenge and error %q", what, a, a.header.Values("WWW-Authenticate"), code)
}

// TestBoundTokensNeedTheirKey (RFC 9449): a token that was given to the holder
// of a key passes with a fresh proof of it, and no other way; through Envoy's
// gRPC and its HTTP checks.
func TestBoundTokensNeedTheirKey(t *testing.T) {
	for name, door := range map[string]func(*testing.T, *stack.Config){
		"grpc":               func(*testing.T, *stack.Config) {},
		"grpc, encoded also": rawHeaders,
		"http":               askingByHTTP,
	} {
		t.Run(name, func(t *testing.T) {
			f := newForeign(t)
			s := ownStack(t, func(c *stack.Config) {
				door(t, c)
				onlyIssuers(t, c, f.trusted(f.introspected(time.Minute, ", opaque_only: true")))
			})
			provesItsKey(t, s, f)
		})
	}
}

func rawHeaders(t *testing.T, c *stack.Config) {
	t.Helper()
	withEnvoy(t, c, failureMode, failureMode+"                      encode_raw_headers: true\n")
}

func provesItsKey(t *testing.T, s *stack.Stack, f *foreign) {
	t.Helper()
	alice, mallory := newHolder(t), newHolder(t)
	token, target := f.bound(t, alice), s.GatewayURL+"/orders"
	show := func(scheme, token string, proofs ...string) answer {
		lines := []string{"Authorization: " + scheme + " " + token}
		for _, p := range proofs {
			lines = append(lines, "DPoP: "+p)
		}
		return raw(s, http.MethodGet, "/orders", lines...)
	}

	once := alice.proof(t, token, target, nil)
	wantOK(t, "a good proof", show("DPoP", token, once))
	wantDPoP(t, "the same proof again", show("DPoP", token, once), "invalid_dpop_proof")
	wantOK(t, "another", show("dpop", token, alice.proof(t, token, target, nil)))
	wantDPoP(t, "no proof", show("DPoP", token), "invalid_dpop_proof")

	now := time.Now().Unix()
	for what, changes := range map[string]map[string]any{
		"of another method": {"htm": "POST"},
		"of another path":   {"htu": s.GatewayURL + "/orders/7"},
		"of another host":   {"htu": "http://api.example/orders"},
		"of another scheme": {"htu": strings.Replace(target, "http:", "https:", 1)},
		"of no URL":         {"htu": "/orders"},
		"without a URL":     {"htu": nil},
		"of another token":  {"ath": b64(make([]byte, 32))},
		"of no token":       {"ath": nil},
		"too old":           {"iat": now - 120},
		"of the future":     {"iat": now + 60},
		"without a time":    {"iat": nil},
		"without an id":     {"jti": nil},
	} {
		wantDPoP(t, "a proof "+what, show("DPoP", token, alice.proof(t, token, target, changes)), "invalid_dpop_proof")
	}
	wantDPoP(t, "a proof by another key", show("DPoP", token, mallory.proof(t, token, target, nil)), "invalid_token")
	wantDPoP(t, "noise", show("DPoP", token, "a.b.c"), "invalid_dpop_proof")

	// As a bearer token it is stolen goods, whatever lies beside it (§7.2).
	wantRefused(t, "as a bearer token", show("Bearer", token), http.StatusUnauthorized, "invalid_token")
	wantDPoP(t, "as a bearer token", show("Bearer", token), "invalid_token")
	wantDPoP(t, "as a bearer token with a proof", show("Bearer", token, alice.proof(t, token, target, nil)), "invalid_token")
	plain := f.sign(t, nil, nil)
	wantOK(t, "a bearer token", show("Bearer", plain))
	wantDPoP(t, "a bearer token shown by DPoP", show("DPoP", plain, alice.proof(t, plain, target, nil)), "invalid_token")

	// Two of a kind could be read in two ways.
	one, two := alice.proof(t, token, target, nil), alice.proof(t, token, target, nil)
	for what, a := range map[string]answer{
		"two proofs":       show("DPoP", token, one, two),
		"one proof twice":  show("DPoP", token, one, one),
		"joined by comma":  show("DPoP", token, one+", "+two),
		"both credentials": raw(s, http.MethodGet, "/orders", "Authorization: DPoP "+token, "Authorization: Bearer "+plain, "DPoP: "+one),
	} {
		if a.status != http.StatusBadRequest {
			t.Errorf("%s: got %v, want 400", what, a)
		}
	}
	wantOK(t, "none of which was used up", show("DPoP", token, one))

	// What an issuer says of an opaque token binds it as well.
	opaque := f.issue(func(a map[string]any) {
		a["token_type"], a["typ"], a["cnf"] = "DPoP", "DPoP", map[string]any{"jkt": alice.thumbprint(t)}
	})
	wantOK(t, "an opaque token", show("DPoP", opaque, alice.proof(t, opaque, target, nil)))
	wantDPoP(t, "an opaque token without its key", show("DPoP", opaque, mallory.proof(t, opaque, target, nil)), "invalid_token")
	wantDPoP(t, "an opaque token as a bearer token", show("Bearer", opaque), "invalid_token")
}

// TestTheURLOfAProof: a proof names the URL as its client wrote it; Envoy tells
// authz the URL as Envoy understood it. Both are one where RFC 3986 §6.2 says
// so, and nowhere else. Headers by which proxies speak of each other's URLs
// are a client's own word here.
func TestTheURLOfAProof(t *testing.T) {
	f, h := newForeign(t), newHolder(t)
	s := ownStack(t, func(c *stack.Config) { onlyIssuers(t, c, f.trusted()) })
	token, host := f.bound(t, h), strings.TrimPrefix(s.GatewayURL, "http://")
	for _, tt := range []struct {
		path, host, htu string
		good            bool
		more            []string
	}{
		{path: "/orders", htu: "http://" + host + "/orders", good: true},
		{path: "/orders?a=b", htu: "http://" + host + "/orders", good: true},
		{path: "/orders?a=b", htu: "http://" + host + "/orders?c=d#e", good: true},
		{path: "/orders", htu: "HTTP://" + host + "/orders", good: true},
		{path: "/orders", htu: "http://" + host + "/./x/../orders", good: true},
		{path: "/x/../orders", htu: "http://" + host + "/x/../orders", good: true},
		{path: "/x/%2E%2e/orders", htu: "http://" + host + "/x/%2E%2e/orders", good: true},
		{path: "/%6frders", htu: "http://" + host + "/%6frders", good: true},
		{path: "/orders/a%2Fb", htu: "http://" + host + "/orders/a%2fb", good: true},
		{path: "/orders/a%2Fb", htu: "http://" + host + "/orders/a/b"},
		{path: "/orders", htu: "http://" + host + "/orders/"},
		{path: "/orders", htu: "http://" + host + "/Orders"},
		{path: "/orders", host: "api.example", htu: "http://api.example/orders", good: true},
		{path: "/orders", host: "API.example", htu: "http://api.EXAMPLE/orders", good: true},
		{path: "/orders", host: "api.example:80", htu: "http://api.example/orders", good: true},
		{path: "/orders", host: "api.example:8443", htu: "http://api.example:8443/orders", good: true},
		{path: "/orders", host: "api.example:8443", htu: "http://api.example/orders"},
		{path: "/orders", host: "api.example", htu: "http://" + host + "/orders"},
		{path: "/orders", host: "[::1]:8080", htu: "http://[::1]:8080/orders", good: true},
		{path: "/orders", htu: "http://user@" + host + "/orders"},
		{path: "/orders", htu: "https://" + host + "/orders", more: []string{"X-Forwarded-Proto: https"}},
		{path: "/orders", htu: "http://api.example/orders", more: []string{"X-Forwarded-Host: api.example", "Forwarded: host=api.example"}},
		{path: "/orders", htu: "http://" + host + "/orders/7", more: []string{"X-Original-URI: /orders/7", "X-Envoy-Original-Path: /orders/7"}},
		// Envoy merges slashes before anybody sees them, and RFC 3986 has no
		// such rule: a client that sends them needs to do so in its proof as
		// the API sees it.
		{path: "//orders", htu: "http://" + host + "//orders"},
		{path: "//orders", htu: "http://" + host + "/orders", good: true},
	} {
		lines := append([]string{"Authorization: DPoP " + token, "DPoP: " + h.proof(t, token, tt.htu, nil)}, tt.more...)
		a := rawTo(s, tt.host, http.MethodGet, tt.path, lines...)
		if tt.good {
			wantOK(t, tt.path+" at "+tt.host+" with "+tt.htu, a)
		} else {
			wantDPoP(t, tt.path+" at "+tt.host+" with "+tt.htu, a, "invalid_dpop_proof")
		}
	}
}

// TestProofsWithANonce (RFC 9449 §9): what the challenge hands out makes the
// next proof good; other algorithms than those configured are not.
func TestProofsWithANonce(t *testing.T) {
	f, h := newForeign(t), newHolder(t)
	s := ownStack(t, func(c *stack.Config) {
		onlyIssuers(t, c, f.trusted())
		c.Set["authz.dpop.nonces"] = "true"
		c.Set["authz.dpop.scheme"] = "https" // TLS ends before this Envoy
		edit(t, c, regexp.MustCompile(`(?s)$`), "  dpop: { algorithms: [ES256, EdDSA], proofs: 64 }\n")
	})
	token, target := f.bound(t, h), "https"+strings.TrimPrefix(s.GatewayURL, "http")+"/orders"
	show := func(changes map[string]any) answer {
		return raw(s, http.MethodGet, "/orders", "Authorization: DPoP "+token, "DPoP: "+h.proof(t, token, target, changes))
	}
	a := show(nil)
	wantDPoP(t, "without a nonce", a, "use_dpop_nonce")
	nonce := a.header.Get("DPoP-Nonce")
	if nonce == "" || a.header.Get("Cache-Control") != "no-store" || !strings.Contains(a.header.Get("WWW-Authenticate"), `algs="ES256 EdDSA"`) {
		t.Errorf("the challenge hands out %q: %q", nonce, a.header)
	}
	wantOK(t, "with the nonce", show(map[string]any{"nonce": nonce}))
	wantDPoP(t, "with another nonce", show(map[string]any{"nonce": nonce[1:] + "x"}), "use_dpop_nonce")
	wantDPoP(t, "as plain http", show(map[string]any{"nonce": nonce, "htu": s.GatewayURL + "/orders"}), "invalid_dpop_proof")

	// The memory of proofs is full at some time: then nobody passes who could
	// have been here before.
	full := false
	for range 200 {
		if a := show(map[string]any{"nonce": nonce}); a.status != http.StatusOK {
			full = true
			wantUnavailable(t, "no more proofs can be remembered", a)
			break
		}
	}
	if !full {
		t.Error("200 proofs in a memory for 64")
	}
}
