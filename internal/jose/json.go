package jose

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
)

// ReadObject strictly decodes a JSON object: no duplicate members at any
// depth, no invalid UTF-8 (nor escapes of half a surrogate pair), no trailing
// data, depth at most 16. Numbers are json.Number. Every error is ErrMalformed.
func ReadObject(data []byte) (map[string]any, error) {
	s := scanner{data: data, build: true}
	v, err := s.document(nil)
	if err != nil {
		return nil, err
	}
	return v.(map[string]any), nil
}

// ReadClaims is ReadObject into a pointer to a struct, ignoring unknown
// members. Unlike encoding/json it matches member names exactly, here and in
// nested structs: a claim "SUB" is not "sub".
func ReadClaims(data []byte, into any) error {
	v := reflect.ValueOf(into)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		return fmt.Errorf("reading claims: %T is not a pointer to a struct", into)
	}
	return readStruct(data, v.Elem())
}

// readStruct validates data once and hands each wanted member to encoding/json.
func readStruct(data []byte, v reflect.Value) error {
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
	raw  []byte
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
			*s = string(m.raw[1 : len(m.raw)-1])
			return nil
		}
		_, custom := v.Addr().Interface().(json.Unmarshaler)
		if v.Kind() == reflect.Struct && !custom && string(m.raw) != "null" {
			return readStruct(m.raw, v)
		}
		if err := json.Unmarshal(m.raw, v.Addr().Interface()); err != nil {
			return malformed("member of the wrong type")
		}
		return nil
	}
	return nil
}

// plainString reports whether a validated value is a string without escapes,
// which then needs no decoding.
func plainString(raw []byte) bool {
	return raw[0] == '"' && bytes.IndexByte(raw, '\\') < 0
}
