package seal

import (
	"bytes"
	"crypto/rand"
	"testing"
)

func TestOnlyItsKeyInItsPlaceOpens(t *testing.T) {
	t.Parallel()
	key := func(b byte) []byte { return bytes.Repeat([]byte{b}, KeySize) }
	box := func(keys ...[]byte) *Box {
		b, err := New(rand.Reader, keys...)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	sealed, err := box(key(1), key(2)).Seal([]byte("secret"), []byte("here"))
	if err != nil {
		t.Fatal(err)
	}
	changed := bytes.Clone(sealed)
	changed[len(changed)-1] ^= 1
	for _, tt := range []struct {
		name    string
		box     *Box
		sealed  []byte
		binding string
		by      int
		ok      bool
	}{
		{"its key", box(key(1)), sealed, "here", 0, true},
		{"its key is an older one", box(key(3), key(1)), sealed, "here", 1, true},
		{"another key", box(key(2)), sealed, "here", 0, false},
		{"another place", box(key(1)), sealed, "there", 0, false},
		{"changed", box(key(1)), changed, "here", 0, false},
		{"cut short", box(key(1)), sealed[:5], "here", 0, false},
		{"nothing", box(key(1)), nil, "here", 0, false},
	} {
		plain, by, ok := tt.box.Open(tt.sealed, []byte(tt.binding))
		if ok != tt.ok || by != tt.by || ok && string(plain) != "secret" {
			t.Errorf("%s: %q, %d, %v", tt.name, plain, by, ok)
		}
	}
	for _, keys := range [][][]byte{nil, {key(1)[1:]}, {key(1), nil}} {
		if _, err := New(rand.Reader, keys...); err == nil {
			t.Errorf("keys %v were taken", keys)
		}
	}
}
