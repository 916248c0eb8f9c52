package keys

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/tegata/tegata/internal/jose"
)

// FuzzParseKeyFile: what is accepted is 32 bytes, and prints back to the same.
func FuzzParseKeyFile(f *testing.F) {
	for _, seed := range []string{
		"", "\n", strings.Repeat("0a", 32), strings.Repeat("A", 43), strings.Repeat("A", 43) + "=", strings.Repeat("_-", 21) + "8=",
		strings.Repeat("+/", 21) + "8", strings.Repeat("A", 20) + "\n" + strings.Repeat("A", 23), strings.Repeat("f", 63),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		key, err := parseKeyFile(text)
		if err != nil {
			return
		}
		if len(key) != sealSize {
			t.Fatalf("a key of %d bytes", len(key))
		}
		again, err := parseKeyFile(hex.EncodeToString(key))
		if err != nil || !bytes.Equal(again, key) {
			t.Fatalf("%x prints back as %x, %v", key, again, err)
		}
	})
}

// FuzzOpen: nothing but what was sealed opens, and whatever is in a row, it is
// refused with ErrSeal.
func FuzzOpen(f *testing.F) {
	// The same nonce in each of the fuzzer's processes: they share the seeds.
	s, err := newSealer(bytes.Repeat([]byte{1}, sealSize), nil, strings.NewReader("twelve bytes"))
	if err != nil {
		f.Fatal(err)
	}
	const secret = "private"
	k, err := s.seal(Sealed{ID: "k", RealmID: "r", Algorithm: jose.ES256}, []byte(secret))
	if err != nil {
		f.Fatal(err)
	}
	if s, err = newSealer(bytes.Repeat([]byte{1}, sealSize), nil, rand.Reader); err != nil {
		f.Fatal(err)
	}
	f.Add("r", "k", "ES256", k.Private)
	f.Add("r", "k", "ES256", k.Private[:12])
	f.Add("r/k", "", "ES256", k.Private)
	f.Add("", "", "", []byte(nil))
	f.Fuzz(func(t *testing.T, realmID, id, alg string, private []byte) {
		row := Sealed{ID: id, RealmID: realmID, Algorithm: jose.Algorithm(alg), Private: private}
		opened, err := s.open(row)
		unchanged := bytes.Equal(private, k.Private) && bytes.Equal(binding(row), binding(k))
		switch {
		case unchanged && (err != nil || string(opened) != secret):
			t.Errorf("what was sealed does not open: %v", err)
		case !unchanged && !errors.Is(err, ErrSeal):
			t.Errorf("%+v opens: %v", row, err)
		}
		again, err := s.seal(row, private)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := s.open(again); err != nil || !bytes.Equal(got, private) {
			t.Errorf("sealed and opened: %x, %v", got, err)
		}
	})
}
