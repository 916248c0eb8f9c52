package verify

import (
	"strings"
	"testing"
)

func TestURLsAreOneOrNot(t *testing.T) {
	t.Parallel()
	tests := []struct {
		a, b string
		same bool
	}{
		{"https://a.example/x", "https://a.example/x", true},
		{"HTTPS://A.Example/x", "https://a.example/x", true},
		{"https://a.example:443/x", "https://a.example/x", true},
		{"http://a.example:80/x", "http://a.example/x", true},
		{"https://a.example:/x", "https://a.example/x", true},
		{"https://[::1]:443/x", "https://[::1]/x", true},
		{"https://a.example", "https://a.example/", true},
		{"https://a.example?q", "https://a.example/#f", true},
		{"https://a.example/%7ex", "https://a.example/~x", true},
		{"https://a.example/%c3%a9", "https://a.example/%C3%A9", true},
		{"https://a.example/a/./b/../c", "https://a.example/a/c", true},
		{"https://a.example/a/%2e%2E/c", "https://a.example/c", true},
		{"https://a.example/..", "https://a.example/", true},
		{"https://a.example/a/b/..", "https://a.example/a/", true},
		{"https://a.example/.well-known", "https://a.example/.well-known", true},

		{"https://a.example:80/x", "https://a.example/x", false},
		{"http://a.example/x", "https://a.example/x", false},
		{"https://a.example/X", "https://a.example/x", false},
		{"https://a.example/x/", "https://a.example/x", false},
		{"https://a.example//x", "https://a.example/x", false},
		{"https://a.example/%2F", "https://a.example//", false},
		{"https://a.example/a%2Fb", "https://a.example/a/b", false},
		{"https://a.example/%2e", "https://a.example/a", false},
		{"https://[::1]/x", "https://[::1]:8443/x", false},
	}
	for _, tt := range tests {
		a, ok := normalURL(tt.a)
		b, ok2 := normalURL(tt.b)
		if !ok || !ok2 || (a == b) != tt.same {
			t.Errorf("%s and %s: got %q and %q, want same %t", tt.a, tt.b, a, b, tt.same)
		}
	}
}

func TestWhatIsNoURL(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{
		"", "/x", "a.example/x", "https:/a.example", "https://", "https:///x", "https://:443/x", "ftp://a.example/x",
		"https://user@a.example/x", "https://a.example/ x", "https://a.example/\x00", "https://a%2eexample/x",
		"https://a.example/%", "https://a.example:443:443/", "https://::1/", "https://[]/", "https://é.example/", "https://a.example/%4", "https://a.example/%zz", "https://a b/",
	} {
		if normal, ok := normalURL(raw); ok {
			t.Errorf("%q was read as %q", raw, normal)
		}
	}
}

// FuzzURL: the normal form is normal, and has neither query nor dot segments.
func FuzzURL(f *testing.F) {
	for _, s := range []string{"https://a.example/x?y#z", "HTTP://A:80/%7e/../.", "https://[::1]:443/%2f/..%2f", "https://a/%%36%31", "http://./"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		normal, ok := normalURL(raw)
		if !ok {
			return
		}
		if again, ok := normalURL(normal); !ok || again != normal {
			t.Errorf("%q became %q, then %q", raw, normal, again)
		}
		for segment := range strings.SplitSeq(strings.SplitN(normal, "/", 4)[3], "/") {
			if segment == "." || segment == ".." || strings.ContainsAny(segment, "?#") {
				t.Errorf("%q became %q", raw, normal)
			}
		}
	})
}
