package jose

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"strings"
	"testing"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/lestrrat-go/jwx/v2/jws"
)

// aboutOneKB is a payload of the size that Keycloak's tokens have.
func aboutOneKB(tb testing.TB) string {
	data, err := json.Marshal(map[string]any{
		"exp": 1795411609, "iat": 1795411309, "jti": "onrtac:7d068d66-8ae4-f944-f87d-38f5f61b22e9",
		"iss": "http://127.0.0.1:38080/realms/facts", "aud": []string{"account", "api"}, "sub": "13ce3fd0-ffdb-41a8-9bf9-ca24c1a35d22",
		"typ": "Bearer", "azp": "app1", "sid": "Ws6eKsJIoemHmEF93ENphUsg", "acr": "1", "rev": 1234567, "scope": "openid email profile",
		"realm_access": map[string]any{"roles": []string{"default-roles-facts", "offline_access", "uma_authorization"}},
		"name":         "Alice Test", "email": "alice@example.com", "filler": strings.Repeat("x", 500),
	})
	if err != nil {
		tb.Fatal(err)
	}
	return string(data)
}

var benchAlgorithms = []Algorithm{ES256, RS256, EdDSA}

func BenchmarkVerify(b *testing.B) {
	for _, alg := range benchAlgorithms {
		b.Run(string(alg), func(b *testing.B) {
			s := newSigner(b, "k1", alg)
			set := newSet(b, public(s), public(newSigner(b, "k2", ES256))).ForMany()
			token := sign(b, s, "at+jwt", aboutOneKB(b))
			accept := Accept{Algorithms: benchAlgorithms, Types: []string{"at+jwt", "JWT"}}
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := set.Verify(token, accept); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkVerifyJWX is jwx's own way, for comparison.
func BenchmarkVerifyJWX(b *testing.B) {
	for _, alg := range benchAlgorithms {
		b.Run(string(alg), func(b *testing.B) {
			s := newSigner(b, "k1", alg)
			set := jwk.NewSet()
			for _, k := range []PublicKey{public(s), public(newSigner(b, "k2", ES256))} {
				j, err := k.jwk()
				if err != nil {
					b.Fatal(err)
				}
				if err := j.Set(jwk.AlgorithmKey, jwa.SignatureAlgorithm(k.Algorithm)); err != nil {
					b.Fatal(err)
				}
				if err := set.AddKey(j); err != nil {
					b.Fatal(err)
				}
			}
			token := []byte(sign(b, s, "at+jwt", aboutOneKB(b)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := jws.Verify(token, jws.WithKeySet(set)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkBareSignature is what Verify cannot go below.
func BenchmarkBareSignature(b *testing.B) {
	input := []byte(aboutOneKB(b))
	digest := sha256.Sum256(input)
	for _, alg := range benchAlgorithms {
		b.Run(string(alg), func(b *testing.B) {
			s := newSigner(b, "k1", alg)
			signature, err := s.Key.Sign(rand.Reader, s.Algorithm.digest(input), s.Algorithm.hash())
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				ok := false
				switch key := s.Key.Public().(type) {
				case *ecdsa.PublicKey:
					ok = ecdsa.VerifyASN1(key, digest[:], signature)
				case *rsa.PublicKey:
					ok = rsa.VerifyPKCS1v15(key, s.Algorithm.hash(), digest[:], signature) == nil
				case ed25519.PublicKey:
					ok = ed25519.Verify(key, input, signature)
				}
				if !ok {
					b.Fatal("signature does not verify")
				}
			}
		})
	}
}

func BenchmarkSign(b *testing.B) {
	s := newSigner(b, "k1", ES256)
	payload := []byte(aboutOneKB(b))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Sign("at+jwt", payload); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadObject(b *testing.B) {
	data := []byte(aboutOneKB(b))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ReadObject(data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadClaims(b *testing.B) {
	data := []byte(aboutOneKB(b))
	b.ReportAllocs()
	for b.Loop() {
		var c struct {
			Issuer  string `json:"iss"`
			Subject string `json:"sub"`
			ID      string `json:"jti"`
			Expires int64  `json:"exp"`
		}
		if err := ReadClaims(data, &c); err != nil {
			b.Fatal(err)
		}
	}
}
