package oauth

import (
	"net/url"
	"strings"
	"testing"
)

func TestSafeRedirect(t *testing.T) {
	t.Parallel()
	tests := []struct {
		uri  string
		want bool
	}{
		{"https://app.example/cb", true},
		{"https://app.example/cb?x=1", true},
		{"http://127.0.0.1:8123/cb", true},
		{"http://[::1]:8123/cb", true},
		{"com.example.app:/cb", true}, // RFC 8252 §7.1
		{"", false},
		{"/cb", false},
		{"//app.example/cb", false},
		{"https:///cb", false},
		{"https:cb", false},
		{"https://app.example/cb#f", false}, // RFC 6749 §3.1.2
		{"https://app.example/cb#", false},
		{"https://user@app.example/cb", false},
		{`https://app.example\@evil.example/`, false},
		{"https://app.example/cb\r\nX: y", false},
		{" https://app.example/cb", false},
		{"javascript:alert(1)", false},
		{"JavaScript:alert(1)", false},
		{"java\tscript:alert(1)", false},
		{"data:text/html,x", false},
		{"vbscript:x", false},
		{"file:///etc/passwd", false},
	}
	for _, tt := range tests {
		if got := SafeRedirect(tt.uri); got != tt.want {
			t.Errorf("SafeRedirect(%q) = %v, want %v", tt.uri, got, tt.want)
		}
	}
}

func FuzzSafeRedirect(f *testing.F) {
	f.Add("https://app.example/cb?x=1")
	f.Add("com.example.app:/cb")
	f.Add("javascript:alert(1)")
	f.Fuzz(func(t *testing.T, uri string) {
		if !SafeRedirect(uri) {
			return
		}
		u, err := url.Parse(uri)
		if err != nil || !u.IsAbs() || u.Fragment != "" || u.User != nil || strings.ContainsAny(uri, "\r\n\\") {
			t.Errorf("SafeRedirect accepts %q", uri)
		}
		if strings.EqualFold(u.Scheme, "javascript") || strings.EqualFold(u.Scheme, "data") {
			t.Errorf("SafeRedirect accepts %q", uri)
		}
	})
}
