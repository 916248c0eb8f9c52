package extauthz

import (
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/tegata/tegata/authz/input"
	"github.com/tegata/tegata/authz/policy/reads"
)

// httpPrefix is where the input document has what the scan reads.
var httpPrefix = reads.Path{"attributes", "request", "http"}

// key appends the encoding of what the input document has at path: of the
// scanned fields without building the document, of all else from the document.
func (r *request) key(dst []byte, path reads.Path) ([]byte, bool) {
	if n := len(httpPrefix); len(path) > n && slices.Equal(path[:n], httpPrefix) {
		if value, ok, scanned := r.field(path[n:]); scanned {
			if !ok {
				return reads.AppendUndefined(dst), true
			}
			return reads.AppendString(dst, value), true
		}
	}
	doc, err := r.document()
	if err != nil {
		return nil, false
	}
	v, err := doc.Find(path.Ref())
	if err != nil {
		return reads.AppendUndefined(dst), true
	}
	return reads.AppendValue(dst, v)
}

// field returns a scanned field by its path below http. Like protojson, the
// document has no empty field, but it has empty headers.
func (r *request) field(path reads.Path) (value string, ok, scanned bool) {
	switch {
	case len(path) == 2 && path[0] == "headers":
		value, ok = r.header(path[1])
		return value, ok, true
	case len(path) != 1:
		return "", false, false
	}
	switch path[0] {
	case "method":
		value = r.method
	case "path":
		value = r.path
	case "host":
		value = r.host
	case "scheme":
		value = r.scheme
	case "protocol":
		value = r.protocol
	default:
		return "", false, false
	}
	return value, value != "", true
}

// document is the input as an object, built once.
func (r *request) document() (ast.Object, error) {
	if r.doc == nil {
		members, err := r.input()
		if err != nil {
			return nil, err
		}
		r.doc = ast.NewObject(members...)
	}
	return r.doc, nil
}

// input builds the members of the input document.
func (r *request) input() ([][2]*ast.Term, error) {
	if err := r.decode(); err != nil {
		return nil, err
	}
	return input.Members(r.full)
}
