package jose

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"strings"
	"testing"
)

// TestHS256 (RFC 7515 appendix A.1, RFC 7518 §3.2).
func TestHS256(t *testing.T) {
	t.Parallel()
	key := []byte(strings.Repeat("k", 32))
	sign := func(header string) string {
		input := encoding.EncodeToString([]byte(header)) + "." + encoding.EncodeToString([]byte(`{}`))
		m := hmac.New(sha256.New, key)
		m.Write([]byte(input))
		return input + "." + encoding.EncodeToString(m.Sum(nil))
	}
	good := sign(`{"alg":"HS256","typ":"JWT"}`)
	if payload, err := VerifyHS256(good, key, "JWT"); err != nil || string(payload) != `{}` {
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
		"another type":      {sign(`{"alg":"HS256","typ":"at+jwt"}`), key, ErrType},
		"garbage":           {"x", key, ErrMalformed},
	} {
		if payload, err := VerifyHS256(tt.token, tt.key, "JWT"); !errors.Is(err, tt.want) || payload != nil {
			t.Errorf("%s: %q, %v, want %v", name, payload, err, tt.want)
		}
	}
	if _, err := VerifyHS256(good, key[:31], "JWT"); err == nil {
		t.Error("31 bytes were enough")
	}
}
