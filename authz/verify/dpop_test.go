package verify

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/tegata/tegata/internal/jose"
)

// holder is a client with a key of its own.
type holder struct {
	key  *ecdsa.PrivateKey
	next atomic.Int64
}

func newHolder(t testing.TB) *holder {
	t.Helper()
	return &holder{key: must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)}
}

func (h *holder) thumbprint(t testing.TB) string {
	t.Helper()
	sum := must(jose.Thumbprint(h.key.Public()))(t)
	return base64url(sum[:])
}

// jwk is the public key, as it stands in a proof's header.
func (h *holder) jwk(t testing.TB) map[string]any {
	t.Helper()
	set := must(jose.NewKeySet(jose.PublicKey{Key: h.key.Public()}))(t)
	var document struct{ Keys []map[string]any }
	if err := json.Unmarshal(must(set.MarshalJSON())(t), &document); err != nil {
		t.Fatal(err)
	}
	return document.Keys[0]
}

// request is what proofs of these tests are for.
var request = Target{Method: "GET", Scheme: "https", Host: "api.example", Path: "/orders/1?full"}

// proof makes a good proof for a token at start, with changes to header and
// claims; nil removes one.
func (h *holder) proof(t testing.TB, token string, header, claims map[string]any) string {
	t.Helper()
	sum := sha256.Sum256([]byte(token))
	c := map[string]any{
		"jti": fmt.Sprint("proof-", h.next.Add(1)), "htm": "GET", "htu": "https://api.example/orders/1",
		"iat": start.Unix(), "ath": base64url(sum[:]),
	}
	hd := map[string]any{"alg": "ES256", "typ": "dpop+jwt", "jwk": h.jwk(t)}
	maps.Copy(c, claims)
	maps.Copy(hd, header)
	for _, m := range []map[string]any{c, hd} {
		maps.DeleteFunc(m, func(_ string, v any) bool { return v == nil })
	}
	w := &world{keys: []jose.Signer{{Algorithm: jose.ES256, Key: h.key}}}
	return w.raw(t, hd, string(must(json.Marshal(c))(t)))
}

// bound is a token that is bound to the holder's key.
func (h *holder) bound(t testing.TB, w *world) string {
	t.Helper()
	return w.token(t, map[string]any{"typ": "DPoP", "cnf": map[string]any{"jkt": h.thumbprint(t)}})
}

func presented(token, proof string) Presented {
	return Presented{Token: token, Scheme: SchemeDPoP, Proof: proof, Target: request}
}

func TestABoundTokenIsTakenWithAProof(t *testing.T) {
	t.Parallel()
	w, h := newWorld(t, "k1"), newHolder(t)
	v, token := w.verifier(t, nil), h.bound(t, w)
	for range 3 {
		got, err := v.VerifyBound(t.Context(), presented(token, h.proof(t, token, nil, nil)))
		if err != nil {
			t.Fatal(err)
		}
		input := got.Document().Value.(ast.Object).Get(ast.StringTerm("binding"))
		if input.String() != `{"dpop"}` {
			t.Errorf("input.token.binding: got %v", input)
		}
	}
	if n, _ := v.cache.usage(); n != 1 {
		t.Errorf("%d tokens in the cache, want 1", n)
	}
}

// TestTheExampleOfRFC9449 holds the request of its figure 13, whose token is
// opaque, at the time of its proof.
func TestTheExampleOfRFC9449(t *testing.T) {
	t.Parallel()
	const (
		token = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"
		proof = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6Ik" +
			"VDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCR" +
			"nMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JE" +
			"QSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIj" +
			"oiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0Z" +
			"WRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNF" +
			"c05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71E" +
			"OptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA"
	)
	at := time.Unix(1562262618, 0)
	o := newOracle()
	o.tokens[token] = with(map[string]any{
		"iat": nil, "exp": at.Add(time.Minute).Unix(), "token_type": "DPoP",
		"cnf": map[string]any{"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"},
	})
	v := o.verifier(t, func() time.Time { return at }, nil)
	p := Presented{
		Token: token, Scheme: SchemeDPoP, Proof: proof,
		Target: Target{Method: "GET", Scheme: "https", Host: "resource.example.org", Path: "/protectedresource"},
	}
	if _, err := v.VerifyBound(t.Context(), p); err != nil {
		t.Error(err)
	}
	if _, err := v.VerifyBound(t.Context(), p); !errors.Is(err, ErrProof) {
		t.Errorf("the second time: got %v", err)
	}
}

// TestProofsAreHeldToTheRules: each row is one thing about a proof, by RFC
// 9449 §4.3.
func TestProofsAreHeldToTheRules(t *testing.T) {
	t.Parallel()
	w, h, other := newWorld(t, "k1"), newHolder(t), newHolder(t)
	token := h.bound(t, w)
	private := h.jwk(t)
	private["d"] = "AQAB"
	claims := func(changes map[string]any) string { return h.proof(t, token, nil, changes) }
	header := func(changes map[string]any) string { return h.proof(t, token, changes, nil) }
	good := claims(nil)
	tests := []struct {
		name, proof string
		want        error
	}{
		{"good", good, nil},
		{"in the future, within leeway", claims(map[string]any{"iat": start.Add(defaultLeeway).Unix()}), nil},
		{"old, within its age", claims(map[string]any{"iat": start.Add(-defaultProofAge).Unix()}), nil},
		{"htu with query and fragment", claims(map[string]any{"htu": "https://api.example/orders/1?a#b"}), nil},
		{"htu spelt otherwise", claims(map[string]any{"htu": "HTTPS://API.example:443/x/../%6frders/./1"}), nil},
		{"nonce that nobody asked for", claims(map[string]any{"nonce": "n"}), nil},
		{"other members", h.proof(t, token, map[string]any{"kid": "k"}, map[string]any{"x": []any{1}}), nil},

		{"1: two proofs", good + "," + good, ErrProof},
		{"2: none", "", ErrProof},
		{"2: no JWT", "proof", ErrProof},
		{"2: five parts", good + ".a.b", ErrProof},
		{"2: claims not an object", (&world{keys: []jose.Signer{{Key: h.key}}}).raw(t, map[string]any{"alg": "ES256", "typ": "dpop+jwt", "jwk": h.jwk(t)}, `[]`), ErrProof},
		{"3: no jti", claims(map[string]any{"jti": nil}), ErrProof},
		{"3: jti empty", claims(map[string]any{"jti": ""}), ErrProof},
		{"3: jti a number", claims(map[string]any{"jti": 1}), ErrProof},
		{"3: no htm", claims(map[string]any{"htm": nil}), ErrProof},
		{"3: no htu", claims(map[string]any{"htu": nil}), ErrProof},
		{"3: no iat", claims(map[string]any{"iat": nil}), ErrProof},
		{"3: iat a text", claims(map[string]any{"iat": "1800000000"}), ErrProof},
		{"3: no ath", claims(map[string]any{"ath": nil}), ErrProof},
		{"4: typ JWT", header(map[string]any{"typ": "JWT"}), ErrProof},
		{"4: no typ", header(map[string]any{"typ": nil}), ErrProof},
		{"5: alg none", header(map[string]any{"alg": "none"}), ErrProof},
		{"5: alg HS256", header(map[string]any{"alg": "HS256"}), ErrProof},
		{"5: alg not accepted", header(map[string]any{"alg": "RS512"}), ErrProof},
		{"6: signature of another", other.proof(t, token, map[string]any{"jwk": h.jwk(t)}, nil), ErrProof},
		{"6: changed", strings.Replace(good, ".eyJ", ".eyI", 1), ErrProof},
		{"7: private key", header(map[string]any{"jwk": private}), ErrProof},
		{"7: symmetric key", header(map[string]any{"jwk": map[string]any{"kty": "oct", "k": "AQAB"}}), ErrProof},
		{"7: no key", header(map[string]any{"jwk": nil}), ErrProof},
		{"8: another method", claims(map[string]any{"htm": "POST"}), ErrProof},
		{"8: method in lower case", claims(map[string]any{"htm": "get"}), ErrProof},
		{"9: another path", claims(map[string]any{"htu": "https://api.example/orders/2"}), ErrProof},
		{"9: another host", claims(map[string]any{"htu": "https://evil.example/orders/1"}), ErrProof},
		{"9: another scheme", claims(map[string]any{"htu": "http://api.example/orders/1"}), ErrProof},
		{"9: another port", claims(map[string]any{"htu": "https://api.example:8443/orders/1"}), ErrProof},
		{"9: a slash more", claims(map[string]any{"htu": "https://api.example/orders/1/"}), ErrProof},
		{"9: an escaped slash", claims(map[string]any{"htu": "https://api.example/orders%2f1"}), ErrProof},
		{"9: a path alone", claims(map[string]any{"htu": "/orders/1"}), ErrProof},
		{"9: with a user", claims(map[string]any{"htu": "https://api.example@evil.example/orders/1"}), ErrProof},
		{"11: too old", claims(map[string]any{"iat": start.Add(-defaultProofAge - time.Second).Unix()}), ErrProof},
		{"11: to come", claims(map[string]any{"iat": start.Add(defaultLeeway + time.Second).Unix()}), ErrProof},
		{"12: another token", claims(map[string]any{"ath": base64url(make([]byte, 32))}), ErrProof},
		{"12: ath with padding", claims(map[string]any{"ath": base64url(make([]byte, 32)) + "="}), ErrProof},
		{"12: another key", other.proof(t, token, nil, nil), ErrBinding},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := w.verifier(t, nil).VerifyBound(t.Context(), presented(token, tt.proof))
			if !errors.Is(err, tt.want) || (got == nil) != (tt.want != nil) {
				t.Errorf("got %v, %v, want %v", got, err, tt.want)
			}
			checkSilent(t, err, tt.proof)
			checkSilent(t, err, token)
		})
	}
}

// TestATokenIsTakenOnlyAsItIsBound: each row is a token and how it came.
func TestATokenIsTakenOnlyAsItIsBound(t *testing.T) {
	t.Parallel()
	w, h := newWorld(t, "k1"), newHolder(t)
	certificate := sha256.Sum256([]byte("DER"))
	cnf := func(members map[string]any) string { return w.token(t, map[string]any{"cnf": members}) }
	plain, dpop := w.token(t, nil), h.bound(t, w)
	mtls := cnf(map[string]any{"x5t#S256": base64url(certificate[:])})
	both := cnf(map[string]any{"x5t#S256": base64url(certificate[:]), "jkt": h.thumbprint(t), "kid": "ignored"})
	right := func() []byte { return certificate[:] }
	wrong := func() []byte { return make([]byte, 32) }
	none := func() []byte { return nil }
	tests := []struct {
		name, token, scheme string
		proof               bool
		certificate         func() []byte
		want                error
	}{
		{"unbound as bearer", plain, SchemeBearer, false, nil, nil},
		{"unbound, over mTLS", plain, SchemeBearer, false, right, nil},
		{"unbound as bearer, with a proof beside", plain, SchemeBearer, true, nil, nil},
		{"unbound with DPoP", plain, SchemeDPoP, true, nil, ErrBinding},
		{"bound to a key, as bearer", dpop, SchemeBearer, false, nil, ErrBinding},
		{"bound to a key, as bearer, with a proof beside", dpop, SchemeBearer, true, nil, ErrBinding},
		{"bound to a key, without proof", dpop, SchemeDPoP, false, nil, ErrProof},
		{"bound to a certificate", mtls, SchemeBearer, false, right, nil},
		{"bound to a certificate, another shown", mtls, SchemeBearer, false, wrong, ErrBinding},
		{"bound to a certificate, none shown", mtls, SchemeBearer, false, none, ErrBinding},
		{"bound to a certificate, none known of", mtls, SchemeBearer, false, nil, ErrBinding},
		{"bound to a certificate, with DPoP", mtls, SchemeDPoP, true, right, ErrBinding},
		{"bound to both, both proved", both, SchemeDPoP, true, right, nil},
		{"bound to both, without proof", both, SchemeDPoP, false, right, ErrProof},
		{"bound to both, as bearer", both, SchemeBearer, false, right, ErrBinding},
		{"bound to both, no certificate", both, SchemeDPoP, true, nil, ErrBinding},
		{"scheme unknown", plain, "Basic", false, nil, ErrBinding},
		{"scheme empty", plain, "", false, nil, ErrBinding},

		{"bound in an unknown way", cnf(map[string]any{"jwk": map[string]any{}}), SchemeBearer, false, nil, ErrBinding},
		{"bound to nothing", cnf(map[string]any{}), SchemeBearer, false, nil, ErrBinding},
		{"cnf a text", w.token(t, map[string]any{"cnf": "x"}), SchemeBearer, false, nil, ErrClaims},
		{"cnf null", prefixWithout(t, w, "cnf", `"cnf":null,`), SchemeBearer, false, nil, ErrClaims},
		{"jkt a number", cnf(map[string]any{"jkt": 1}), SchemeBearer, false, nil, ErrClaims},
		{"jkt too short", cnf(map[string]any{"jkt": "AAAA"}), SchemeBearer, false, nil, ErrClaims},
		{"jkt with line breaks", cnf(map[string]any{"jkt": "\n" + h.thumbprint(t)}), SchemeBearer, false, nil, ErrClaims},
		{"certificate empty", cnf(map[string]any{"x5t#S256": ""}), SchemeBearer, false, nil, ErrClaims},
		{"typ claim DPoP without a key", w.token(t, map[string]any{"typ": "DPoP"}), SchemeBearer, false, nil, ErrClaims},
		{"typ claim DPoP bound to a certificate", w.token(t, map[string]any{"typ": "DPoP", "cnf": map[string]any{"x5t#S256": base64url(certificate[:])}}), SchemeBearer, false, right, ErrClaims},
	}
	v := w.verifier(t, nil)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for range 2 { // the second time, the token comes from the cache
				p := Presented{Token: tt.token, Scheme: tt.scheme, Target: request, Certificate: tt.certificate}
				if tt.proof {
					p.Proof = h.proof(t, tt.token, nil, nil)
				}
				got, err := v.VerifyBound(t.Context(), p)
				if !errors.Is(err, tt.want) || (got == nil) != (tt.want != nil) {
					t.Errorf("got %v, %v, want %v", got, err, tt.want)
				}
			}
		})
	}
	if _, err := v.Verify(t.Context(), dpop); !errors.Is(err, ErrBinding) {
		t.Errorf("Verify of a bound token: got %v", err)
	}
}

func TestAProofIsTakenOnce(t *testing.T) {
	t.Parallel()
	w, h := newWorld(t, "k1"), newHolder(t)
	v, token := w.verifier(t, nil), h.bound(t, w)
	take := func(v *Verifier, proof string) error {
		_, err := v.VerifyBound(t.Context(), presented(token, proof))
		return err
	}
	proof := h.proof(t, token, nil, map[string]any{"jti": "one"})
	if err := take(v, proof); err != nil {
		t.Fatal(err)
	}
	again := h.proof(t, token, nil, map[string]any{"jti": "one"}) // signed anew
	for range 3 {
		for _, p := range []string{proof, again} {
			if err := take(v, p); !errors.Is(err, ErrProof) {
				t.Errorf("got %v, want %v", err, ErrProof)
			}
		}
		w.pass(20 * time.Second) // at the end it is as old as it may be
	}
	successor := w.verifier(t, func(c *Config) { c.Before = v })
	if err := take(successor, proof); !errors.Is(err, ErrProof) {
		t.Errorf("after a change of configuration: got %v, want %v", err, ErrProof)
	}
	// What is refused uses nothing up: not for another who knows the jti, nor
	// for the client itself.
	other := newHolder(t)
	foreign := other.bound(t, w)
	late := map[string]any{"jti": "two", "iat": w.clock().Unix()}
	if _, err := v.VerifyBound(t.Context(), presented(foreign, other.proof(t, foreign, nil, late))); err != nil {
		t.Error(err)
	}
	if err := take(v, h.proof(t, token, nil, map[string]any{"jti": "two", "iat": w.clock().Unix(), "htm": "PUT"})); err == nil {
		t.Error("accepted")
	}
	if err := take(v, h.proof(t, token, nil, late)); err != nil {
		t.Errorf("got %v", err)
	}
}

// TestOfManyAtOnceOneProofIsTaken is for the race detector too.
func TestOfManyAtOnceOneProofIsTaken(t *testing.T) {
	t.Parallel()
	w, h := newWorld(t, "k1"), newHolder(t)
	v, token := w.verifier(t, nil), h.bound(t, w)
	proof := h.proof(t, token, nil, nil)
	var taken atomic.Int64
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			if _, err := v.VerifyBound(t.Context(), presented(token, proof)); err == nil {
				taken.Add(1)
			}
		})
	}
	wg.Wait()
	if taken.Load() != 1 {
		t.Errorf("taken %d times", taken.Load())
	}
}

func TestProofsAreRememberedWithinBounds(t *testing.T) {
	t.Parallel()
	const size = 160
	s, now := newSeen(size, time.Minute), start
	taken := 0
	for n := range 10 * size {
		switch err := s.first(sha256.Sum256(fmt.Append(nil, n)), now); {
		case err == nil:
			taken++
		case !errors.Is(err, ErrUnavailable):
			t.Fatal(err)
		}
	}
	if taken != size {
		t.Errorf("%d taken, want %d", taken, size)
	}
	for at, want := range map[time.Duration]error{time.Minute - 1: ErrProof, time.Minute: ErrProof, 2*time.Minute - 1: ErrProof, -time.Hour: ErrProof} {
		s := newSeen(size, time.Minute)
		if err := s.first(digest{}, now); err != nil {
			t.Fatal(err)
		}
		if err := s.first(digest{}, now.Add(at)); !errors.Is(err, want) {
			t.Errorf("after %v: got %v, want %v", at, err, want)
		}
	}
	if err := s.first(sha256.Sum256([]byte("0")), now.Add(2*time.Minute)); err != nil {
		t.Errorf("long after: got %v", err)
	}
}

func TestNonces(t *testing.T) {
	t.Parallel()
	w, h := newWorld(t, "k1"), newHolder(t)
	v := w.verifier(t, func(c *Config) { c.DPoP.Nonces = true })
	token := h.bound(t, w)
	take := func(v *Verifier, nonce any) error {
		_, err := v.VerifyBound(t.Context(), presented(token, h.proof(t, token, nil, map[string]any{"nonce": nonce, "iat": w.clock().Unix()})))
		return err
	}
	first := v.Nonce()
	for _, nonce := range []any{nil, "", "guess", first + "A", first[1:]} {
		if err := take(v, nonce); !errors.Is(err, ErrNonce) {
			t.Errorf("%v: got %v, want %v", nonce, err, ErrNonce)
		}
	}
	if err := take(v, 1); !errors.Is(err, ErrProof) {
		t.Errorf("a number: got %v", err)
	}
	if err := take(v, first); err != nil {
		t.Error(err)
	}
	successor := w.verifier(t, func(c *Config) { c.DPoP.Nonces, c.Before = true, v })
	if err := take(successor, first); err != nil {
		t.Errorf("after a change of configuration: %v", err)
	}
	w.pass(nonceLife)
	token = w.token(t, map[string]any{"cnf": map[string]any{"jkt": h.thumbprint(t)}, "exp": w.clock().Add(time.Hour).Unix()})
	if v.Nonce() == first {
		t.Error("the nonce does not change")
	}
	if err := take(v, first); err != nil {
		t.Errorf("the nonce before: %v", err)
	}
	w.pass(nonceLife)
	if err := take(v, first); !errors.Is(err, ErrNonce) {
		t.Errorf("the nonce before that: got %v", err)
	}

	secret := []byte(strings.Repeat("s", 32))
	one := w.verifier(t, func(c *Config) { c.DPoP = DPoP{Nonces: true, NonceSecret: secret} })
	two := w.verifier(t, func(c *Config) { c.DPoP = DPoP{Nonces: true, NonceSecret: secret} })
	if one.Nonce() != two.Nonce() || one.Nonce() == v.Nonce() {
		t.Error("nonces are not those of the secret")
	}
	if got := w.verifier(t, nil).Nonce(); got != "" {
		t.Errorf("a nonce that nobody needs: %q", got)
	}
}

func TestTheSchemeBeforeEnvoyCounts(t *testing.T) {
	t.Parallel()
	w, h := newWorld(t, "k1"), newHolder(t)
	v, token := w.verifier(t, func(c *Config) { c.DPoP.Scheme = "https" }), h.bound(t, w)
	p := presented(token, h.proof(t, token, nil, nil))
	p.Target.Scheme = "http"
	if _, err := v.VerifyBound(t.Context(), p); err != nil {
		t.Error(err)
	}
}

func TestAWrongDPoPIsRefused(t *testing.T) {
	t.Parallel()
	for want, d := range map[string]DPoP{
		"age":       {MaxAge: time.Hour},
		"leeway":    {Leeway: -1},
		"scheme":    {Scheme: "HTTPS"},
		"proofs":    {Proofs: -1},
		"secret":    {NonceSecret: make([]byte, 32)},
		"32 bytes":  {Nonces: true, NonceSecret: make([]byte, 31)},
		"algorithm": {Algorithms: []jose.Algorithm{jose.HS512}},
	} {
		_, err := New(Config{Issuers: []Issuer{{Issuer: home, Audience: []string{audience}}}, DPoP: d})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
	v := newWorld(t).verifier(t, func(c *Config) { c.DPoP.Algorithms = []jose.Algorithm{jose.EdDSA} })
	if got := v.ProofAlgorithms(); !slices.Equal(got, []string{"EdDSA"}) {
		t.Errorf("got %q", got)
	}
}

func TestABearerTokenWithEverythingAroundAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	w := newWorld(t, "k1")
	v := w.verifier(t, func(c *Config) { c.Now = func() time.Time { return start } })
	token, ctx, certificate := w.token(t, nil), t.Context(), func() []byte { t.Error("asked for"); return nil }
	p := Presented{Token: token, Scheme: SchemeBearer, Target: request, Certificate: certificate}
	verified(t, v, token)
	if n := testing.AllocsPerRun(1000, func() {
		if _, err := v.VerifyBound(ctx, p); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("got %v allocations", n)
	}
}

// FuzzProof: of whatever comes as a proof, only what the holder signed for
// this request is taken.
func FuzzProof(f *testing.F) {
	w, h := newWorld(f, "k1"), newHolder(f)
	token := h.bound(f, w)
	good := h.proof(f, token, nil, nil)
	f.Add(good)
	for _, changes := range []map[string]any{{"htm": "POST"}, {"htu": "https://api.example"}, {"iat": 1}, {"ath": ""}, {"jti": nil}} {
		f.Add(h.proof(f, token, nil, changes))
	}
	f.Add(h.proof(f, token, map[string]any{"jwk": map[string]any{"kty": "RSA", "n": "AQ", "e": "AQ"}}, nil))
	f.Fuzz(func(t *testing.T, proof string) {
		v := w.verifier(t, nil)
		_, err := v.VerifyBound(t.Context(), presented(token, proof))
		if (err == nil) != (proof == good) {
			t.Errorf("%q: got %v", proof, err)
		}
		if err != nil && !errors.Is(err, ErrProof) && !errors.Is(err, ErrBinding) {
			t.Errorf("%q: got %v", proof, err)
		}
	})
}

// BenchmarkProof is what a request pays for its proof.
func BenchmarkProof(b *testing.B) {
	w, h := newWorld(b, "k1"), newHolder(b)
	v, token := w.verifier(b, nil), h.bound(b, w)
	proof := h.proof(b, token, nil, nil)
	b.ReportAllocs()
	for b.Loop() {
		_, err := v.VerifyBound(b.Context(), presented(token, proof))
		if err != nil && !errors.Is(err, ErrProof) {
			b.Fatal(err)
		}
	}
}
