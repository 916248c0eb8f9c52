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
		members, err := r.input(nil)
		if err != nil {
			return nil, err
		}
		r.doc = ast.NewObject(members...)
	}
	return r.doc, nil
}

// input builds the members of the input document: what is wanted from the
// scanned fields alone, if they have it all, else everything.
func (r *request) input(wanted []reads.Path) ([][2]*ast.Term, error) {
	if members, ok := r.part(wanted); ok {
		return members, nil
	}
	if err := r.decode(); err != nil {
		return nil, err
	}
	return input.Members(r.full)
}

// Keys above the scanned fields.
var (
	keyAttributes = ast.StringTerm(httpPrefix[0])
	keyRequest    = ast.StringTerm(httpPrefix[1])
	keyHTTP       = ast.StringTerm(httpPrefix[2])
	keyHeaders    = ast.StringTerm("headers")
)

// part builds the members that have what is wanted. ok is false if the scan
// does not say it all.
func (r *request) part(wanted []reads.Path) (members [][2]*ast.Term, ok bool) {
	if wanted == nil || r.full != nil {
		return nil, false
	}
	http, headers := ast.NewObject(), ast.NewObject()
	for _, path := range wanted {
		n := len(httpPrefix)
		if len(path) <= n || !slices.Equal(path[:n], httpPrefix) {
			return nil, false
		}
		value, there, scanned := r.field(path[n:])
		if !scanned {
			return nil, false
		}
		if !there {
			continue
		}
		object := http
		if len(path) == n+2 {
			object = headers
		}
		object.Insert(ast.StringTerm(path[len(path)-1]), ast.StringTerm(value))
	}
	http.Insert(keyHeaders, ast.NewTerm(headers))
	request := ast.ObjectTerm(ast.Item(keyHTTP, ast.NewTerm(http)))
	return [][2]*ast.Term{ast.Item(keyAttributes, ast.ObjectTerm(ast.Item(keyRequest, request)))}, true
}
