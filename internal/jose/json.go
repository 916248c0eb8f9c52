package jose

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
)

// ReadObject strictly decodes a JSON object: no duplicate members at any
// depth, no invalid UTF-8 (nor escapes of half a surrogate pair), no trailing
// data, depth at most 16. Numbers are json.Number. Every error is ErrMalformed.
func ReadObject(data []byte) (map[string]any, error) {
	members, _, err := ReadMembers(string(data), nil)
	return members, err
}

// ReadMembers is ReadObject for some members of the outermost object, or for
// all if wanted is nil. The others are held to the same rules, and left out.
// What it returns shares data's memory; the Shape is that of the whole text.
func ReadMembers(data string, wanted map[string]bool) (map[string]any, Shape, error) {
	s := scanner{data: data, build: true, wanted: wanted}
	v, err := s.document(nil)
	if err != nil {
		return nil, Shape{}, err
	}
	return v.(map[string]any), s.shape, nil
}

// ReadClaims is ReadObject into a pointer to a struct, ignoring unknown
// members. Unlike encoding/json it matches member names exactly, here and in
// nested structs: a claim "SUB" is not "sub".
func ReadClaims(data []byte, into any) error {
	v := reflect.ValueOf(into)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		return fmt.Errorf("reading claims: %T is not a pointer to a struct", into)
	}
	return readStruct(string(data), v.Elem())
}

// readStruct validates data once and hands each wanted member to encoding/json.
func readStruct(data string, v reflect.Value) error {
	s := scanner{data: data}
	var members []member
	if _, err := s.document(func(m member) { members = append(members, m) }); err != nil {
		return err
	}
	return fill(members, v)
}

// member is one member of the outermost object; raw points into the document.
type member struct {
	name string
	raw  string
}

func fill(members []member, v reflect.Value) error {
	t := v.Type()
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous && f.Type.Kind() == reflect.Struct && f.Tag.Get("json") == "" {
			if err := fill(members, v.Field(i)); err != nil {
				return err
			}
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || name == "-" {
			continue
		}
		if name == "" {
			name = f.Name
		}
		if err := fillField(members, name, v.Field(i)); err != nil {
			return err
		}
	}
	return nil
}

func fillField(members []member, name string, v reflect.Value) error {
	for _, m := range members {
		if m.name != name {
			continue
		}
		if s, ok := v.Addr().Interface().(*string); ok && plainString(m.raw) {
			*s = strings.Clone(m.raw[1 : len(m.raw)-1]) // not the whole text with it
			return nil
		}
		_, custom := v.Addr().Interface().(json.Unmarshaler)
		if v.Kind() == reflect.Struct && !custom && m.raw != "null" {
			return readStruct(m.raw, v)
		}
		if err := json.Unmarshal([]byte(m.raw), v.Addr().Interface()); err != nil {
			return malformed("member of the wrong type")
		}
		return nil
	}
	return nil
}

// plainString reports whether a validated value is a string without escapes,
// which then needs no decoding.
func plainString(raw string) bool {
	return raw[0] == '"' && strings.IndexByte(raw, '\\') < 0
}
