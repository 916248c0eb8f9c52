package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"testing"
)

// TestThumbprint holds the examples of the RFCs.
func TestThumbprint(t *testing.T) {
	t.Parallel()
	tests := []struct{ source, jwk, want string }{
		{
			"RFC 7638 §3.1",
			`{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}`,
			"NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs",
		},
		{
			"RFC 8037 §A.3",
			`{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`,
			"kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
		},
		{
			"RFC 9449 §6.1",
			`{"kty":"EC","x":"l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs","y":"9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA","crv":"P-256"}`,
			"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I",
		},
	}
	for _, tt := range tests {
		key, ok, err := parseKey([]byte(tt.jwk))
		if err != nil || !ok {
			t.Fatalf("%s: %v", tt.source, err)
		}
		sum, err := Thumbprint(key.Key)
		if got := base64.RawURLEncoding.EncodeToString(sum[:]); err != nil || got != tt.want {
			t.Errorf("%s: got %s, %v, want %s", tt.source, got, err, tt.want)
		}
	}
	curve, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []crypto.PublicKey{nil, "x", []byte("secret"), ed25519.PublicKey("short"), curve.Public()} {
		if _, err := Thumbprint(key); err == nil {
			t.Errorf("%T: no error", key)
		}
	}
}

// TestAShortCoordinateCountsInFull: x and y stand in the thumbprint with their
// leading zeros (RFC 7518 §6.2.1.2).
func TestAShortCoordinateCountsInFull(t *testing.T) {
	t.Parallel()
	for d := uint64(1); ; d++ {
		key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), binary.BigEndian.AppendUint64(make([]byte, 24), d))
		if err != nil {
			t.Fatal(err)
		}
		point, err := key.PublicKey.Bytes() // 4, x, y
		if err != nil {
			t.Fatal(err)
		}
		if point[1] != 0 {
			continue
		}
		x, y := encoding.EncodeToString(point[1:33]), encoding.EncodeToString(point[33:])
		want := sha256.Sum256([]byte(`{"crv":"P-256","kty":"EC","x":"` + x + `","y":"` + y + `"}`))
		if got, err := Thumbprint(&key.PublicKey); err != nil || got != want {
			t.Errorf("got %x, %v, want %x", got, err, want)
		}
		return
	}
}

// embedded signs with a header of its own choice.
func embedded(t testing.TB, s Signer, header map[string]any, payload string) string {
	t.Helper()
	data, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	input := encoding.EncodeToString(data) + "." + encoding.EncodeToString([]byte(payload))
	signature, err := s.signature([]byte(input))
	if err != nil {
		t.Fatal(err)
	}
	return input + "." + encoding.EncodeToString(signature)
}

// publicJWK is the public half as members.
func publicJWK(t testing.TB, s Signer) map[string]any {
	t.Helper()
	j, err := PublicKey{Key: s.Key.Public()}.jwk()
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(j)
	if err != nil {
		t.Fatal(err)
	}
	members, err := ReadObject(data)
	if err != nil {
		t.Fatal(err)
	}
	return members
}

func thumbprint(t testing.TB, s Signer) [sha256.Size]byte {
	t.Helper()
	sum, err := Thumbprint(s.Key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

var acceptProof = Accept{Algorithms: []Algorithm{ES256, ES384, RS256, PS256, EdDSA}, Types: []string{"dpop+jwt"}}

func TestVerifyEmbedded(t *testing.T) {
	t.Parallel()
	for _, alg := range acceptProof.Algorithms {
		s := newSigner(t, "", alg)
		proof := embedded(t, s, map[string]any{"alg": alg, "typ": "dpop+jwt", "jwk": publicJWK(t, s)}, `{"a":1}`)
		payload, err := VerifyEmbedded(proof, acceptProof, thumbprint(t, s))
		if err != nil || string(payload) != `{"a":1}` {
			t.Errorf("%s: got %s, %v", alg, payload, err)
		}
	}
}

func TestVerifyEmbeddedRefuses(t *testing.T) {
	t.Parallel()
	ec, other, rsa := newSigner(t, "", ES256), newSigner(t, "", ES256), newSigner(t, "", RS256)
	jwk := func(s Signer, changes map[string]any) map[string]any {
		members := publicJWK(t, s)
		maps.Copy(members, changes)
		maps.DeleteFunc(members, func(_ string, v any) bool { return v == nil })
		return members
	}
	with := func(changes map[string]any) string {
		h := map[string]any{"alg": "ES256", "typ": "dpop+jwt", "jwk": jwk(ec, nil)}
		maps.Copy(h, changes)
		maps.DeleteFunc(h, func(_ string, v any) bool { return v == nil })
		return embedded(t, ec, h, `{}`)
	}
	good := with(nil)
	tests := []struct {
		name, token string
		want        error
	}{
		{"no jwk", with(map[string]any{"jwk": nil}), ErrMalformed},
		{"jwk a text", with(map[string]any{"jwk": "key"}), ErrMalformed},
		{"jwk a list", with(map[string]any{"jwk": []any{jwk(ec, nil)}}), ErrMalformed},
		{"jwk empty", with(map[string]any{"jwk": map[string]any{}}), ErrMalformed},
		{"jwk private", with(map[string]any{"jwk": jwk(ec, map[string]any{"d": "AQ"})}), ErrMalformed},
		{"jwk symmetric", with(map[string]any{"jwk": map[string]any{"kty": "oct", "k": "AQ"}}), ErrMalformed},
		{"jwk off the curve", with(map[string]any{"jwk": jwk(ec, map[string]any{"y": jwk(ec, nil)["x"]})}), ErrMalformed},
		{"jwk without y", with(map[string]any{"jwk": jwk(ec, map[string]any{"y": nil})}), ErrMalformed},
		{"jwk for encryption", with(map[string]any{"jwk": jwk(ec, map[string]any{"use": "enc"})}), ErrMalformed},
		{"jwk for another algorithm", with(map[string]any{"jwk": jwk(ec, map[string]any{"alg": "ES384"})}), ErrMalformed},
		{"jwk of another", with(map[string]any{"jwk": jwk(other, nil)}), ErrUnknownKey},
		{"jwk of another kind", with(map[string]any{"jwk": jwk(rsa, nil)}), ErrUnknownKey},
		{"signature of another", embedded(t, other, map[string]any{"alg": "ES256", "typ": "dpop+jwt", "jwk": jwk(ec, nil)}, `{}`), ErrSignature},
		{"alg that the key has not", with(map[string]any{"alg": "EdDSA"}), ErrAlgorithm},
		{"alg not accepted", with(map[string]any{"alg": "ES512"}), ErrAlgorithm},
		{"alg none", with(map[string]any{"alg": "none"}), ErrAlgorithm},
		{"alg HS256", with(map[string]any{"alg": "HS256"}), ErrAlgorithm},
		{"typ of another", with(map[string]any{"typ": "JWT"}), ErrType},
		{"no typ", with(map[string]any{"typ": nil}), ErrType},
		{"crit", with(map[string]any{"crit": []string{"jwk"}}), ErrMalformed},
		{"signature of zeros", good[:len(good)-86] + strings.Repeat("A", 86), ErrSignature},
		{"payload of another", strings.Replace(good, ".e30.", ".e30K.", 1), ErrSignature},
		{"empty", "", ErrMalformed},
	}
	for _, tt := range tests {
		payload, err := VerifyEmbedded(tt.token, acceptProof, thumbprint(t, ec))
		if !errors.Is(err, tt.want) || payload != nil {
			t.Errorf("%s: got %s, %v, want %v", tt.name, payload, err, tt.want)
		}
	}
	if _, err := VerifyEmbedded(good, Accept{Algorithms: []Algorithm{"HS512", "none"}, Types: []string{"dpop+jwt"}}, thumbprint(t, ec)); !errors.Is(err, ErrAlgorithm) {
		t.Errorf("a careless Accept: got %v", err)
	}
}

// FuzzVerifyEmbedded: only what the key signed verifies.
func FuzzVerifyEmbedded(f *testing.F) {
	s := newSigner(f, "", ES256)
	sum := thumbprint(f, s)
	good := embedded(f, s, map[string]any{"alg": "ES256", "typ": "dpop+jwt", "jwk": publicJWK(f, s)}, `{"htm":"GET"}`)
	f.Add(good)
	f.Add(embedded(f, s, map[string]any{"alg": "ES256", "typ": "dpop+jwt", "jwk": map[string]any{"kty": "EC"}}, `{}`))
	f.Add("a.b.c")
	f.Fuzz(func(t *testing.T, token string) {
		payload, err := VerifyEmbedded(token, acceptProof, sum)
		if (err == nil) != (payload != nil) || err == nil && token != good {
			t.Fatalf("accepted %q, %v", token, err)
		}
	})
}

// TestEmbeddedThumbprint is of the key in the header, which must be a public
// one (RFC 9449 §4.3 7).
func TestEmbeddedThumbprint(t *testing.T) {
	t.Parallel()
	const public = `"kty":"EC","x":"l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs","y":"9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA","crv":"P-256"`
	token := func(header string) string { return encoding.EncodeToString([]byte(header)) + ".e30.AA" }
	sum, err := EmbeddedThumbprint(token(`{"alg":"ES256","jwk":{` + public + `}}`))
	if got := base64.RawURLEncoding.EncodeToString(sum[:]); err != nil || got != "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I" {
		t.Errorf("got %s, %v, want that of RFC 9449 §6.1", got, err)
	}
	for name, bad := range map[string]string{
		"none":      token(`{"alg":"ES256"}`),
		"private":   token(`{"alg":"ES256","jwk":{` + public + `,"d":"AA"}}`),
		"symmetric": token(`{"alg":"ES256","jwk":{"kty":"oct","k":"AA"}}`),
		"twice":     token(`{"alg":"ES256","jwk":{` + public + `},"jwk":{` + public + `}}`),
		"critical":  token(`{"alg":"ES256","crit":["x"],"jwk":{` + public + `}}`),
		"no token":  "x",
	} {
		if _, err := EmbeddedThumbprint(bad); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v, want %v", name, err, ErrMalformed)
		}
	}
}
