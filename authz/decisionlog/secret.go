package decisionlog

import (
	"slices"
	"strconv"
	"strings"
)

// alwaysSecret are headers that let their reader act for somebody.
var alwaysSecret = []string{"authorization", "proxy-authorization", "cookie", "set-cookie", "dpop"}

// secrets is a set of header names in lower case.
type secrets map[string]bool

func newSecrets(more []string) secrets {
	s := secrets{}
	for _, name := range slices.Concat(alwaysSecret, more) {
		s[strings.ToLower(name)] = true
	}
	return s
}

func (s secrets) has(name string) bool {
	return s[name] || s[strings.ToLower(name)]
}

// erase takes the secret headers out of a document and returns the paths of
// what it took, sorted.
func (s secrets) erase(root *any, name string) []string {
	if root == nil {
		return nil
	}
	w := walk{secrets: s, path: []string{name}}
	w.visit(*root, false)
	slices.Sort(w.erased)
	return w.erased
}

// walk looks for headers below every name that speaks of them (headers,
// headerMap, response_headers_to_add), in both of Envoy's forms: an object by
// name, and a list of objects with key and value.
type walk struct {
	secrets secrets
	path    []string // names from the root to where it is
	erased  []string
}

func (w *walk) visit(node any, headers bool) {
	switch n := node.(type) {
	case map[string]any:
		w.object(n, headers)
	case []any:
		for i, child := range n {
			w.path = append(w.path, strconv.Itoa(i))
			w.visit(child, headers)
			w.path = w.path[:len(w.path)-1]
		}
	}
}

func (w *walk) object(n map[string]any, headers bool) {
	key, _ := n["key"].(string)
	blank := headers && w.secrets.has(key) // nothing of it stays but its name
	for name, child := range n {
		w.path = append(w.path, name)
		switch {
		case blank && name != "key", headers && w.secrets.has(name):
			delete(n, name)
			w.erased = append(w.erased, pointerOf(w.path))
		default:
			w.visit(child, headers || speaksOfHeaders(name))
		}
		w.path = w.path[:len(w.path)-1]
	}
}

func speaksOfHeaders(name string) bool {
	return strings.Contains(strings.ToLower(name), "header")
}

// pointerOf is the JSON pointer of a path (RFC 6901 §3).
func pointerOf(path []string) string {
	var b strings.Builder
	for _, name := range path {
		b.WriteByte('/')
		b.WriteString(escaper.Replace(name))
	}
	return b.String()
}

var escaper = strings.NewReplacer("~", "~0", "/", "~1")
