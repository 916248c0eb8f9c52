package credential

import (
	"testing"
	"time"
)

func TestChallenge(t *testing.T) {
	t.Parallel()
	seconds := func(d time.Duration) *time.Duration { return &d }
	tests := []struct {
		source string
		c      Challenge
		want   string
	}{
		{"RFC 6750 §3, nothing to say", Challenge{Scheme: Bearer}, `Bearer`},
		{"RFC 6750 §3", Challenge{Scheme: Bearer, Realm: "example"}, `Bearer realm="example"`},
		{
			"RFC 6750 §3.1",
			Challenge{Scheme: Bearer, Realm: "example", Error: InsufficientScope, Scopes: []string{"a", "b"}},
			`Bearer realm="example", error="insufficient_scope", scope="a b"`,
		},
		{
			"RFC 9470 §3, classes",
			Challenge{
				Scheme: Bearer, Error: InsufficientUser, Description: "A different authentication level is required",
				ACRValues: []string{"myACR", "other"},
			},
			`Bearer error="insufficient_user_authentication", error_description="A different authentication level is required", acr_values="myACR other"`,
		},
		{
			"RFC 9470 §3, age",
			Challenge{Scheme: Bearer, Error: InsufficientUser, MaxAge: seconds(5 * time.Second)},
			`Bearer error="insufficient_user_authentication", max_age="5"`,
		},
		{"now", Challenge{Scheme: Bearer, MaxAge: seconds(0)}, `Bearer max_age="0"`},
		{"an age below zero", Challenge{Scheme: Bearer, MaxAge: seconds(-time.Hour)}, `Bearer max_age="0"`},
		{
			"RFC 9728 §5.1",
			Challenge{Scheme: Bearer, ResourceMetadata: "https://resource.example.com/.well-known/oauth-protected-resource"},
			`Bearer resource_metadata="https://resource.example.com/.well-known/oauth-protected-resource"`,
		},
		{"RFC 9449 §7.1", Challenge{Scheme: DPoP, Algorithms: []string{"ES256", "PS256"}}, `DPoP algs="ES256 PS256"`},
		{"RFC 9449 §9", Challenge{Scheme: DPoP, Error: UseNonce, Algorithms: []string{"ES256"}}, `DPoP error="use_dpop_nonce", algs="ES256"`},
		{"algorithms are of DPoP alone", Challenge{Scheme: Bearer, Algorithms: []string{"ES256"}}, `Bearer`},
		{"what must be quoted", Challenge{Scheme: Bearer, Realm: "a\"b\\c\r\nX: é"}, `Bearer realm="a\"b\\cX: "`},
	}
	for _, tt := range tests {
		if got := tt.c.String(); got != tt.want {
			t.Errorf("%s:\ngot  %s\nwant %s", tt.source, got, tt.want)
		}
	}
}
