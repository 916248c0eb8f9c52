package main

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// maxDocument bounds a configuration or realm file, in bytes.
const maxDocument = 16 << 20

// document is a YAML (or JSON) file that knows where each of its keys stands,
// so that every complaint about it can name file, line, column and key.
type document struct {
	name  string
	keys  map[string]*token.Token   // "authz.issuers[0].issuer" → its key, or the item's start
	paths map[token.Position]string // and back, for keys and values
	texts map[string]string         // key → its scalar value as written
}

// configError is a complaint about one place of a configuration.
type configError struct {
	where string // file:line:column, or what overrode the key
	key   string // dotted; empty if the file as a whole is meant
	what  string
	fix   string // hint, may be empty
}

func (e *configError) Error() string {
	if e.key == "" {
		return e.where + ": " + e.what
	}
	return e.where + ": " + e.key + ": " + e.what
}

// Hint implements hinter.
func (e *configError) Hint() string { return e.fix }

// decodeStrict decodes b into the struct that into points to. Unknown keys,
// duplicate keys, wrong types and broken syntax are *configError.
func decodeStrict(name string, b []byte, into any) (*document, error) {
	return decodeStrictBut(name, b, into, nil)
}

// decodeStrictBut is decodeStrict for all keys of the file but those that apart
// takes for itself, by their names on the outermost level and their values.
func decodeStrictBut(name string, b []byte, into any, apart func(key string, value any) (bool, error)) (*document, error) {
	d := &document{name: name, keys: map[string]*token.Token{}, paths: map[token.Position]string{}, texts: map[string]string{}}
	if len(b) > maxDocument {
		return d, &configError{where: name, what: fmt.Sprintf("larger than %d bytes", maxDocument)}
	}
	file, err := parser.ParseBytes(b, 0)
	if err != nil {
		return d, d.explain(err, into)
	}
	if len(file.Docs) > 1 {
		return d, &configError{where: name, what: "has more than one YAML document", fix: "keep everything before the first ---"}
	}
	if len(file.Docs) == 1 && file.Docs[0].Body != nil {
		d.index("", file.Docs[0].Body)
	}
	if apart == nil || len(file.Docs) == 0 || file.Docs[0].Body == nil {
		if err := yaml.UnmarshalWithOptions(b, into, yaml.Strict()); err != nil {
			return d, d.explain(err, into)
		}
		return d, nil
	}
	if err := d.setApart(file.Docs[0].Body, apart); err != nil {
		return d, err
	}
	if err := yaml.NodeToValue(file.Docs[0].Body, into, yaml.Strict()); err != nil {
		return d, d.explain(err, into)
	}
	return d, nil
}

// setApart takes keys out of a mapping.
func (d *document) setApart(n ast.Node, apart func(key string, value any) (bool, error)) error {
	m, ok := n.(*ast.MappingNode)
	if !ok {
		return nil
	}
	var rest []*ast.MappingValueNode
	for _, v := range m.Values {
		var value any
		if err := yaml.NodeToValue(v.Value, &value); err != nil {
			return d.explain(err, &value)
		}
		key := v.Key.GetToken().Value
		taken, err := apart(key, value)
		if err != nil {
			return d.at(v.Key.String(), err.Error(), "take it out of the file if you can do without it")
		}
		if !taken {
			rest = append(rest, v)
		}
	}
	m.Values = rest
	return nil
}

// index remembers where everything below n stands.
func (d *document) index(path string, n ast.Node) {
	d.remember(path, n.GetToken())
	switch n := n.(type) {
	case *ast.MappingNode:
		for _, v := range n.Values {
			d.index(path, v)
		}
	case *ast.MappingValueNode:
		child := join(path, n.Key.String())
		d.keys[child] = n.Key.GetToken()
		d.remember(child, n.Key.GetToken())
		d.index(child, n.Value)
	case *ast.SequenceNode:
		for i, v := range n.Values {
			item := fmt.Sprintf("%s[%d]", path, i)
			d.keys[item] = start(v)
			d.index(item, v)
		}
	case ast.ScalarNode:
		d.texts[path] = n.GetToken().Value
	}
}

// start is the first token of a node; the library gives that of the colon for a section.
func start(n ast.Node) *token.Token {
	switch n := n.(type) {
	case *ast.MappingNode:
		if len(n.Values) > 0 {
			return n.Values[0].Key.GetToken()
		}
	case *ast.MappingValueNode:
		return n.Key.GetToken()
	}
	return n.GetToken()
}

func (d *document) remember(path string, t *token.Token) {
	if path != "" && t != nil && t.Position != nil {
		d.paths[place(t)] = path
	}
}

// place is a token's line and column; the rest of a Position varies with how it was reached.
func place(t *token.Token) token.Position {
	return token.Position{Line: t.Position.Line, Column: t.Position.Column}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// at complains about a key. If the key is not in the file, the nearest section
// above it gives the line.
func (d *document) at(key, what, fix string) *configError {
	for k := key; k != ""; k = parent(k) {
		if t, ok := d.keys[k]; ok {
			return &configError{where: fmt.Sprintf("%s:%d:%d", d.name, t.Position.Line, t.Position.Column), key: key, what: what, fix: fix}
		}
	}
	return &configError{where: d.name, key: key, what: what, fix: fix}
}

// parent cuts the last name or index off a key.
func parent(key string) string {
	return key[:max(0, strings.LastIndexAny(key, ".["))]
}

// explain turns an error of the YAML library into our words.
func (d *document) explain(err error, into any) *configError {
	var e yaml.Error
	if !errors.As(err, &e) || e.GetToken() == nil {
		if bad := d.badDuration(into); bad != nil {
			return bad
		}
		return &configError{where: d.name, what: firstLine(err.Error())}
	}
	t := e.GetToken()
	out := &configError{where: fmt.Sprintf("%s:%d:%d", d.name, t.Position.Line, t.Position.Column), key: d.paths[place(t)], what: e.GetMessage()}
	var (
		unknown   *yaml.UnknownFieldError
		duplicate *yaml.DuplicateKeyError
		typed     *yaml.TypeError
		node      *yaml.UnexpectedNodeTypeError
		overflow  *yaml.OverflowError
	)
	switch {
	case errors.As(err, &unknown):
		out.what = "unknown key"
		if known := knownKeys(reflect.TypeOf(into), parent(out.key)); len(known) > 0 {
			out.fix = "known here: " + strings.Join(known, ", ")
		}
	case errors.As(err, &duplicate):
		out.what = "given twice"
	case errors.As(err, &typed):
		out.what = fmt.Sprintf("wants %s, got %s", typeName(typed.DstType), typeName(typed.SrcType))
	case errors.As(err, &node):
		out.what = fmt.Sprintf("wants %s, got %s", nodeName(node.Expected), nodeName(node.Actual))
	case errors.As(err, &overflow):
		out.what = "number out of range"
	}
	return out
}

// badDuration finds a duration that is none: the library does not say where.
func (d *document) badDuration(into any) *configError {
	for key, text := range d.texts {
		if typeAt(reflect.TypeOf(into), key) != reflect.TypeFor[time.Duration]() {
			continue
		}
		if _, err := time.ParseDuration(text); err != nil {
			return d.at(key, fmt.Sprintf(`wants a duration such as "5s", got %q`, text), "")
		}
	}
	return nil
}

// typeAt is the type that a dotted path decodes into, nil if there is none.
func typeAt(t reflect.Type, path string) reflect.Type {
	for _, name := range strings.FieldsFunc(path, func(r rune) bool { return r == '.' }) {
		name, _, _ = strings.Cut(name, "[")
		f, ok := fieldOf(structOf(t), name)
		if !ok {
			return nil
		}
		t = f.Type
	}
	return t
}

// knownKeys lists the keys of the struct at a dotted path.
func knownKeys(t reflect.Type, path string) []string {
	t = structOf(typeAt(t, path))
	if t == nil {
		return nil
	}
	var keys []string
	for f := range fields(t) {
		keys = append(keys, keyOf(f))
	}
	slices.Sort(keys)
	return keys
}

// fieldOf finds the field that a key decodes into.
func fieldOf(t reflect.Type, key string) (reflect.StructField, bool) {
	if t != nil {
		for f := range fields(t) {
			if keyOf(f) == key {
				return f, true
			}
		}
	}
	return reflect.StructField{}, false
}

// structOf looks through pointers and slices; nil if there is no struct.
func structOf(t reflect.Type) reflect.Type {
	for t != nil && (t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice) {
		t = t.Elem()
	}
	if t == nil || t.Kind() != reflect.Struct {
		return nil
	}
	return t
}

// fields yields the fields of t that have a key.
func fields(t reflect.Type) func(yield func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for i := range t.NumField() {
			if f := t.Field(i); keyOf(f) != "" && !yield(f) {
				return
			}
		}
	}
}

// keyOf is a field's key in the file, empty if it has none.
func keyOf(f reflect.StructField) string {
	key, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	if key == "-" {
		return ""
	}
	return key
}

// typeName says a Go type in the words of someone who edits a file.
func typeName(t reflect.Type) string {
	switch {
	case t == nil:
		return "nothing"
	case t == reflect.TypeFor[time.Duration]():
		return `a duration such as "5s"`
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a text"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Map, reflect.Struct:
		return "a section"
	case reflect.Pointer:
		return typeName(t.Elem())
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number"
	default:
		return t.String()
	}
}

// nodeName says a YAML node in the same words.
func nodeName(n ast.NodeType) string {
	switch n {
	case ast.MappingType, ast.MappingValueType:
		return "a section"
	case ast.SequenceType:
		return "a list"
	case ast.StringType, ast.LiteralType:
		return "a text"
	case ast.IntegerType, ast.FloatType:
		return "a number"
	case ast.BoolType:
		return "true or false"
	case ast.NullType:
		return "nothing"
	default:
		return n.YAMLName()
	}
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
