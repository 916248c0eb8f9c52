package e2e

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tegata/tegata/internal/stack"
)

// maxRSS is what authz may come to need whatever it is sent, in MiB.
const maxRSS = 256

// TestHostileTokensAreRefused: every forgery and every oddity is a clean 4xx
// of RFC 6750, and authz stays as well as it was.
func TestHostileTokensAreRefused(t *testing.T) {
	f := newForge(t)
	s := f.stack
	good := f.sign(t, nil, nil)
	wantOK(t, "the control: a good token of the second issuer", ask(s, http.MethodGet, "/orders", good))

	for name, token := range f.forgeries(t) {
		t.Run(name, func(t *testing.T) {
			wantClean(t, raw(s, http.MethodGet, "/orders", "Authorization: Bearer "+token))
			wantOK(t, "a good token right after it", ask(s, http.MethodGet, "/orders", good))
		})
	}
	for name, headers := range map[string][]string{
		"two authorization headers, both good": {"Authorization: Bearer " + good, "Authorization: Bearer " + good},
		"two credentials in one header":        {"Authorization: Bearer " + good + ", Bearer " + good},
		"another scheme":                       {"Authorization: Basic " + good},
		"no scheme":                            {"Authorization: " + good},
		"nothing after the scheme":             {"Authorization: Bearer "},
		"a space in the token":                 {"Authorization: Bearer " + good[:20] + " " + good[20:]},
	} {
		t.Run(name, func(t *testing.T) {
			a := raw(s, http.MethodGet, "/orders", headers...)
			if a.err != nil || a.status/100 != 4 || !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Bearer") {
				t.Errorf("got %v, want 4xx with a Bearer challenge", a)
			}
		})
	}
	f.wantHealthy(t)
}

// TestTokensOfOtherKindsAreNoAccessTokens: what the issuer signs for other
// purposes opens nothing.
func TestTokensOfOtherKindsAreNoAccessTokens(t *testing.T) {
	s := theStack(t)
	p := login(t, s)
	wantOK(t, "the access token", ask(s, http.MethodGet, "/orders", p.tokens.AccessToken))
	wantRefused(t, "the ID token", ask(s, http.MethodGet, "/orders", p.idToken), http.StatusUnauthorized, "invalid_token")
	wantRefused(t, "the refresh token", ask(s, http.MethodGet, "/orders", p.tokens.RefreshToken), http.StatusUnauthorized, "invalid_token")
}

// TestFloodsStayBounded: unknown keys do not become a flood at the issuer, and
// many large tokens do not become memory.
func TestFloodsStayBounded(t *testing.T) {
	f := newForge(t)
	s := f.stack
	good := f.sign(t, nil, nil)
	wantOK(t, "before the floods", ask(s, http.MethodGet, "/orders", good))
	before := f.fetches.Load()
	each(t, 1000, func(i int) error {
		token := f.sign(t, func(h map[string]any) { h["kid"] = fmt.Sprintf("unknown-%d", i) }, nil)
		if a := ask(s, http.MethodGet, "/orders", token); a.err != nil || a.status != http.StatusUnauthorized {
			return fmt.Errorf("unknown kid %d: got %v, want 401", i, a)
		}
		return nil
	})
	if n := f.fetches.Load() - before; n > 20 {
		t.Errorf("1000 unknown kids caused %d fetches of the key set", n)
	}
	each(t, 2000, func(i int) error {
		token := f.sign(t, nil, func(c map[string]any) { c["pad"] = fmt.Sprint(i, strings.Repeat("x", 10_000)) })
		if a := ask(s, http.MethodGet, "/orders", token); a.err != nil || a.status != http.StatusOK {
			return fmt.Errorf("large token %d: got %v, want 200", i, a)
		}
		return nil
	})
	wantOK(t, "after the floods", ask(s, http.MethodGet, "/orders", good))
	f.wantHealthy(t)
}

// wantClean wants a refusal as RFC 6750 §3.1 has it for a bad token.
func wantClean(t *testing.T, a answer) {
	t.Helper()
	challenge := a.header.Get("WWW-Authenticate")
	known := strings.Contains(challenge, `error="invalid_token"`) || strings.Contains(challenge, `error="invalid_request"`)
	if a.err != nil || (a.status != http.StatusUnauthorized && a.status != http.StatusBadRequest) || !strings.HasPrefix(challenge, "Bearer") || !known {
		t.Errorf("got %v, want 401 or 400 with a Bearer challenge that names the error", a)
	}
}

// forge is an issuer that authz trusts beside Tegata's, whose keys the test
// holds: so a token can be wrong in one thing and right in all others.
type forge struct {
	stack   *stack.Stack
	url     string
	ec      *ecdsa.PrivateKey
	rsa     *rsa.PrivateKey
	jwks    []byte
	fetches atomic.Int64
}

// newKeys is one without a stack and without a URL.
func newKeys(t *testing.T) *forge {
	t.Helper()
	f := &forge{}
	var err error
	if f.ec, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	if f.rsa, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		t.Fatal(err)
	}
	point, err := f.ec.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	f.jwks = encode(t, map[string]any{"keys": []any{
		map[string]any{"kty": "EC", "kid": "ec", "alg": "ES256", "use": "sig", "crv": "P-256", "x": b64(point[1:33]), "y": b64(point[33:])},
		map[string]any{"kty": "RSA", "kid": "rsa", "alg": "RS256", "use": "sig", "n": b64(f.rsa.N.Bytes()), "e": b64(big.NewInt(int64(f.rsa.E)).Bytes())},
	}})
	return f
}

func newForge(t *testing.T) *forge {
	t.Helper()
	f := newKeys(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		f.fetches.Add(1)
		w.Header().Set("Content-Type", "application/jwk-set+json")
		_, _ = w.Write(f.jwks)
	}))
	t.Cleanup(server.Close)
	f.url = server.URL
	f.stack = ownStack(t, func(c *stack.Config) { c.Dir = t.TempDir() })
	f.trust(t)
	return f
}

// trust adds the forge to the issuers that authz trusts.
func (f *forge) trust(t *testing.T) {
	t.Helper()
	path := filepath.Join(f.stack.Dir, "tegata.yaml")
	before := readFile(t, path)
	after := strings.Replace(before, "  issuers:\n", fmt.Sprintf("  issuers:\n    - issuer: %s\n      audience: [%s]\n      jwks_url: %s/jwks\n", f.url, stack.Audience, f.url), 1)
	if before == after {
		t.Fatal("no issuers in tegata.yaml")
	}
	writeFile(t, path, after)
	if err := f.stack.Authz.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "the gateway has found authz again", func() bool {
		return ask(f.stack, http.MethodGet, "/orders", "").status == http.StatusUnauthorized
	})
}

// wantHealthy wants authz alive, ready and small.
func (f *forge) wantHealthy(t *testing.T) {
	t.Helper()
	if a := do(http.NewRequest(http.MethodGet, f.stack.AuthzManagement+"/health/ready", nil)); a.status != http.StatusOK {
		t.Errorf("authz is not ready: %v %s", a, a.body)
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", f.stack.Authz.PID()))
	if err != nil {
		t.Logf("memory unknown: %v", err) // not Linux
		return
	}
	for line := range strings.Lines(string(b)) {
		var kib int
		if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &kib); err == nil && kib/1024 > maxRSS {
			t.Errorf("authz has grown to %d MiB, want at most %d", kib/1024, maxRSS)
		}
	}
}

func (f *forge) header() map[string]any {
	return map[string]any{"alg": "ES256", "kid": "ec", "typ": "at+jwt"}
}

func (f *forge) claims() map[string]any {
	now := time.Now().Unix()
	return map[string]any{
		"iss": f.url, "aud": stack.Audience, "sub": "mallory", "azp": "forge", "client_id": "forge", "jti": rand.Text(),
		"iat": now, "exp": now + 300, "scope": "orders:read", "typ": "Bearer",
	}
}

// sign makes a good token, but for what the changes make of it.
func (f *forge) sign(t *testing.T, header, claims func(map[string]any)) string {
	t.Helper()
	h, c := f.header(), f.claims()
	if header != nil {
		header(h)
	}
	if claims != nil {
		claims(c)
	}
	return f.signBytes(t, encode(t, h), encode(t, c))
}

// signBytes signs whatever it is given with ES256.
func (f *forge) signBytes(t *testing.T, header, payload []byte) string {
	t.Helper()
	input := b64(header) + "." + b64(payload)
	digest := sha256.Sum256([]byte(input))
	r, s, err := ecdsa.Sign(rand.Reader, f.ec, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	sig := make([]byte, 64)
	r.FillBytes(sig[:32])
	s.FillBytes(sig[32:])
	return input + "." + b64(sig)
}

// forgeries are tokens, each wrong in one thing.
func (f *forge) forgeries(t *testing.T) map[string]string {
	t.Helper()
	claim := func(name string, value any) string {
		return f.sign(t, nil, func(c map[string]any) {
			if c[name] = value; value == nil {
				delete(c, name)
			}
		})
	}
	head := func(name string, value any) string {
		return f.sign(t, func(h map[string]any) {
			if h[name] = value; value == nil {
				delete(h, name)
			}
		}, nil)
	}
	payload := func(b string) string { return f.signBytes(t, encode(t, f.header()), []byte(b)) }
	body := string(encode(t, f.claims()))
	good := f.sign(t, nil, nil)
	parts := strings.Split(good, ".")
	now := time.Now().Unix()
	all := map[string]string{
		"typ JWT":           head("typ", "JWT"),
		"typ absent":        head("typ", nil),
		"typ of a logout":   head("typ", "logout+jwt"),
		"alg absent":        head("alg", nil),
		"alg not a text":    head("alg", 1),
		"critical header":   f.sign(t, func(h map[string]any) { h["crit"], h["exp"] = []string{"exp"}, 1 }, nil),
		"unencoded payload": f.sign(t, func(h map[string]any) { h["crit"], h["b64"] = []string{"b64"}, false }, nil),
		"unknown kid":       head("kid", "nobody"),
		"kid of another":    head("kid", "rsa"),
		"kid as a path":     head("kid", "../../../../dev/null"),
		"kid not a text":    head("kid", []int{1}),
		"key in the header": f.ownKey(t, func(h map[string]any, key any) { h["jwk"] = key }),
		"jku in the header": f.ownKey(t, func(h map[string]any, _ any) { h["jku"] = f.url + "/mine" }),
		"key of another":    f.ownKey(t, func(map[string]any, any) {}),

		"wrong issuer":     claim("iss", "https://evil.example"),
		"issuer absent":    claim("iss", nil),
		"issuer prefix":    claim("iss", f.url+"/"),
		"wrong audience":   claim("aud", "other-api"),
		"audience absent":  claim("aud", nil),
		"audience a table": claim("aud", map[string]any{stack.Audience: true}),
		"expired":          claim("exp", now-60),
		"exp absent":       claim("exp", nil),
		"exp a text":       claim("exp", fmt.Sprint(now+300)),
		"exp beyond all":   payload(strings.Replace(body, `"exp":`, `"exp":1e400,"x":`, 1)),
		"not yet valid":    claim("nbf", now+600),

		"claim twice":         payload(strings.Replace(body, `{`, `{"scope":"orders:write",`, 1)),
		"claim twice escaped": payload(strings.Replace(body, `{`, `{"\u0073cope":"orders:write",`, 1)),
		"broken UTF-8":        payload(strings.Replace(body, "mallory", "mall\xff\xfe", 1)),
		"lone surrogate":      payload(strings.Replace(body, "mallory", `\ud800`, 1)),
		"deeply nested":       payload(strings.Replace(body, `{`, `{"x":`+strings.Repeat("[", 4000)+strings.Repeat("]", 4000)+",", 1)),
		"after the JSON":      payload(body + "{}"),
		"payload an array":    payload("[" + body + "]"),
		"payload empty":       payload(""),
		"payload a token":     f.signBytes(t, encode(t, map[string]any{"alg": "ES256", "kid": "ec", "typ": "at+jwt", "cty": "JWT"}), []byte(good)),
		"too large":           claim("pad", strings.Repeat("x", 30_000)),

		"signature of zeros":   parts[0] + "." + parts[1] + "." + b64(make([]byte, 64)),
		"signature absent":     parts[0] + "." + parts[1] + ".",
		"signature cut":        good[:len(good)-4],
		"signature padded":     good + "==",
		"two parts":            parts[0] + "." + parts[1],
		"four parts":           good + ".x",
		"not base64url":        parts[0] + "." + parts[1] + "." + strings.Repeat("+/", 43),
		"other payload":        parts[0] + "." + b64([]byte(strings.Replace(body, "orders:read", "orders:write", 1))) + "." + parts[2],
		"dots":                 "..",
		"not a token":          "hello",
		"noise":                rand.Text() + "." + rand.Text() + "." + rand.Text(),
		"json serialization":   b64([]byte(`{"payload":"` + parts[1] + `","signatures":[]}`)),
		"ES256 key, RS256 alg": f.sign(t, func(h map[string]any) { h["alg"], h["kid"] = "RS256", "rsa" }, nil),
		"RS256 good, wrong aud": f.signRSA(t, func(c map[string]any) {
			c["aud"] = "other-api"
		}),
	}
	for _, none := range []string{"none", "None", "NONE", "nOnE"} {
		h := f.header()
		h["alg"] = none
		all["alg "+none] = b64(encode(t, h)) + "." + b64([]byte(body)) + "."
		all["alg "+none+" with a signature"] = b64(encode(t, h)) + "." + b64([]byte(body)) + "." + parts[2]
	}
	for name, secret := range f.publicSecrets(t) {
		all["HS256 with "+name] = f.signHMAC(t, secret)
	}
	return all
}

// publicSecrets are the spellings of public keys that a confused verifier
// would take as an HMAC secret (RFC 8725 §2.1).
func (f *forge) publicSecrets(t *testing.T) map[string][]byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(&f.rsa.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return map[string][]byte{
		"the public key, DER": der,
		"the public key, PEM": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}),
		"the key set":         f.jwks,
		"nothing":             nil,
	}
}

func (f *forge) signHMAC(t *testing.T, secret []byte) string {
	t.Helper()
	input := b64(encode(t, map[string]any{"alg": "HS256", "kid": "rsa", "typ": "at+jwt"})) + "." + b64(encode(t, f.claims()))
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(input))
	return input + "." + b64(mac.Sum(nil))
}

func (f *forge) signRSA(t *testing.T, claims func(map[string]any)) string {
	t.Helper()
	c := f.claims()
	claims(c)
	return f.signRS256(t, "at+jwt", c)
}

func (f *forge) signRS256(t *testing.T, typ string, claims map[string]any) string {
	t.Helper()
	input := b64(encode(t, map[string]any{"alg": "RS256", "kid": "rsa", "typ": typ})) + "." + b64(encode(t, claims))
	digest := sha256.Sum256([]byte(input))
	sig, err := rsa.SignPKCS1v15(rand.Reader, f.rsa, crypto.SHA256, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	return input + "." + b64(sig)
}

// ownKey signs with a key that is nobody's, and lets the header vouch for it.
func (f *forge) ownKey(t *testing.T, vouch func(header map[string]any, key any)) string {
	t.Helper()
	mine, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := mine.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	key := map[string]any{"kty": "EC", "kid": "ec", "crv": "P-256", "x": b64(point[1:33]), "y": b64(point[33:])}
	g := &forge{ec: mine, url: f.url}
	return g.sign(t, func(h map[string]any) { vouch(h, key) }, nil)
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func encode(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
