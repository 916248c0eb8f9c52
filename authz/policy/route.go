package policy

import (
	"errors"
	"fmt"
	"strings"
)

// maxPath is the longest path that can match a route, in bytes.
const maxPath = 8 << 10

// routes matches paths against the templates of data.tegata.routes. The
// segments of a path are compared as they stand, undecoded, so that no
// spelling can mean another route here than it means to Envoy.
type routes struct {
	root node
	any  bool // whether there is a table at all
}

// node is a place between two slashes.
type node struct {
	literal map[string]*node
	param   *node  // {name}
	rest    *route // {name...}
	route   *route // a template that ends here
}

type route struct {
	template string
	methods  map[string]bool
}

// newRoutes builds the table from data.tegata.routes, which is template →
// method → rule.
func newRoutes(table map[string]any) (*routes, error) {
	r := &routes{any: table != nil}
	for template, rules := range table {
		byMethod, ok := rules.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("data.tegata.routes[%q] must be an object of methods, not %T", template, rules)
		}
		methods := make(map[string]bool, len(byMethod))
		for method, rule := range byMethod {
			if err := checkRule(rule); err != nil {
				return nil, fmt.Errorf("data.tegata.routes[%q][%q]: %w", template, method, err)
			}
			methods[method] = true
		}
		if err := r.add(&route{template: template, methods: methods}); err != nil {
			return nil, fmt.Errorf("data.tegata.routes[%q]: %w", template, err)
		}
	}
	return r, nil
}

// checkRule refuses what the shipped policy would take for nothing: a route
// that names its scope as a string, not as a list of one, would ask for none.
func checkRule(rule any) error {
	members, ok := rule.(map[string]any)
	if !ok {
		return fmt.Errorf("must be an object, not %T", rule)
	}
	if public, there := members["public"]; there {
		if _, ok := public.(bool); !ok {
			return fmt.Errorf("public must be true or false, not %v", public)
		}
	}
	scopes, there := members["scopes"]
	switch {
	case !there:
		return nil
	case members["public"] == true:
		return errors.New("public and scopes exclude each other")
	}
	list, ok := scopes.([]any)
	if !ok {
		return fmt.Errorf("scopes must be a list, not %v", scopes)
	}
	for _, scope := range list {
		if name, ok := scope.(string); !ok || !isScope(name) {
			return fmt.Errorf("%v is no scope", scope)
		}
	}
	return nil
}

func (r *routes) add(rt *route) error {
	rest, ok := strings.CutPrefix(rt.template, "/")
	if !ok {
		return fmt.Errorf("a template starts with /")
	}
	at := &r.root
	segments := strings.Split(rest, "/")
	for i, segment := range segments {
		name, isParam := param(segment)
		switch {
		case isParam && strings.HasSuffix(name, "..."):
			if i != len(segments)-1 {
				return fmt.Errorf("{%s} stands only at the end", name)
			}
			return set(&at.rest, rt)
		case isParam:
			if at.param == nil {
				at.param = &node{}
			}
			at = at.param
		case strings.ContainsAny(segment, "{}") || (segment != "" && !plainSegment(segment)) || (segment == "" && rt.template != "/"):
			return fmt.Errorf("%q is neither {name} nor a plain segment", segment)
		default:
			if at.literal == nil {
				at.literal = map[string]*node{}
			}
			if at.literal[segment] == nil {
				at.literal[segment] = &node{}
			}
			at = at.literal[segment]
		}
	}
	return set(&at.route, rt)
}

func set(place **route, rt *route) error {
	if *place != nil {
		return fmt.Errorf("the same paths as %q", (*place).template)
	}
	*place = rt
	return nil
}

func param(segment string) (name string, ok bool) {
	if len(segment) > 2 && segment[0] == '{' && segment[len(segment)-1] == '}' {
		return segment[1 : len(segment)-1], true
	}
	return "", false
}

// match finds the template of a path without its query: the one with the most
// literal segments from the left that has a rule for the method, else the one
// with the most literal segments.
func (r *routes) match(method, path string) (template string, ok bool) {
	if len(path) > maxPath || path == "" || path[0] != '/' || !canonical(path) {
		return "", false
	}
	var fallback *route
	found := r.root.match(method, path[1:], &fallback)
	if found == nil {
		found = fallback
	}
	if found == nil {
		return "", false
	}
	return found.template, true
}

func (n *node) match(method, path string, fallback **route) *route {
	segment, rest, more := strings.Cut(path, "/")
	for _, next := range [2]*node{n.literal[segment], n.param} {
		if next == nil || (next == n.param && segment == "") {
			continue
		}
		var found *route
		if more {
			found = next.match(method, rest, fallback)
		} else {
			found = accept(next.route, method, fallback)
		}
		if found != nil {
			return found
		}
	}
	if path == "" {
		return nil
	}
	return accept(n.rest, method, fallback)
}

func accept(rt *route, method string, fallback **route) *route {
	if rt == nil {
		return nil
	}
	if rt.methods[method] {
		return rt
	}
	if *fallback == nil {
		*fallback = rt
	}
	return nil
}

// OneReading reports whether a path, without its query, can be read in one way
// only, but for a slash at its end; see canonical.
func OneReading(path string) bool {
	if path == "" || path[0] != '/' || len(path) > maxPath {
		return false
	}
	return path == "/" || canonical(strings.TrimSuffix(path, "/"))
}

// canonical reports whether a path has one reading only. What has two (an
// empty or dot segment, a matrix parameter, a backslash, an escape of a
// character that needs none) matches no route: the API behind may read it
// otherwise than Envoy did.
func canonical(path string) bool {
	for segment := range strings.SplitSeq(path[1:], "/") {
		if !canonicalSegment(segment) && path != "/" {
			return false
		}
	}
	return true
}

func canonicalSegment(segment string) bool {
	if segment == "" || segment == "." || segment == ".." {
		return false
	}
	for i := 0; i < len(segment); i++ {
		switch c := segment[i]; {
		case c == '%':
			if !canonicalEscape(segment[i:]) {
				return false
			}
			i += 2
		case c <= ' ' || c >= 0x7f || strings.IndexByte(`;\?#"<>^{}|`+"`", c) >= 0:
			return false
		}
	}
	return true
}

// canonicalEscape accepts an escape of what cannot stand in a segment as it
// is. Escaped controls, backslashes and semicolons have been read as the
// thing itself by too many servers.
func canonicalEscape(s string) bool {
	if len(s) < 3 {
		return false
	}
	hi, ok1 := unhex(s[1])
	lo, ok2 := unhex(s[2])
	c := hi<<4 | lo
	return ok1 && ok2 && c >= ' ' && c != 0x7f && !unreserved(c) && c != '\\' && c != ';'
}

// plainSegment reports whether a template's literal is a canonical segment
// without escapes.
func plainSegment(segment string) bool {
	return !strings.Contains(segment, "%") && canonicalSegment(segment)
}

func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~", c) >= 0
}

func unhex(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}
