package claims

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzSplitPath holds that a claim.name that is taken is what its parts spell,
// that a value is found again under it, and that JSON can say so.
func FuzzSplitPath(f *testing.F) {
	for _, name := range []string{
		"a", "a.b", `a\.b`, `a\.b.c`, `realm_access.roles`, "", ".", "a.", ".a", "a..b", `\`, `\.`, `\\.`, `a\\.b`, "a\x00b", "a\x00.b",
		strings.Repeat("a.", 12) + "a", "\xff", "ü.ö", "resource_access.${client_id}.roles", `"`, "a\nb",
	} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		path, err := splitPath(name)
		if err != nil {
			return
		}
		escaped := make([]string, len(path))
		for i, part := range path {
			if escaped[i] = escapePath(part); part == "" || !utf8.ValidString(part) || strings.Contains(part, "\x00") {
				t.Errorf("%q: part %q", name, part)
			}
		}
		if got := strings.Join(escaped, "."); got != name || len(path) > maxDepth {
			t.Errorf("%q is read as %q", name, got)
		}
		claims := map[string]any{}
		set(claims, path, "v")
		text, err := json.Marshal(claims)
		if err != nil {
			t.Fatal(err)
		}
		var found any
		if err := json.Unmarshal(text, &found); err != nil {
			t.Fatal(err)
		}
		for _, part := range path {
			inner, _ := found.(map[string]any)
			found = inner[part]
		}
		if found != "v" {
			t.Errorf("%q: nothing under %q in %s", name, path, text)
		}
	})
}
