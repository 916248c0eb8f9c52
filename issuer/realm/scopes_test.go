package realm

import (
	"slices"
	"testing"
)

func TestARealmsScopeReplacesTheBuiltInOne(t *testing.T) {
	t.Parallel()
	s := Settings{ClientScopes: []ClientScope{{Name: "orders"}, {Name: "profile", Attributes: map[string]string{"include.in.token.scope": "false"}}}}
	for name, want := range map[string]struct {
		mappers int
		shown   bool
	}{"orders": {0, true}, "profile": {0, false}, "email": {2, true}, "roles": {3, false}, "basic": {0, false}} {
		scope, ok := s.ClientScope(name)
		if !ok || len(scope.Mappers) != want.mappers || scope.Shown() != want.shown {
			t.Errorf("%s: got %+v, %v", name, scope, ok)
		}
	}
	if _, ok := s.ClientScope("openid"); ok {
		t.Error("openid is a client scope")
	}
	names := s.ScopeNames()
	if len(names) != len(builtIn)+1 || names[len(names)-1] != "orders" || !slices.Contains(names, "profile") {
		t.Errorf("got %q", names)
	}
}

func TestGroupsAreFoundByTheirPaths(t *testing.T) {
	t.Parallel()
	s := Settings{Groups: []Group{{Name: "a", SubGroups: []Group{{Name: "b/c", SubGroups: []Group{{Name: "d"}}}}}, {Name: "a/x"}}}
	for path, want := range map[string][]string{
		"/a": {"a"}, "/a/b/c": {"a", "b/c"}, "/a/b/c/d": {"a", "b/c", "d"}, "/a/x": {"a/x"},
		"": nil, "/": nil, "a": nil, "/a/": nil, "/b/c": nil, "/a/b": nil,
	} {
		var got []string
		for _, g := range s.GroupPath(path) {
			got = append(got, g.Name)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
}
