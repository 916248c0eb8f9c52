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
// Nonces are random: a store would need 2^32 keys before that is too few. It
// opens what any of its keys has sealed, and seals with the first.
type sealer struct {
	aeads []cipher.AEAD
	rand  io.Reader
}

func newSealer(key []byte, others [][]byte, rand io.Reader) (*sealer, error) {
	s := &sealer{rand: rand}
	for _, key := range append([][]byte{key}, others...) {
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
		s.aeads = append(s.aeads, aead)
	}
	return s, nil
}

// binding is the additional data of k. None of its parts has a slash.
func binding(k Sealed) []byte { return []byte(k.RealmID + "/" + k.ID + "/" + string(k.Algorithm)) }

// seal returns k with private sealed in it.
func (s *sealer) seal(k Sealed, private []byte) (Sealed, error) {
	aead := s.aeads[0]
	nonce := make([]byte, aead.NonceSize())
	if _, err := io.ReadFull(s.rand, nonce); err != nil {
		return Sealed{}, fmt.Errorf("sealing key: %w", err)
	}
	k.Private = aead.Seal(nonce, nonce, private, binding(k))
	return k, nil
}

// open is the inverse of seal.
func (s *sealer) open(k Sealed) ([]byte, error) {
	private, _, err := s.openWith(k)
	return private, err
}

// openWith also says which of the sealing keys opened it.
func (s *sealer) openWith(k Sealed) (private []byte, by int, err error) {
	for by, aead := range s.aeads {
		n := aead.NonceSize()
		if len(k.Private) < n {
			break
		}
		if private, err := aead.Open(nil, k.Private[:n], k.Private[n:], binding(k)); err == nil {
			return private, by, nil
		}
	}
	return nil, 0, fmt.Errorf("opening key %s: %w", k.ID, ErrSeal)
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
	return nil, jose.CheckSigning(alg)
}
