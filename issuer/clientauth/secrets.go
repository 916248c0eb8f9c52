package clientauth

import (
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/tegata/tegata/issuer/client"
	"github.com/tegata/tegata/issuer/seal"
)

// errSealed means that a sealed secret does not open: it was sealed under
// another key file, or the row was changed.
var errSealed = errors.New("the key file does not open the client's secret: import the realm file again")

// Secrets seals the secrets of clients that sign with them (client_secret_jwt):
// of those a hash is not enough, the issuer must know them to verify. Every
// other client's secret is kept as a hash alone.
//
// A sealed secret is bound to its realm and client.
type Secrets struct{ box *seal.Box }

// NewSecrets derives its keys from the issuer's sealing keys; it opens what was
// sealed under any of them, and seals under the first.
func NewSecrets(rand io.Reader, seals ...[]byte) (*Secrets, error) {
	keys := make([][]byte, len(seals))
	for i := range seals {
		var err error
		if keys[i], err = hkdf.Key(sha256.New, seals[i], nil, "tegata client secrets", seal.KeySize); err != nil {
			return nil, err
		}
	}
	box, err := seal.New(rand, keys...)
	if err != nil {
		return nil, fmt.Errorf("clientauth: %w", err)
	}
	return &Secrets{box}, nil
}

// binding is where a secret belongs; a realm's id has no NUL, nor has a client's.
func binding(c client.Client) []byte { return []byte(c.RealmID + "\x00" + c.ClientID) }

// Seal seals a secret for a client.
func (s *Secrets) Seal(c client.Client, secret string) ([]byte, error) {
	sealed, err := s.box.Seal([]byte(secret), binding(c))
	if err != nil {
		return nil, fmt.Errorf("sealing a client's secret: %w", err)
	}
	return sealed, nil
}

// Open returns the secret of a client, and whether it is sealed under the key
// that Seal uses.
func (s *Secrets) Open(c client.Client) (secret []byte, newest bool, err error) {
	secret, by, ok := s.box.Open(c.SecretSealed, binding(c))
	if !ok {
		return nil, false, errSealed
	}
	return secret, by == 0, nil
}
