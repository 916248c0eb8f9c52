// Package seal seals what the store may not show: AES-256-GCM under the
// issuer's key files. It must not know what it seals.
//
// Each thing is bound to where it belongs, so that a row moved to another place
// in the store does not open. Nonces are random: a store would need 2^32 seals
// before that is too few.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"
	"io"
)

// KeySize is that of keys, in bytes.
const KeySize = 32

// Box opens what any of its keys has sealed, and seals with the first.
type Box struct {
	aeads []cipher.AEAD
	rand  io.Reader
}

// New checks the keys, of which there is at least one.
func New(rand io.Reader, keys ...[]byte) (*Box, error) {
	if len(keys) == 0 {
		return nil, errors.New("there is no sealing key")
	}
	b := &Box{rand: rand}
	for _, key := range keys {
		if len(key) != KeySize {
			return nil, fmt.Errorf("the sealing key has %d bytes, want %d", len(key), KeySize)
		}
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, err
		}
		aead, err := cipher.NewGCM(block)
		if err != nil {
			return nil, err
		}
		b.aeads = append(b.aeads, aead)
	}
	return b, nil
}

// Seal seals plain, bound to binding.
func (b *Box) Seal(plain, binding []byte) ([]byte, error) {
	aead := b.aeads[0]
	nonce := make([]byte, aead.NonceSize())
	if _, err := io.ReadFull(b.rand, nonce); err != nil {
		return nil, err
	}
	return aead.Seal(nonce, nonce, plain, binding), nil
}

// Open is the inverse of Seal, and says which of the keys it was. It is not ok
// if none opens it: it was sealed under another key, for another place, or
// changed.
func (b *Box) Open(sealed, binding []byte) (plain []byte, by int, ok bool) {
	for by, aead := range b.aeads {
		size := aead.NonceSize()
		if len(sealed) < size {
			break
		}
		if plain, err := aead.Open(nil, sealed[:size], sealed[size:], binding); err == nil {
			return plain, by, true
		}
	}
	return nil, 0, false
}
