package jose

import (
	"strings"
	"testing"
)

// FuzzMalleability: a token that is accepted has one spelling.
func FuzzMalleability(f *testing.F) {
	s := newSigner(f, "k", EdDSA)
	token := sign(f, s, "JWT", `{"sub":"a"}`)
	f.Add(token)
	f.Add(token + "=")
	f.Add(token + ".")
	f.Add("..")
	f.Add(strings.Replace(token, ".", "\n.", 1))
	f.Fuzz(func(t *testing.T, token string) {
		c, err := parse(token)
		if err != nil {
			return
		}
		header, _, _ := strings.Cut(token, ".")
		raw, err := encoding.DecodeString(header)
		if err != nil {
			t.Fatal(err)
		}
		again := encoding.EncodeToString(raw) + "." + encoding.EncodeToString(c.payload) + "." + encoding.EncodeToString(c.signature)
		if again != token {
			t.Fatalf("%q is another spelling of %q", token, again)
		}
		if h, err := ParseHeader(token); err != nil || h != c.header {
			t.Fatalf("ParseHeader = %+v, %v; want %+v", h, err, c.header)
		}
	})
}

// FuzzVerify: only what was signed verifies.
func FuzzVerify(f *testing.F) {
	ec, ed := newSigner(f, "ec", ES256), newSigner(f, "ed", EdDSA)
	set := newSet(f, public(ec), public(ed))
	good := map[string]bool{sign(f, ec, "JWT", `{"sub":"a"}`): true, sign(f, ed, "JWT", `{"sub":"a"}`): true}
	for token := range good {
		f.Add(token)
		f.Add(token[:len(token)-2])
	}
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Fuzz(func(t *testing.T, token string) {
		_, payload, err := set.Verify(token, Accept{Algorithms: []Algorithm{ES256, EdDSA}, Types: []string{"", "JWT"}})
		if (err == nil) != (payload != nil) {
			t.Fatalf("payload %q with error %v", payload, err)
		}
		if err == nil && !good[token] {
			t.Fatalf("accepted %q", token)
		}
	})
}

// FuzzParseKeySet: a set that is accepted holds only usable keys, and reads
// the same when it is written again.
func FuzzParseKeySet(f *testing.F) {
	for _, alg := range []Algorithm{ES256, ES384, ES512, RS256, EdDSA} {
		data, err := newSet(f, public(newSigner(f, "k", alg))).MarshalJSON()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"keys":[{"kty":"oct","k":"AA"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-256","x":"","y":""}]}`))
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"","e":""},{"kty":"OKP","crv":"Ed25519","x":""}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		set, err := ParseKeySet(data)
		if err != nil {
			return
		}
		for _, k := range set.Keys() {
			if len(k.algorithms()) == 0 || !set.Has(k.ID) {
				t.Fatalf("unusable key %+v", k)
			}
		}
		written, err := set.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseKeySet(written)
		if err != nil || len(again.Keys()) != len(set.Keys()) {
			t.Fatalf("written again: %v", err)
		}
	})
}
