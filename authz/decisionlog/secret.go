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
func (s secrets) erase(root *any, at string) []string {
	if root == nil {
		return nil
	}
	var erased []string
	s.walk(*root, at, false, &erased)
	slices.Sort(erased)
	return erased
}

// walk looks for headers below every name that speaks of them (headers,
// headerMap, response_headers_to_add), in both of Envoy's forms: an object by
// name, and a list of objects with key and value.
func (s secrets) walk(node any, at string, headers bool, erased *[]string) {
	switch n := node.(type) {
	case map[string]any:
		if key, _ := n["key"].(string); headers && s.has(key) {
			s.blank(n, at, erased)
			return
		}
		for name, child := range n {
			path := at + "/" + escape(name)
			if headers && s.has(name) {
				delete(n, name)
				*erased = append(*erased, path)
				continue
			}
			s.walk(child, path, headers || speaksOfHeaders(name), erased)
		}
	case []any:
		for i, child := range n {
			s.walk(child, at+"/"+strconv.Itoa(i), headers, erased)
		}
	}
}

// blank leaves nothing of a header in a list but its name.
func (s secrets) blank(n map[string]any, at string, erased *[]string) {
	for name := range n {
		if name != "key" {
			delete(n, name)
			*erased = append(*erased, at+"/"+escape(name))
		}
	}
}

func speaksOfHeaders(name string) bool {
	return strings.Contains(strings.ToLower(name), "header")
}

// escape makes a JSON pointer's part of a name (RFC 6901 §3).
func escape(name string) string {
	if !strings.ContainsAny(name, "~/") {
		return name
	}
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}
