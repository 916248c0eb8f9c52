package jose

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

var allTypes = []string{"JWT"}

// newSigner makes a key for alg; tests do not depend on its value.
func newSigner(t testing.TB, kid string, alg Algorithm) Signer {
	t.Helper()
	var key crypto.Signer
	var err error
	switch alg {
	case ES256:
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case ES384:
		key, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case ES512:
		key, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case EdDSA:
		_, key, err = ed25519.GenerateKey(rand.Reader)
	default:
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil {
		t.Fatal(err)
	}
	return Signer{ID: kid, Algorithm: alg, Key: key}
}

func public(s Signer) PublicKey {
	return PublicKey{ID: s.ID, Algorithm: s.Algorithm, Key: s.Key.Public()}
}

func newSet(t testing.TB, keys ...PublicKey) *KeySet {
	t.Helper()
	s, err := NewKeySet(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func sign(t testing.TB, s Signer, typ, payload string) string {
	t.Helper()
	token, err := s.Sign(typ, []byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestEveryAlgorithmSignsAndVerifiesThroughAJWKS(t *testing.T) {
	t.Parallel()
	for _, alg := range []Algorithm{ES256, ES384, ES512, RS256, RS384, RS512, PS256, PS384, PS512, EdDSA} {
		t.Run(string(alg), func(t *testing.T) {
			t.Parallel()
			s := newSigner(t, "k1", alg)
			doc, err := json.Marshal(newSet(t, public(s)))
			if err != nil {
				t.Fatal(err)
			}
			set, err := ParseKeySet(doc)
			if err != nil {
				t.Fatalf("parsing %s: %v", doc, err)
			}
			token := sign(t, s, "JWT", `{"sub":"a"}`)
			h, payload, err := set.Verify(token, Accept{Algorithms: []Algorithm{alg}, Types: allTypes})
			if err != nil || string(payload) != `{"sub":"a"}` {
				t.Fatalf("Verify = %q, %v", payload, err)
			}
			if want := (Header{alg, "k1", "JWT"}); h != want {
				t.Errorf("header = %+v, want %+v", h, want)
			}
			if !set.Has("k1") || set.Has("k2") || len(set.Keys()) != 1 {
				t.Error("Has or Keys is wrong")
			}
		})
	}
}

// raw builds a token with any header over s's signature.
func raw(t testing.TB, s Signer, header, payload string) string {
	t.Helper()
	input := encoding.EncodeToString([]byte(header)) + "." + encoding.EncodeToString([]byte(payload))
	signature, err := s.signature([]byte(input))
	if err != nil {
		t.Fatal(err)
	}
	return input + "." + encoding.EncodeToString(signature)
}

// longer spells r || s as r || 0 || s, the same numbers.
func longer(t testing.TB, segment string) string {
	t.Helper()
	b, err := encoding.DecodeString(segment)
	if err != nil {
		t.Fatal(err)
	}
	return encoding.EncodeToString(slices.Insert(b, len(b)/2, 0))
}

func TestAnUnknownAlgorithmIsRefusedHoweverItIsAccepted(t *testing.T) {
	t.Parallel()
	s := newSigner(t, "rs", RS256)
	input := encoding.EncodeToString([]byte(`{"alg":"RS999","typ":"JWT","kid":"rs"}`)) + "." + encoding.EncodeToString([]byte(`{}`))
	signature, err := s.Key.Sign(rand.Reader, []byte(input), crypto.Hash(0)) // PKCS #1 without naming a hash
	if err != nil {
		t.Fatal(err)
	}
	set := newSet(t, PublicKey{ID: "rs", Key: s.Key.Public()})
	_, _, err = set.Verify(input+"."+encoding.EncodeToString(signature), Accept{Algorithms: []Algorithm{"RS999"}, Types: allTypes})
	if !errors.Is(err, ErrAlgorithm) {
		t.Errorf("Verify = %v", err)
	}
}

func TestSignaturesOfSignersHaveFullWidth(t *testing.T) {
	t.Parallel()
	got, err := fromASN1([]byte{0x30, 6, 2, 1, 5, 2, 1, 7}, 4) // r 5, s 7
	if want := []byte{0, 0, 0, 5, 0, 0, 0, 7}; err != nil || !bytes.Equal(got, want) {
		t.Errorf("fromASN1 = %v, %v; want %v", got, err, want)
	}
	for name, der := range map[string][]byte{
		"empty":    nil,
		"trailing": {0x30, 6, 2, 1, 5, 2, 1, 7, 0},
		"zero":     {0x30, 6, 2, 1, 0, 2, 1, 7},
		"negative": {0x30, 6, 2, 1, 0x85, 2, 1, 7},
		"too wide": {0x30, 10, 2, 5, 1, 0, 0, 0, 0, 2, 1, 7},
		"three":    {0x30, 9, 2, 1, 5, 2, 1, 7, 2, 1, 7},
	} {
		if got, err := fromASN1(der, 4); err == nil {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestVerifyRefuses(t *testing.T) {
	t.Parallel()
	ec, other, rs := newSigner(t, "ec", ES256), newSigner(t, "other", ES256), newSigner(t, "rs", RS256)
	set := newSet(t, public(ec), public(rs))
	one := newSet(t, public(ec))
	good := sign(t, ec, "JWT", `{}`)
	parts := strings.Split(good, ".")
	rsPublic, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	hs, err := SignHS512("ec", rsPublic, "JWT", []byte(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	last := parts[2][len(parts[2])-1]
	twin := string("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[strings.IndexByte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", last)+1])

	tests := []struct {
		name  string // cites the section
		set   *KeySet
		token string
		want  error
	}{
		{"empty", set, "", ErrMalformed},
		{"two segments", set, parts[0] + "." + parts[1], ErrMalformed},
		{"four segments", set, good + ".", ErrMalformed},
		{"empty signature", set, parts[0] + "." + parts[1] + ".", ErrMalformed},
		{"too large", set, good + strings.Repeat("A", MaxCompact), ErrMalformed},
		{"padding (RFC 7515 §2)", set, good + "==", ErrMalformed},
		{"trailing bits", set, good[:len(good)-1] + twin, ErrMalformed},
		{"line break", set, good[:len(good)-1] + "\n" + good[len(good)-1:], ErrMalformed},
		{"standard alphabet", set, parts[0] + "." + parts[1] + "." + "+/" + parts[2][2:], ErrMalformed},
		{"header not an object", set, raw(t, ec, `[]`, `{}`), ErrMalformed},
		{"header with repeated alg", set, raw(t, ec, `{"alg":"ES256","alg":"ES256","typ":"JWT","kid":"ec"}`, `{}`), ErrMalformed},
		{"header with broken UTF-8", set, raw(t, ec, "{\"alg\":\"ES256\",\"typ\":\"JWT\",\"kid\":\"ec\",\"x\":\"\xff\"}", `{}`), ErrMalformed},
		{"no alg", set, raw(t, ec, `{"typ":"JWT","kid":"ec"}`, `{}`), ErrMalformed},
		{"kid not a string", set, raw(t, ec, `{"alg":"ES256","typ":"JWT","kid":1}`, `{}`), ErrMalformed},
		{"crit (RFC 7515 §4.1.11)", set, raw(t, ec, `{"alg":"ES256","typ":"JWT","kid":"ec","crit":["exp"]}`, `{}`), ErrMalformed},
		{"b64 (RFC 7797)", set, raw(t, ec, `{"alg":"ES256","typ":"JWT","kid":"ec","b64":false}`, `{}`), ErrMalformed},
		{"none (RFC 8725 §3.2)", set, raw(t, ec, `{"alg":"none","typ":"JWT","kid":"ec"}`, `{}`), ErrAlgorithm},
		{"HS512 over the public key (RFC 8725 §2.1)", set, hs, ErrAlgorithm},
		{"not accepted algorithm", set, raw(t, ec, `{"alg":"ES384","typ":"JWT","kid":"ec"}`, `{}`), ErrAlgorithm},
		{"lower case alg", set, raw(t, ec, `{"alg":"es256","typ":"JWT","kid":"ec"}`, `{}`), ErrAlgorithm},
		{"alg of another key type", set, raw(t, ec, `{"alg":"RS256","typ":"JWT","kid":"ec"}`, `{}`), ErrAlgorithm},
		{"alg other than the key names", set, raw(t, rs, `{"alg":"PS256","typ":"JWT","kid":"rs"}`, `{}`), ErrAlgorithm},
		{"typ (RFC 8725 §3.11)", set, sign(t, ec, "logout+jwt", `{}`), ErrType},
		{"no typ", set, sign(t, ec, "", `{}`), ErrType},
		{"unknown kid", set, sign(t, other, "JWT", `{}`), ErrUnknownKey},
		{"unknown kid, one key", one, sign(t, other, "JWT", `{}`), ErrUnknownKey},
		{"no kid, two keys", set, raw(t, ec, `{"alg":"ES256","typ":"JWT"}`, `{}`), ErrUnknownKey},
		{"other key's signature", set, raw(t, other, `{"alg":"ES256","typ":"JWT","kid":"ec"}`, `{}`), ErrSignature},
		{"other payload", set, parts[0] + "." + encoding.EncodeToString([]byte(`{"a":1}`)) + "." + parts[2], ErrSignature},
		{"zero signature (CVE-2022-21449)", set, parts[0] + "." + parts[1] + "." + encoding.EncodeToString(make([]byte, 64)), ErrSignature},
		{"signature with a zero in the middle", set, parts[0] + "." + parts[1] + "." + longer(t, parts[2]), ErrSignature},
		{"short signature", set, parts[0] + "." + parts[1] + "." + encoding.EncodeToString(make([]byte, 63)), ErrSignature},
	}
	accept := Accept{Algorithms: []Algorithm{ES256, RS256, PS256, "none", HS512}, Types: allTypes}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, payload, err := tt.set.Verify(tt.token, accept)
			if !errors.Is(err, tt.want) || payload != nil {
				t.Errorf("Verify = %q, %v; want %v", payload, err, tt.want)
			}
		})
	}
	if _, _, err := one.Verify(raw(t, ec, `{"alg":"ES256","typ":"JWT"}`, `{}`), accept); err != nil {
		t.Errorf("no kid, one key: %v", err)
	}
}

func TestTypesCompareAsMediaTypes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		typ  string
		want []string
		ok   bool
	}{
		{"at+jwt", []string{"at+jwt"}, true},
		{"AT+JWT", []string{"at+jwt"}, true},
		{"application/at+jwt", []string{"at+jwt"}, true},
		{"at+jwt", []string{"Application/at+jwt"}, true},
		{"JWT", []string{"at+jwt", "JWT"}, true},
		{"", []string{""}, true},
		{"", []string{"JWT"}, false},
		{"JWT", []string{""}, false},
		{"JWT", nil, false},
		{"application/", []string{""}, false},
	}
	for _, tt := range tests {
		if err := checkType(tt.typ, tt.want); (err == nil) != tt.ok {
			t.Errorf("checkType(%q, %q) = %v, want ok %t", tt.typ, tt.want, err, tt.ok)
		}
	}
}

func TestHS512ReadsOnlyItsOwn(t *testing.T) {
	t.Parallel()
	key, other := make([]byte, 64), make([]byte, 64)
	other[0] = 1
	token, err := SignHS512("k", key, "JWT", []byte(`{"a":1}`))
	if err != nil {
		t.Fatal(err)
	}
	if payload, err := VerifyHS512(token, key, "JWT"); err != nil || string(payload) != `{"a":1}` {
		t.Errorf("VerifyHS512 = %q, %v", payload, err)
	}
	if _, err := VerifyHS512(token, other, "JWT"); !errors.Is(err, ErrSignature) {
		t.Errorf("other key: %v", err)
	}
	if _, err := VerifyHS512(token, key, "Refresh"); !errors.Is(err, ErrType) {
		t.Errorf("other typ: %v", err)
	}
	if _, err := VerifyHS512(sign(t, newSigner(t, "k", ES256), "JWT", `{}`), key, "JWT"); !errors.Is(err, ErrAlgorithm) {
		t.Errorf("ES256: %v", err)
	}
	if _, err := SignHS512("k", key[:63], "JWT", nil); err == nil {
		t.Error("short key accepted for signing")
	}
	if _, err := VerifyHS512(token, key[:63], "JWT"); err == nil {
		t.Error("short key accepted for verifying")
	}
}

func TestSignRefusesAnAlgorithmOfAnotherKey(t *testing.T) {
	t.Parallel()
	s := newSigner(t, "k", ES256)
	for _, alg := range []Algorithm{ES384, RS256, EdDSA, HS512, "none", ""} {
		s.Algorithm = alg
		if _, err := s.Sign("JWT", []byte(`{}`)); !errors.Is(err, ErrAlgorithm) {
			t.Errorf("Sign with %q = %v", alg, err)
		}
	}
}

func TestParseKeySet(t *testing.T) {
	t.Parallel()
	ec := newSigner(t, "ec", ES256)
	good, err := json.Marshal(newSet(t, public(ec)))
	if err != nil {
		t.Fatal(err)
	}
	key := strings.TrimSuffix(strings.TrimPrefix(string(good), `{"keys":[`), `]}`)
	weak, err := json.Marshal(map[string]string{"kty": "RSA", "kid": "weak", "e": "AQAB", "n": encoding.EncodeToString(append([]byte{0xff}, make([]byte, 127)...))})
	if err != nil {
		t.Fatal(err)
	}
	with := func(member string) string { return strings.Replace(key, "{", "{"+member+",", 1) }
	without := func(old, new string) string { return strings.Replace(key, old, new, 1) }
	tests := []struct {
		name string
		doc  string
		keys int // -1: an error
	}{
		{"one", `{"keys":[` + key + `]}`, 1},
		{"none", `{"keys":[]}`, 0},
		{"unknown members", `{"keys":[` + with(`"x5t":"abc"`) + `],"issuer":"x"}`, 1},
		{"the same twice", `{"keys":[` + key + `,` + key + `]}`, 1},
		{"unknown type", `{"keys":[{"kty":"AKP","alg":"ML-DSA-44","pub":"AA"},` + key + `]}`, 1},
		{"for encryption", `{"keys":[` + without(`"use":"sig"`, `"use":"enc"`) + `]}`, 0},
		{"only for signing", `{"keys":[` + with(`"key_ops":["sign"]`) + `]}`, 0},
		{"other algorithm", `{"keys":[` + without(`"alg":"ES256"`, `"alg":"ECDH-ES"`) + `]}`, 0},
		{"other curve", `{"keys":[` + without(`"P-256"`, `"secp256k1"`) + `]}`, 0},
		{"1024 bit RSA", `{"keys":[` + string(weak) + `]}`, 0},
		{"private", `{"keys":[` + with(`"d":"AAAA"`) + `]}`, -1},
		{"symmetric", `{"keys":[{"kty":"oct","k":"AAAA"}]}`, -1},
		{"symmetric without its value", `{"keys":[{"kty":"oct"}]}`, -1},
		{"not on the curve", `{"keys":[{"kty":"EC","crv":"P-256","kid":"x","x":"` + encoding.EncodeToString(make([]byte, 32)) + `","y":"` + encoding.EncodeToString(append(make([]byte, 31), 1)) + `"}]}`, 0},
		{"no keys", `{"Keys":[]}`, -1},
		{"repeated keys", `{"keys":[],"keys":[]}`, -1},
		{"not JSON", `<html>`, -1},
		{"empty", ``, -1},
		{"too many", `{"keys":[` + strings.Repeat(key+",", maxKeys) + key + `]}`, -1},
		{"too large", `{"keys":[` + strings.Repeat(" ", maxKeySet) + `]}`, -1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, err := ParseKeySet([]byte(tt.doc))
			if tt.keys < 0 {
				if err == nil {
					t.Error("no error")
				}
				return
			}
			if err != nil || len(s.Keys()) != tt.keys {
				t.Errorf("ParseKeySet = %v, %v; want %d keys", s, err, tt.keys)
			}
		})
	}
}

func TestNewKeySetRefusesAmbiguity(t *testing.T) {
	t.Parallel()
	a, b, rs := newSigner(t, "k", ES256), newSigner(t, "k", ES256), newSigner(t, "k", RS256)
	if _, err := NewKeySet(public(a), public(b)); err == nil {
		t.Error("two ES256 keys of one kid accepted")
	}
	set := newSet(t, public(a), public(rs)) // a header can choose by alg
	for _, s := range []Signer{a, rs} {
		if _, _, err := set.Verify(sign(t, s, "JWT", `{}`), Accept{Algorithms: []Algorithm{s.Algorithm}, Types: allTypes}); err != nil {
			t.Errorf("%s: %v", s.Algorithm, err)
		}
	}
	if _, err := NewKeySet(PublicKey{ID: "x", Algorithm: ES384, Key: a.Key.Public()}); err == nil {
		t.Error("P-256 key for ES384 accepted")
	}
	if _, err := NewKeySet(PublicKey{ID: "x", Key: []byte("secret")}); err == nil {
		t.Error("symmetric key accepted")
	}
}

func TestErrorsHoldNothingOfTheToken(t *testing.T) {
	t.Parallel()
	for _, token := range []string{"s3cret", "s3cret.s3cret.s3cret", raw(t, newSigner(t, "k", ES256), `{"alg":"s3cret"}`, `{}`)} {
		_, _, err := newSet(t, public(newSigner(t, "k", ES256))).Verify(token, Accept{Algorithms: []Algorithm{ES256}, Types: allTypes})
		if err == nil || strings.Contains(fmt.Sprint(err), "s3cret") {
			t.Errorf("error = %v", err)
		}
	}
}
