package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"math/big"
)

// bareSignature names the measurement of a signature check without all else.
const bareSignature = "ES256 check alone"

// signature is a signed text, and who signed it: what ES256 checks
// (RFC 7518 §3.4), and nothing of the token around it.
type signature struct {
	text []byte
	key  *ecdsa.PublicKey
	r, s *big.Int
}

// newSignature signs so many random bytes.
func newSignature(size int) (*signature, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	s := &signature{text: make([]byte, size), key: &private.PublicKey}
	_, _ = rand.Read(s.text) // never fails
	sum := sha256.Sum256(s.text)
	if s.r, s.s, err = ecdsa.Sign(rand.Reader, private, sum[:]); err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	return s, nil
}

// good checks the signature.
func (s *signature) good() bool {
	sum := sha256.Sum256(s.text)
	return ecdsa.Verify(s.key, sum[:], s.r, s.s)
}
