package clientauth

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/tegata/tegata/issuer/client"
)

// errSealed means that a sealed secret does not open: it was sealed under
// another key file, or the row was changed.
var errSealed = errors.New("the key file does not open the client's secret: import the realm file again")

// Secrets seals the secrets of clients that sign with them (client_secret_jwt):
// of those a hash is not enough, the issuer must know them to verify. Every
// other client's secret is kept as a hash alone.
//
// A sealed secret is bound to its realm and client, so that a row moved to
// another place does not open.
type Secrets struct {
	aeads []cipher.AEAD // the first seals
	rand  io.Reader
}

// NewSecrets derives its keys from the issuer's sealing keys; it opens what was
// sealed under any of them, and seals under the first.
func NewSecrets(rand io.Reader, seals ...[]byte) (*Secrets, error) {
	s := &Secrets{rand: rand}
	for _, seal := range seals {
		key, err := hkdf.Key(sha256.New, seal, nil, "tegata client secrets", sha256.Size)
		if err != nil {
			return nil, err
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
	if len(s.aeads) == 0 {
		return nil, errors.New("clientauth: no key to seal secrets with")
	}
	return s, nil
}

// binding is the additional data; a realm's id has no NUL, nor has a client's.
func binding(c client.Client) []byte { return []byte(c.RealmID + "\x00" + c.ClientID) }

// Seal seals a secret for a client.
func (s *Secrets) Seal(c client.Client, secret string) ([]byte, error) {
	nonce := make([]byte, s.aeads[0].NonceSize())
	if _, err := io.ReadFull(s.rand, nonce); err != nil {
		return nil, fmt.Errorf("sealing a client's secret: %w", err)
	}
	return s.aeads[0].Seal(nonce, nonce, []byte(secret), binding(c)), nil
}

// Open returns the secret of a client, and whether it is sealed under the key
// that Seal uses.
func (s *Secrets) Open(c client.Client) (secret []byte, newest bool, err error) {
	for i, aead := range s.aeads {
		size := aead.NonceSize()
		if len(c.SecretSealed) < size {
			break
		}
		if secret, err := aead.Open(nil, c.SecretSealed[:size], c.SecretSealed[size:], binding(c)); err == nil {
			return secret, i == 0, nil
		}
	}
	return nil, false, errSealed
}
