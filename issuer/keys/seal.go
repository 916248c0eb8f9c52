package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"io"

	"github.com/tegata/tegata/internal/jose"
	"github.com/tegata/tegata/issuer/seal"
)

// Sizes of keys.
const (
	sealSize = seal.KeySize
	ownSize  = 64   // bytes, HS512 (RFC 7518 §3.2)
	rsaSize  = 2048 // bits (RFC 7518 §3.3)
)

// ErrSeal means that a key in the store does not open: it was sealed under
// another key file, or somebody changed the row.
var ErrSeal = errors.New("the key file does not open the keys in the store: restore the key file that this store was made with")

// sealer seals private keys, bound to realm, kid and algorithm.
type sealer struct{ box *seal.Box }

func newSealer(key []byte, others [][]byte, rand io.Reader) (*sealer, error) {
	box, err := seal.New(rand, append([][]byte{key}, others...)...)
	return &sealer{box}, err
}

// binding is where k belongs. None of its parts has a slash.
func binding(k Sealed) []byte { return []byte(k.RealmID + "/" + k.ID + "/" + string(k.Algorithm)) }

// seal returns k with private sealed in it.
func (s *sealer) seal(k Sealed, private []byte) (_ Sealed, err error) {
	if k.Private, err = s.box.Seal(private, binding(k)); err != nil {
		return Sealed{}, fmt.Errorf("sealing key: %w", err)
	}
	return k, nil
}

// open is the inverse of seal.
func (s *sealer) open(k Sealed) ([]byte, error) {
	private, _, err := s.openWith(k)
	return private, err
}

// openWith also says which of the sealing keys opened it.
func (s *sealer) openWith(k Sealed) (private []byte, by int, err error) {
	private, by, ok := s.box.Open(k.Private, binding(k))
	if !ok {
		return nil, 0, fmt.Errorf("opening key %s: %w", k.ID, ErrSeal)
	}
	return private, by, nil
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
