package verify

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"unicode/utf8"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/tegata/tegata/internal/jose"
)

// FuzzVerify: whatever comes in, only what the issuer signed comes out, and
// the second look agrees with the first.
func FuzzVerify(f *testing.F) {
	w := newWorld(f, "k1", "k2")
	v := w.verifier(f, nil)
	good := w.token(f, nil)
	f.Add(good)
	for _, h := range w.hostile(f) {
		f.Add(h.token)
	}
	f.Fuzz(func(t *testing.T, compact string) {
		token, err := v.Verify(t.Context(), compact)
		if err == nil && compact != good {
			t.Fatalf("accepted: %+v", token.Revocation)
		}
		again, err2 := v.Verify(t.Context(), compact)
		if again != token || (err == nil) != (err2 == nil) {
			t.Errorf("got %v, %v, then %v, %v", token, err, again, err2)
		}
	})
}

// FuzzClaims: a payload that is accepted is one that encoding/json reads alike,
// and what was read of it is what it says.
func FuzzClaims(f *testing.F) {
	i := &issuer{trust: must(Issuer{Issuer: home, Audience: []string{audience}}.withDefaults())(f)}
	for _, changes := range []map[string]any{
		nil,
		{"aud": []string{"x", audience}},
		{"scope": []string{"a", "b"}},
		{"scope": "\t"},
		{"exp": 1e10},
		{"rev": nil},
		{"x": map[string]any{"y": []any{nil, true, 1.5, "\u00e9"}}},
		{"nbf": 0, "iat": 0},
		{"typ": "ID"},
		{"sub": ""},
		{"iss": "https://evil.example"},
	} {
		f.Add(must(json.Marshal(with(changes)))(f))
	}
	f.Add([]byte(`{"iss":"` + home + `","aud":"` + audience + `","sub":"s","exp":1,"exp":2}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		u, err := takeApart(unsigned(string(payload)), readsOf([]Issuer{i.trust}))
		if err != nil {
			return
		}
		token, size, err := i.read(jose.Header{KeyID: "k1"}, u)
		whole := must(takeApart(unsigned(string(payload)), nil))(t)
		sameToken, sameSize, sameErr := i.read(jose.Header{KeyID: "k1"}, whole)
		if fmt.Sprint(err) != fmt.Sprint(sameErr) || size != sameSize || err == nil && !reflect.DeepEqual(token, sameToken) {
			t.Errorf("of the claims that are looked at: %+v, %d, %v; of all: %+v, %d, %v", token, size, err, sameToken, sameSize, sameErr)
		}
		if err != nil {
			return
		}
		plain := decode(t, payload)
		r := token.Revocation
		for name, got := range map[string]string{"iss": r.Issuer, "sub": r.Subject, "jti": r.ID, "sid": r.Session} {
			if want, _ := plain[name].(string); got != want || !utf8.ValidString(got) {
				t.Errorf("%s: got %q, want %q", name, got, want)
			}
		}
		if aud, ok := plain["aud"].([]any); plain["aud"] != audience && (!ok || !slices.Contains(aud, any(audience))) {
			t.Errorf("accepted audience %v", plain["aud"])
		}
		if _, ok := plain["exp"]; !ok || r.Issuer != home || r.Subject == "" || size < len(r.Subject) {
			t.Errorf("accepted %v", plain)
		}
		want := must(ast.InterfaceToValue(plain))(t)
		if got := token.Document().Value.(ast.Object).Get(ast.StringTerm("claims")); got.Value.Compare(want) != 0 {
			t.Errorf("claims: got %v, want %v", got, want)
		}
	})
}

func decode(t *testing.T, payload []byte) map[string]any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(payload))
	d.UseNumber()
	var v map[string]any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("accepted what is no JSON: %v", err)
	}
	return v
}
