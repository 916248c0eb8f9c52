package reads

import (
	"encoding/binary"

	"github.com/open-policy-agent/opa/v1/ast"
)

// AppendKey appends an injective encoding of the values at r.Paths of input to
// dst: two inputs get the same bytes only if every path holds the same value,
// undefined counting as a value of its own. ok is false if a value cannot be
// encoded; there is no key then.
func (r Reads) AppendKey(dst []byte, input ast.Value) (key []byte, ok bool) {
	for _, p := range r.Paths {
		v, err := input.Find(p.Ref())
		if err != nil {
			dst = AppendUndefined(dst)
			continue
		}
		if dst, ok = AppendValue(dst, v); !ok {
			return dst, false
		}
	}
	return dst, true
}

// The first byte of an encoded value says its type; what varies in length is
// preceded by its length.
const (
	tagUndefined = 'u'
	tagNull      = 'n'
	tagFalse     = 'f'
	tagTrue      = 't'
	tagNumber    = '#'
	tagString    = 's'
	tagArray     = 'a'
	tagObject    = 'o'
	tagSet       = 'e'
)

// AppendUndefined appends the encoding of "no value at this path".
func AppendUndefined(dst []byte) []byte { return append(dst, tagUndefined) }

// AppendString appends the encoding of a string value.
func AppendString[S ~string](dst []byte, s S) []byte {
	return append(appendLen(dst, tagString, len(s)), s...)
}

// AppendBool appends the encoding of a boolean value.
func AppendBool(dst []byte, b bool) []byte {
	if b {
		return append(dst, tagTrue)
	}
	return append(dst, tagFalse)
}

// AppendValue appends the encoding of v, a ground JSON-like value. Numbers are
// told apart by their text: 1 and 1.0 get two keys, which costs a miss and
// never a wrong hit.
func AppendValue(dst []byte, v ast.Value) (key []byte, ok bool) {
	switch v := v.(type) {
	case ast.Null:
		return append(dst, tagNull), true
	case ast.Boolean:
		return AppendBool(dst, bool(v)), true
	case ast.Number:
		return append(appendLen(dst, tagNumber, len(v)), v...), true
	case ast.String:
		return AppendString(dst, v), true
	case *ast.Array:
		return appendTerms(appendLen(dst, tagArray, v.Len()), v.Iter)
	case ast.Set:
		return appendTerms(appendLen(dst, tagSet, v.Len()), v.Iter)
	case ast.Object:
		dst = appendLen(dst, tagObject, v.Len())
		ok = true
		v.Foreach(func(key, value *ast.Term) {
			for _, t := range [2]*ast.Term{key, value} {
				if ok {
					dst, ok = AppendValue(dst, t.Value)
				}
			}
		})
		return dst, ok
	default:
		return dst, false
	}
}

func appendTerms(dst []byte, each func(func(*ast.Term) error) error) (key []byte, ok bool) {
	ok = true
	_ = each(func(t *ast.Term) error {
		if ok {
			dst, ok = AppendValue(dst, t.Value)
		}
		return nil
	})
	return dst, ok
}

func appendLen(dst []byte, tag byte, n int) []byte {
	return binary.AppendUvarint(append(dst, tag), uint64(n))
}
