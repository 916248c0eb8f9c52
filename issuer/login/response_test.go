package login

import (
	"net/url"
	"strings"
	"testing"

	"github.com/tegata/tegata/issuer/oauth"
)

func TestLocationKeepsWhatTheURIHas(t *testing.T) {
	t.Parallel()
	fields := []field{{"state", "a b&c"}, {"code", "x"}}
	tests := []struct{ uri, mode, want string }{
		{"https://a.example/cb", "query", "https://a.example/cb?state=a+b%26c&code=x"},
		{"https://a.example/cb?t=1", "query", "https://a.example/cb?t=1&state=a+b%26c&code=x"}, // RFC 6749 §3.1.2
		{"https://a.example/cb?", "query", "https://a.example/cb?state=a+b%26c&code=x"},
		{"https://a.example/cb?t=1&", "query", "https://a.example/cb?t=1&state=a+b%26c&code=x"},
		{"https://a.example/cb?t=1", "fragment", "https://a.example/cb?t=1#state=a+b%26c&code=x"},
		{"com.example.app:/cb", "query", "com.example.app:/cb?state=a+b%26c&code=x"},
	}
	for _, tt := range tests {
		if got := location(tt.uri, tt.mode, fields); got != tt.want {
			t.Errorf("location(%q, %s) = %q, want %q", tt.uri, tt.mode, got, tt.want)
		}
	}
}

// FuzzLocation holds that values cannot change where an answer goes, and
// arrive as they were sent.
func FuzzLocation(f *testing.F) {
	f.Add("https://a.example/cb?t=1", "state\r\nX: y")
	f.Add("com.example.app:/cb", "&iss=https://evil.example#")
	f.Fuzz(func(t *testing.T, uri, value string) {
		if !oauth.SafeRedirect(uri) {
			return
		}
		got := location(uri, "query", []field{{"state", value}, {"iss", "us"}})
		before, _ := url.Parse(uri)
		after, err := url.Parse(got)
		if err != nil {
			t.Fatalf("location(%q, %q) = %q: %v", uri, value, got, err)
		}
		if after.Scheme != before.Scheme || after.Host != before.Host || after.Path != before.Path || after.Fragment != "" {
			t.Errorf("location(%q, %q) = %q goes elsewhere", uri, value, got)
		}
		if strings.ContainsAny(got, "\r\n") {
			t.Errorf("location(%q, %q) = %q has a line break", uri, value, got)
		}
		if q := after.Query()["iss"]; len(q) == 0 || q[len(q)-1] != "us" {
			t.Errorf("location(%q, %q) = %q lost iss", uri, value, got)
		}
		if q := after.Query()["state"]; len(q) == 0 || q[len(q)-1] != value {
			t.Errorf("location(%q, %q) = %q changed the state", uri, value, got)
		}
	})
}
