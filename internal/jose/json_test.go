package jose

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func nested(n int) string {
	return strings.Repeat(`{"a":`, n-1) + "{}" + strings.Repeat("}", n-1)
}

func TestReadObject(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, data string
		want       map[string]any // nil: malformed
	}{
		{"empty", `{}`, map[string]any{}},
		{"white space", " \t\r\n{ \"a\" : [ 1 , 2 ] , \"b\" : null } ", map[string]any{"a": []any{json.Number("1"), json.Number("2")}, "b": nil}},
		{"numbers", `{"a":-0,"b":1.50,"c":1E+9,"d":9007199254740993}`, map[string]any{"a": json.Number("-0"), "b": json.Number("1.50"), "c": json.Number("1E+9"), "d": json.Number("9007199254740993")}},
		{"strings", `{"a":"\"\\\/\b\f\n\r\té\u00e9\ud83d\ude00é"}`, map[string]any{"a": "\"\\/\b\f\n\r\té\u00e9\U0001F600é"}},
		{"booleans", `{"a":true,"b":false}`, map[string]any{"a": true, "b": false}},
		{"nested", `{"a":{"b":{"c":[]}}}`, map[string]any{"a": map[string]any{"b": map[string]any{"c": []any{}}}}},
		{"same name at two depths", `{"a":{"a":1}}`, map[string]any{"a": map[string]any{"a": json.Number("1")}}},
		{"names differ in case", `{"a":1,"A":2}`, map[string]any{"a": json.Number("1"), "A": json.Number("2")}},
		{"nothing", ``, nil},
		{"not an object", `[1]`, nil},
		{"null", `null`, nil},
		{"trailing data", `{} {}`, nil},
		{"trailing NUL", "{}\x00", nil},
		{"byte order mark", "\ufeff{}", nil},
		{"duplicate", `{"a":1,"a":1}`, nil},
		{"duplicate, escaped", `{"a":1,"\u0061":1}`, nil},
		{"duplicate, deep", `{"x":[{"a":1,"a":2}]}`, nil},
		{"duplicate, ninth and tenth", `{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1,"i":1}`, nil},
		{"duplicate, first and tenth", `{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1,"a":1}`, nil},
		{"trailing comma", `{"a":1,}`, nil},
		{"leading comma", `{,"a":1}`, nil},
		{"trailing comma in array", `{"a":[1,]}`, nil},
		{"no colon", `{"a" 1}`, nil},
		{"name not a string", `{a:1}`, nil},
		{"comment", `{"a":1/**/}`, nil},
		{"leading zero", `{"a":01}`, nil},
		{"leading plus", `{"a":+1}`, nil},
		{"bare point", `{"a":1.}`, nil},
		{"bare exponent", `{"a":1e}`, nil},
		{"bare minus", `{"a":-}`, nil},
		{"NaN", `{"a":NaN}`, nil},
		{"half a literal", `{"a":tru`, nil},
		{"single quotes", `{'a':1}`, nil},
		{"control character", "{\"a\":\"\n\"}", nil},
		{"bad escape", `{"a":"\x41"}`, nil},
		{"short escape", `{"a":"\u00e"}`, nil},
		{"signed escape", `{"a":"\u+0e9"}`, nil},
		{"high surrogate alone", `{"a":"\ud83d"}`, nil},
		{"high surrogate, then text", `{"a":"\ud83dx12345"}`, nil},
		{"low surrogate alone", `{"a":"\ude00"}`, nil},
		{"surrogates reversed", `{"a":"\ude00\ud83d"}`, nil},
		{"invalid UTF-8", "{\"a\":\"\xff\"}", nil},
		{"invalid UTF-8 in a name", "{\"\xc3\x28\":1}", nil},
		{"overlong UTF-8", "{\"a\":\"\xc0\xaf\"}", nil},
		{"surrogate in UTF-8", "{\"a\":\"\xed\xa0\x80\"}", nil},
		{"no end", `{"a":"b`, nil},
		{"no end after escape", `{"a":"\`, nil},
		{"too deep", nested(maxDepth + 1), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := ReadObject([]byte(tt.data))
			if tt.want == nil {
				if !errors.Is(err, ErrMalformed) {
					t.Errorf("ReadObject = %v, %v", got, err)
				}
				return
			}
			if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
	if _, err := ReadObject([]byte(nested(maxDepth))); err != nil {
		t.Errorf("depth %d: %v", maxDepth, err)
	}
}

func TestReadClaimsMatchesNamesExactly(t *testing.T) {
	t.Parallel()
	type inner struct {
		Name string `json:"name"`
	}
	type embedded struct {
		Scope string `json:"scope"`
	}
	type claims struct {
		Subject string `json:"sub"`
		Expires int64  `json:"exp,omitempty"`
		Plain   bool
		Hidden  string `json:"-"`
		Inner   inner  `json:"inner"`
		List    []string
		Raw     json.RawMessage `json:"raw"`
		Pointer *string         `json:"pointer"`
		embedded
	}
	var got claims
	data := `{"SUB":"evil","sub":"a\u0062","Sub":"evil","exp":7,"Plain":true,"Hidden":"x","-":"x","scope":"s",
		"inner":{"NAME":"evil","name":"n"},"List":["x"],"raw":{"q":1},"pointer":null,"unknown":{"a":[1]}}`
	if err := ReadClaims([]byte(data), &got); err != nil {
		t.Fatal(err)
	}
	want := claims{Subject: "ab", Expires: 7, Plain: true, Inner: inner{"n"}, List: []string{"x"}, Raw: json.RawMessage(`{"q":1}`), embedded: embedded{"s"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestReadClaimsRefuses(t *testing.T) {
	t.Parallel()
	type claims struct {
		Subject string `json:"sub"`
		Expires int64  `json:"exp"`
	}
	for _, data := range []string{``, `[]`, `{"sub":1}`, `{"exp":"1"}`, `{"exp":1.5}`, `{"exp":1e30}`, `{"sub":"a","sub":"a"}`, `{"x":{"a":1,"a":1}}`, `{"sub":"a"}x`} {
		if err := ReadClaims([]byte(data), new(claims)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", data, err)
		}
	}
	for _, into := range []any{nil, claims{}, new(map[string]any), (*claims)(nil)} {
		if err := ReadClaims([]byte(`{}`), into); err == nil || errors.Is(err, ErrMalformed) {
			t.Errorf("into %T: %v", into, err)
		}
	}
}

// FuzzReadObject: what is accepted reads the same with encoding/json and
// survives being written again; ReadClaims accepts the same.
func FuzzReadObject(f *testing.F) {
	for _, s := range []string{
		`{}`, `{"a":1,"b":[true,null,{"c":"\ud83d\ude00"}]}`, `{"a":1,"a":2}`, `{"a":"\ud800"}`, "{\"a\":\"\xff\"}",
		`{"a":-0.1e-5}`, `{"a":01}`, ` { "a" : [ ] } `, `{"a":1}{}`, nested(maxDepth), nested(maxDepth + 1),
		`{"exp":1795411609,"iat":1795411309,"jti":"onrtac:7d068d66","aud":["a","b"],"realm_access":{"roles":["x"]}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := ReadObject(data)
		if errClaims := ReadClaims(data, &struct{}{}); (errClaims == nil) != (err == nil) {
			t.Fatalf("ReadObject says %v, ReadClaims %v", err, errClaims)
		}
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("error of another kind: %v", err)
			}
			return
		}
		d := json.NewDecoder(bytes.NewReader(data))
		d.UseNumber()
		var want map[string]any
		if err := d.Decode(&want); err != nil {
			t.Fatalf("encoding/json refuses what is accepted: %v", err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("got %#v, encoding/json %#v", got, want)
		}
		written, err := json.Marshal(got)
		if err != nil {
			t.Fatalf("writing it again: %v", err)
		}
		if again, err := ReadObject(written); err != nil || !reflect.DeepEqual(again, got) {
			t.Fatalf("written again: %v, %#v, want %#v", err, again, got)
		}
	})
}
