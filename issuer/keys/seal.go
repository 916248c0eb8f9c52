package keys

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"io"

	"github.com/tegata/tegata/internal/jose"
)

// Sizes of keys.
const (
	sealSize = 32   // bytes, AES-256
	ownSize  = 64   // bytes, HS512 (RFC 7518 §3.2)
	rsaSize  = 2048 // bits (RFC 7518 §3.3)
)

// ErrSeal means that a key in the store does not open: it was sealed under
// another key file, or somebody changed the row.
var ErrSeal = errors.New("the key file does not open the keys in the store: restore the key file that this store was made with")

// sealer seals private keys with AES-256-GCM, bound to realm, kid and
// algorithm, so that a row moved to another place in the store does not open.
// Nonces are random: a store would need 2^32 keys before that is too few.
type sealer struct {
	aead cipher.AEAD
	rand io.Reader
}

func newSealer(key []byte, rand io.Reader) (*sealer, error) {
	if len(key) != sealSize {
		return nil, fmt.Errorf("the sealing key has %d bytes, want %d", len(key), sealSize)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	return &sealer{aead: aead, rand: rand}, nil
}

// binding is the additional data of k. None of its parts has a slash.
func binding(k Sealed) []byte { return []byte(k.RealmID + "/" + k.ID + "/" + string(k.Algorithm)) }

// seal returns k with private sealed in it.
func (s *sealer) seal(k Sealed, private []byte) (Sealed, error) {
	nonce := make([]byte, s.aead.NonceSize())
	if _, err := io.ReadFull(s.rand, nonce); err != nil {
		return Sealed{}, fmt.Errorf("sealing key: %w", err)
	}
	k.Private = s.aead.Seal(nonce, nonce, private, binding(k))
	return k, nil
}

// open is the inverse of seal.
func (s *sealer) open(k Sealed) ([]byte, error) {
	n := s.aead.NonceSize()
	if len(k.Private) < n {
		return nil, fmt.Errorf("opening key %s: %w", k.ID, ErrSeal)
	}
	private, err := s.aead.Open(nil, k.Private[:n], k.Private[n:], binding(k))
	if err != nil {
		return nil, fmt.Errorf("opening key %s: %w", k.ID, ErrSeal)
	}
	return private, nil
}

// check reports whether every key that is in use opens, so that no key is
// ever added under a second key file.
func (s *sealer) check(all []Sealed) error {
	for _, k := range all {
		if k.Status == Retired {
			continue
		}
		if _, err := s.open(k); err != nil {
			return err
		}
	}
	return nil
}

// openSigner opens a key that signs for others.
func (s *sealer) openSigner(k Sealed) (jose.Signer, error) {
	der, err := s.open(k)
	if err != nil {
		return jose.Signer{}, err
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return jose.Signer{}, fmt.Errorf("opening key %s: %w", k.ID, err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return jose.Signer{}, fmt.Errorf("opening key %s: %T does not sign", k.ID, key)
	}
	return jose.Signer{ID: k.ID, Algorithm: k.Algorithm, Key: signer}, nil
}

// generate makes a private key: PKCS #8, or raw bytes for HS512.
func generate(alg jose.Algorithm, rand io.Reader) ([]byte, error) {
	if alg == jose.HS512 {
		raw := make([]byte, ownSize)
		_, err := io.ReadFull(rand, raw)
		return raw, err
	}
	key, err := generateSigner(alg, rand)
	if err != nil {
		return nil, err
	}
	return x509.MarshalPKCS8PrivateKey(key)
}

func generateSigner(alg jose.Algorithm, rand io.Reader) (crypto.Signer, error) {
	switch alg {
	case jose.ES256:
		return ecdsa.GenerateKey(elliptic.P256(), rand)
	case jose.ES384:
		return ecdsa.GenerateKey(elliptic.P384(), rand)
	case jose.ES512:
		return ecdsa.GenerateKey(elliptic.P521(), rand)
	case jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512:
		return rsa.GenerateKey(rand, rsaSize)
	case jose.EdDSA:
		_, key, err := ed25519.GenerateKey(rand)
		return key, err
	}
	return nil, fmt.Errorf("%q is not an algorithm to sign with: want ES256, RS256 or PS256 (or 384, 512), or EdDSA", alg)
}
