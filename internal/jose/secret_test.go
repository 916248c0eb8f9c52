package jose

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"hash"
	"strings"
	"testing"
)

// TestHS256 (RFC 7515 appendix A.1, RFC 7518 §3.2).
func TestHS256(t *testing.T) {
	t.Parallel()
	key := []byte(strings.Repeat("k", 32))
	shared := Accept{Algorithms: SharedAlgorithms(), Types: []string{"JWT"}}
	sign := func(header string) string {
		input := encoding.EncodeToString([]byte(header)) + "." + encoding.EncodeToString([]byte(`{}`))
		m := hmac.New(sha256.New, key)
		m.Write([]byte(input))
		return input + "." + encoding.EncodeToString(m.Sum(nil))
	}
	good := sign(`{"alg":"HS256","typ":"JWT"}`)
	if payload, err := VerifyShared(good, key, shared); err != nil || string(payload) != `{}` {
		t.Fatalf("%q, %v", payload, err)
	}
	for name, tt := range map[string]struct {
		token string
		key   []byte
		want  error
	}{
		"another key":       {good, []byte(strings.Repeat("x", 32)), ErrSignature},
		"another algorithm": {sign(`{"alg":"HS512","typ":"JWT"}`), key, ErrAlgorithm},
		"no algorithm":      {sign(`{"alg":"none","typ":"JWT"}`), key, ErrAlgorithm},
		"asymmetric":        {sign(`{"alg":"ES256","typ":"JWT"}`), key, ErrAlgorithm},
		"another type":      {sign(`{"alg":"HS256","typ":"at+jwt"}`), key, ErrType},
		"garbage":           {"x", key, ErrMalformed},
	} {
		if payload, err := VerifyShared(tt.token, tt.key, shared); !errors.Is(err, tt.want) || payload != nil {
			t.Errorf("%s: %q, %v, want %v", name, payload, err, tt.want)
		}
	}
	if _, err := VerifyShared(good, key[:31], shared); err == nil {
		t.Error("31 bytes were enough")
	}
}

// TestSharedSecretsAreLongEnough (RFC 7518 §3.2): as long as the hash.
func TestSharedSecretsAreLongEnough(t *testing.T) {
	t.Parallel()
	for alg, tt := range map[Algorithm]struct {
		hash func() hash.Hash
		size int
	}{HS256: {sha256.New, 32}, HS384: {sha512.New384, 48}, HS512: {sha512.New, 64}} {
		for _, size := range []int{tt.size - 1, tt.size} {
			key := []byte(strings.Repeat("k", size))
			input := encoding.EncodeToString([]byte(`{"alg":"`+alg+`"}`)) + "." + encoding.EncodeToString([]byte(`{}`))
			m := hmac.New(tt.hash, key)
			m.Write([]byte(input))
			token := input + "." + encoding.EncodeToString(m.Sum(nil))
			_, err := VerifyShared(token, key, Accept{Algorithms: SharedAlgorithms(), Types: []string{""}})
			if (err == nil) != (size == tt.size) {
				t.Errorf("%s with %d bytes: %v", alg, size, err)
			}
			if _, err := VerifyShared(token, key, Accept{Algorithms: []Algorithm{ES256}, Types: []string{""}}); err == nil {
				t.Errorf("%s is accepted where it is not named", alg)
			}
		}
	}
}
