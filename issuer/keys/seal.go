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
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/tegata/tegata/internal/jose"
)

// sealSize is the size of the sealing key, in bytes: AES-256.
const sealSize = 32

// ErrSeal means that the key file does not open the keys in the store.
var ErrSeal = errors.New("the key file does not open this store's keys")

// sealer seals private keys with AES-256-GCM, bound to realm, kid and algorithm,
// so that a row moved to another place in the store does not open.
type sealer struct {
	aead cipher.AEAD
	rand io.Reader
}

func newSealer(key []byte, rand io.Reader) (*sealer, error) {
	if len(key) != sealSize {
		return nil, fmt.Errorf("keys: the sealing key has %d bytes, want %d", len(key), sealSize)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	return &sealer{aead: aead, rand: rand}, nil
}

func binding(k Sealed) []byte {
	return []byte(k.RealmID + "/" + k.ID + "/" + string(k.Algorithm))
}

func (s *sealer) close(k Sealed, private []byte) (Sealed, error) {
	nonce := make([]byte, s.aead.NonceSize())
	if _, err := io.ReadFull(s.rand, nonce); err != nil {
		return Sealed{}, fmt.Errorf("sealing a key: %w", err)
	}
	k.Private = s.aead.Seal(nonce, nonce, private, binding(k))
	return k, nil
}

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

func (s *sealer) openSigner(k Sealed) (crypto.Signer, error) {
	der, err := s.open(k)
	if err != nil {
		return nil, err
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("opening key %s: %w", k.ID, err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("opening key %s: %T does not sign", k.ID, key)
	}
	return signer, nil
}

// generate makes a private key: PKCS #8, or 64 raw bytes for HS512.
func generate(alg jose.Algorithm, rand io.Reader) ([]byte, error) {
	var key any
	var err error
	switch alg {
	case jose.HS512:
		raw := make([]byte, 64)
		_, err := io.ReadFull(rand, raw)
		return raw, err
	case jose.ES256:
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand)
	case jose.ES384:
		key, err = ecdsa.GenerateKey(elliptic.P384(), rand)
	case jose.ES512:
		key, err = ecdsa.GenerateKey(elliptic.P521(), rand)
	case jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512:
		key, err = rsa.GenerateKey(rand, 2048)
	case jose.EdDSA:
		_, key, err = ed25519.GenerateKey(rand)
	default:
		return nil, fmt.Errorf("%q is no signing algorithm; use ES256, RS256, EdDSA, …", alg)
	}
	if err != nil {
		return nil, err
	}
	return x509.MarshalPKCS8PrivateKey(key)
}

// ReadKeyFile reads the 32-byte (hex or base64) sealing key, or creates the
// file with mode 0600 if it does not exist. A file that others may read is
// refused.
func ReadKeyFile(path string, rand io.Reader) ([]byte, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return createKeyFile(path, rand)
	}
	if err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("key file %s has mode %04o, others may read it: chmod 600 %s", path, mode, path)
	}
	if info.Size() > 1024 {
		return nil, fmt.Errorf("key file %s is no key file: %d bytes", path, info.Size())
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	key, err := parseKey(string(content))
	if err != nil {
		return nil, fmt.Errorf("key file %s: %w", path, err)
	}
	return key, nil
}

func parseKey(text string) ([]byte, error) {
	text = strings.TrimSpace(text)
	for _, decode := range []func(string) ([]byte, error){
		hex.DecodeString, base64.StdEncoding.DecodeString, base64.RawStdEncoding.DecodeString, base64.RawURLEncoding.DecodeString,
	} {
		if key, err := decode(text); err == nil && len(key) == sealSize {
			return key, nil
		}
	}
	return nil, fmt.Errorf("want %d bytes as hex or base64, as of: openssl rand -hex %d", sealSize, sealSize)
}

// createKeyFile writes a new key in one step: another process sees the whole
// file or none, and the first of two wins.
func createKeyFile(path string, rand io.Reader) ([]byte, error) {
	key := make([]byte, sealSize)
	if _, err := io.ReadFull(rand, key); err != nil {
		return nil, fmt.Errorf("making a key file: %w", err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".key-*") // mode 0600
	if err != nil {
		return nil, fmt.Errorf("making a key file: %w", err)
	}
	defer func() { _ = os.Remove(tmp.Name()) }() // the link stays
	_, err = tmp.WriteString(hex.EncodeToString(key) + "\n")
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err != nil {
		return nil, fmt.Errorf("making a key file: %w", err)
	}
	err = os.Link(tmp.Name(), path)
	if errors.Is(err, fs.ErrExist) {
		return ReadKeyFile(path, rand)
	}
	if err != nil {
		return nil, fmt.Errorf("making a key file: %w", err)
	}
	return key, nil
}
