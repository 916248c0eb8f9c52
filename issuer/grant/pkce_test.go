package grant

import (
	"strings"
	"testing"
)

func TestPKCE(t *testing.T) {
	t.Parallel()
	const verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk" // RFC 7636 appendix B
	const challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
	tests := []struct {
		name, challenge, verifier, want string
	}{
		{"RFC 7636 appendix B", challenge, verifier, ""},
		{"neither", "", "", ""},
		{"wrong", challenge, strings.Repeat("x", 43), "invalid_grant: PKCE verification failed: Code mismatch"},
		{"the challenge itself, as with plain", challenge, challenge, "invalid_grant: PKCE verification failed: Code mismatch"},
		{"missing", challenge, "", "invalid_grant: PKCE code verifier not specified"},
		{"not asked for, RFC 9700 §4.8.2", "", verifier, "invalid_grant: PKCE code verifier specified but challenge not present in authorization"},
		{"too short, RFC 7636 §4.1", challenge, verifier[1:], "invalid_grant: PKCE verification failed: Invalid code verifier"},
		{"too long", challenge, strings.Repeat("x", 129), "invalid_grant: PKCE verification failed: Invalid code verifier"},
		{"foreign characters", challenge, verifier[1:] + "+", "invalid_grant: PKCE verification failed: Invalid code verifier"},
	}
	for _, tt := range tests {
		got := ""
		if err := checkPKCE(tt.challenge, tt.verifier); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}
