package policy

import (
	"net/url"
	"path"
	"strings"
	"testing"
)

func table(t testing.TB, templates ...string) *routes {
	t.Helper()
	m := map[string]any{}
	for _, tmpl := range templates {
		name, methods, _ := strings.Cut(tmpl, " ")
		rules := map[string]any{}
		for _, method := range strings.Fields(methods) {
			rules[method] = map[string]any{}
		}
		m[name] = rules
	}
	r, err := newRoutes(m)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRouteMatch(t *testing.T) {
	t.Parallel()
	r := table(t, "/ GET", "/orders GET POST", "/orders/{id} GET", "/orders/new POST", "/orders/{id}/lines/{n} GET",
		"/files/{path...} GET", "/files/top GET", "/{tenant}/info GET")
	tests := []struct{ method, path, want string }{
		{"GET", "/", "/"},
		{"GET", "/orders", "/orders"},
		{"GET", "/orders/1", "/orders/{id}"},
		{"POST", "/orders/new", "/orders/new"},
		{"GET", "/orders/new", "/orders/{id}"}, // the literal has no rule for GET
		{"PUT", "/orders/new", "/orders/new"},  // nothing has one: the most literal
		{"GET", "/orders/1/lines/2", "/orders/{id}/lines/{n}"},
		{"GET", "/files/a/b/c", "/files/{path...}"},
		{"GET", "/files/a", "/files/{path...}"},
		{"GET", "/files/top", "/files/top"},
		{"GET", "/files", ""},
		{"GET", "/files/", ""},
		{"GET", "/orders/info", "/orders/{id}"},
		{"GET", "/x/info", "/{tenant}/info"},
		{"GET", "/orders/a%2Fb", "/orders/{id}"}, // stays one segment
		{"GET", "/orders/a%2fb", "/orders/{id}"},
		{"GET", "/orders/caf%C3%A9", "/orders/{id}"},
		// Two readings: no match.
		{"GET", "/orders/", ""},
		{"GET", "//orders", ""},
		{"GET", "/orders//1", ""},
		{"GET", "/./orders", ""},
		{"GET", "/x/../orders", ""},
		{"GET", "/orders/..", ""},
		{"GET", "/orders/%2e%2e", ""},
		{"GET", "/orders/%2E%2e/x", ""},
		{"GET", "/%6frders", ""},
		{"GET", "/orders;v=1", ""},
		{"GET", "/orders/1;v=1", ""},
		{"GET", "/orders/%3Bv", ""},
		{"GET", `/orders\1`, ""},
		{"GET", "/orders/%5C1", ""},
		{"GET", "/orders/%00", ""},
		{"GET", "/orders/%", ""},
		{"GET", "/orders/%zz", ""},
		{"GET", "/orders/\x7f", ""},
		{"GET", "/orders/é", ""},
		{"GET", "/orders/a b", ""},
		{"GET", "/orders#x", ""},
		{"GET", "orders", ""},
		{"GET", "", ""},
		{"GET", "http://host/orders", ""},
		{"GET", "/orders/" + strings.Repeat("a", maxPath), ""},
	}
	for _, tt := range tests {
		got, ok := r.match(tt.method, tt.path)
		if got != tt.want || ok != (tt.want != "") {
			t.Errorf("match(%s %q) = %q, %t; want %q", tt.method, tt.path, got, ok, tt.want)
		}
	}
}

// FuzzRouteMatch: a path that matches a route is what a server that decodes
// and cleans it would still take for the same segments.
func FuzzRouteMatch(f *testing.F) {
	for _, seed := range []string{"/orders", "/orders/1", "/orders/a%2Fb", "/orders//x", "/a/../orders", "/orders/%2e", "/files/a/b"} {
		f.Add(seed)
	}
	r := table(f, "/orders GET", "/orders/{id} GET", "/files/{path...} GET")
	f.Fuzz(func(t *testing.T, p string) {
		template, ok := r.match("GET", p)
		if !ok {
			return
		}
		if cleaned := path.Clean(p); cleaned != p {
			t.Fatalf("%q matched %q, a cleaner makes it %q", p, template, cleaned)
		}
		u, err := url.ParseRequestURI(p)
		if err != nil {
			t.Fatalf("%q matched %q, and is no path: %v", p, template, err)
		}
		if u.RawQuery != "" || u.Host != "" || strings.ContainsAny(p, ";\\?#") {
			t.Fatalf("%q matched %q", p, template)
		}
		if strings.Count(p, "/") != strings.Count(template, "/") && !strings.Contains(template, "...") {
			t.Fatalf("%q matched %q: another number of segments", p, template)
		}
	})
}
