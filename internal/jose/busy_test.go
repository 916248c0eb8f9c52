package jose

import (
	"errors"
	"strings"
	"testing"
)

// TestABusyKey judges as it did before it was made ready.
func TestABusyKey(t *testing.T) {
	t.Parallel()
	s, other := newSigner(t, "k1", ES256), newSigner(t, "k1", ES256)
	set := newSet(t, public(s)).ForMany()
	accept := Accept{Algorithms: []Algorithm{ES256}, Types: []string{"JWT"}}
	good, strange := sign(t, s, "JWT", `{"sub":"alice"}`), sign(t, other, "JWT", `{"sub":"alice"}`)
	mallory := strings.Split(sign(t, s, "JWT", `{"sub":"mallory"}`), ".")
	changed := strings.Join(append(strings.Split(good, ".")[:2], mallory[2]), ".")
	for i := range 3 * busyAfter {
		if _, _, err := set.Verify(good, accept); err != nil {
			t.Fatalf("check %d: %v", i, err)
		}
		for _, bad := range []string{strange, changed} {
			if _, _, err := set.Verify(bad, accept); !errors.Is(err, ErrSignature) {
				t.Fatalf("check %d of a bad one: %v", i, err)
			}
		}
		if ready := readyKeys(set) == 1; ready != (i+1 >= busyAfter) {
			t.Fatalf("after %d checks ready is %v", i+1, ready)
		}
	}
}

// TestFewKeysAreMadeReady: an issuer with many keys cannot take memory without end.
func TestFewKeysAreMadeReady(t *testing.T) {
	t.Parallel()
	accept := Accept{Algorithms: []Algorithm{ES256}, Types: []string{"JWT"}}
	var keys []PublicKey
	var tokens []string
	for i := range maxReady + 3 {
		s := newSigner(t, string(rune('a'+i)), ES256)
		keys, tokens = append(keys, public(s)), append(tokens, sign(t, s, "JWT", `{}`))
	}
	set := newSet(t, keys...).ForMany()
	for range 2 * busyAfter {
		for _, token := range tokens {
			if _, _, err := set.Verify(token, accept); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := readyKeys(set); n != maxReady {
		t.Errorf("%d keys are ready, want %d", n, maxReady)
	}
}

func readyKeys(s *KeySet) int {
	n := 0
	for _, b := range s.busy {
		if b.ready.Load() != nil {
			n++
		}
	}
	return n
}
