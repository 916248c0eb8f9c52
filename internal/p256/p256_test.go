package p256

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"math/big"
	"testing"

	"filippo.io/nistec"
)

func newKey(t testing.TB) (*ecdsa.PrivateKey, *Key) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	k, err := New(&private.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return private, k
}

func sign(t testing.TB, private *ecdsa.PrivateKey, hash []byte) (r, s *big.Int) {
	t.Helper()
	r, s, err := ecdsa.Sign(rand.Reader, private, hash)
	if err != nil {
		t.Fatal(err)
	}
	return r, s
}

func plus(a *big.Int, b int64) *big.Int { return new(big.Int).Add(a, big.NewInt(b)) }

// TestAgreesWithTheStandardLibrary: whatever the signature, good or bent, the
// verdict is crypto/ecdsa's.
func TestAgreesWithTheStandardLibrary(t *testing.T) {
	t.Parallel()
	private, k := newKey(t)
	other, _ := newKey(t)
	zero, all := make([]byte, size), make([]byte, size)
	for i := range all {
		all[i] = 0xff // above the order
	}
	hashes := [][]byte{zero, all, order.Bytes(), plus(order, -1).Bytes()}
	for range 200 {
		sum := sha256.Sum256([]byte(rand.Text()))
		hashes = append(hashes, sum[:])
	}
	good := 0
	for _, hash := range hashes {
		r, s := sign(t, private, hash)
		r2, s2 := sign(t, other, hash)
		half := new(big.Int).Sub(order, s) // of the same signature, the other s that is right
		for _, rs := range [][2]*big.Int{
			{r, s},
			{r, half},
			{r2, s2},
			{s, r},
			{plus(r, 1), s},
			{r, plus(s, -1)},
			{new(big.Int), s},
			{r, new(big.Int)},
			{new(big.Int).Neg(r), s},
			{new(big.Int).Add(r, order), s},
			{r, new(big.Int).Add(s, order)},
			{order, s},
			{r, order},
			{big.NewInt(1), big.NewInt(1)},
			{plus(order, -1), plus(order, -1)},
		} {
			want := ecdsa.Verify(&private.PublicKey, hash, rs[0], rs[1])
			if got := k.Verify(hash, rs[0], rs[1]); got != want {
				t.Fatalf("hash %x, r %x, s %x: got %v, want %v", hash, rs[0], rs[1], got, want)
			}
			if want {
				good++
			}
		}
	}
	if good < 2*len(hashes) {
		t.Errorf("%d good signatures, want two of each hash", good)
	}
}

// TestSumsThatMeet: the sum of two equal points, and of opposite ones, which a
// careless addition gets wrong. With the generator as the key, and hash = ±r,
// both halves of the sum are the same but for the sign.
func TestSumsThatMeet(t *testing.T) {
	t.Parallel()
	generator := nistec.NewP256Point().SetGenerator()
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), generator.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	k, err := New(public)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []*big.Int{big.NewInt(1), big.NewInt(2), big.NewInt(256), elliptic.P256().Params().Gx, plus(order, -1), plus(order, -256)} {
		for _, hash := range []*big.Int{r, new(big.Int).Sub(order, r), new(big.Int)} {
			for _, s := range []*big.Int{big.NewInt(1), big.NewInt(2), r, new(big.Int).Sub(order, r)} {
				h := hash.FillBytes(make([]byte, size))
				if got, want := k.Verify(h, r, s), ecdsa.Verify(public, h, r, s); got != want {
					t.Errorf("hash %x, r %x, s %x: got %v, want %v", h, r, s, got, want)
				}
			}
		}
	}
	// The order being prime, 1·G + 1·G has the x of 2·G: a good signature by
	// the key 1.
	x, err := generator.Double(generator).BytesX()
	if err != nil {
		t.Fatal(err)
	}
	r := new(big.Int).SetBytes(x)
	r.Mod(r, order)
	if !k.Verify(r.FillBytes(make([]byte, size)), r, r) {
		t.Error("G + G is not 2G")
	}
}

func TestOnlyP256(t *testing.T) {
	t.Parallel()
	private, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(&private.PublicKey); err == nil {
		t.Error("a P-384 key: no error")
	}
	_, k := newKey(t)
	if k.Verify(make([]byte, 48), big.NewInt(1), big.NewInt(1)) {
		t.Error("a hash of 48 bytes passes")
	}
}

func FuzzVerify(f *testing.F) {
	private, k := newKey(f)
	hash := sha256.Sum256([]byte("seed"))
	r, s := sign(f, private, hash[:])
	f.Add(hash[:], r.Bytes(), s.Bytes())
	f.Fuzz(func(t *testing.T, hash, rb, sb []byte) {
		if len(hash) != size {
			t.Skip()
		}
		r, s := new(big.Int).SetBytes(rb), new(big.Int).SetBytes(sb)
		if got, want := k.Verify(hash, r, s), ecdsa.Verify(&private.PublicKey, hash, r, s); got != want {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

// BenchmarkVerify compares a check with the standard library's.
func BenchmarkVerify(b *testing.B) {
	private, k := newKey(b)
	hash := sha256.Sum256([]byte("text"))
	r, s := sign(b, private, hash[:])
	b.Run("Key", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			k.Verify(hash[:], r, s)
		}
	})
	b.Run("crypto/ecdsa", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			ecdsa.Verify(&private.PublicKey, hash[:], r, s)
		}
	})
}

func BenchmarkNew(b *testing.B) {
	private, _ := newKey(b)
	for b.Loop() {
		_, _ = New(&private.PublicKey)
	}
}
