package jose

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rsa"
	"errors"
	"math/big"
	"slices"
)

// Verify checks the signature with the key named by kid and returns the
// payload. The steps: take the token apart, compare alg and typ with what is
// accepted, find the key, compare alg with the key, verify. Errors:
// ErrMalformed, ErrAlgorithm, ErrType, ErrUnknownKey, ErrSignature; the
// payload is nil unless all steps passed.
func (s *KeySet) Verify(compact string, a Accept) (Header, []byte, error) {
	p, err := Parse(compact)
	if err != nil {
		return Header{}, nil, err
	}
	if err := s.VerifyParsed(p, a); err != nil {
		return p.c.header, nil, err
	}
	return p.c.header, p.c.payload, nil
}

// VerifyParsed is Verify for a token that was taken apart before.
func (s *KeySet) VerifyParsed(p Parsed, a Accept) error {
	h := p.c.header
	if !slices.Contains(a.Algorithms, h.Algorithm) || !asymmetric(h.Algorithm) {
		return ErrAlgorithm
	}
	if err := checkType(h.Type, a.Types); err != nil {
		return err
	}
	key, err := s.find(h)
	if err != nil {
		return err
	}
	if !s.verify(key, p.c) {
		return ErrSignature
	}
	return nil
}

// verify is verify, quicker for a P-256 key that is busy.
func (s *KeySet) verify(k PublicKey, c compact) bool {
	key, ok := k.Key.(*ecdsa.PublicKey)
	if busy := s.busy[key]; ok && busy != nil {
		return busy.verify(key, c)
	}
	return verify(k, c)
}

// VerifyHS512 is Verify for SignHS512.
func VerifyHS512(compact string, key []byte, types ...string) (payload []byte, err error) {
	if len(key) < minHMACKey {
		return nil, errors.New("HS512 key too short")
	}
	return verifyMAC(compact, HS512, func(input []byte) []byte { return mac(key, input) }, types)
}

// VerifyShared is Verify for a secret that a client shares with us, with those
// of the accepted algorithms for which it is long enough (see MinSecret).
func VerifyShared(compact string, secret []byte, accept Accept) (payload []byte, err error) {
	header, err := ParseHeader(compact)
	if err != nil {
		return nil, err
	}
	alg := header.Algorithm
	if !slices.Contains(accept.Algorithms, alg) || MinSecret(alg) == 0 || len(secret) < MinSecret(alg) {
		return nil, ErrAlgorithm
	}
	return verifyMAC(compact, alg, func(input []byte) []byte {
		m := hmac.New(alg.hash().New, secret)
		m.Write(input)
		return m.Sum(nil)
	}, accept.Types)
}

func verifyMAC(compact string, alg Algorithm, mac func([]byte) []byte, types []string) ([]byte, error) {
	c, err := parse(compact)
	if err != nil {
		return nil, err
	}
	if c.header.Algorithm != alg {
		return nil, ErrAlgorithm
	}
	if err := checkType(c.header.Type, types); err != nil {
		return nil, err
	}
	if !hmac.Equal(c.signature, mac([]byte(c.signing))) {
		return nil, ErrSignature
	}
	return c.payload, nil
}

// asymmetric holds even against an Accept that was filled carelessly.
func asymmetric(a Algorithm) bool {
	switch a {
	case ES256, ES384, ES512, RS256, RS384, RS512, PS256, PS384, PS512, EdDSA:
		return true
	}
	return false
}

func verify(k PublicKey, c compact) bool {
	alg := c.header.Algorithm
	digest := alg.digest([]byte(c.signing))
	switch key := k.Key.(type) {
	case *ecdsa.PublicKey:
		r, s, ok := numbers(c.signature, fieldSize(key))
		return ok && ecdsa.Verify(key, digest, r, s)
	case *rsa.PublicKey:
		if alg[0] == 'P' {
			opts := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: alg.hash()}
			return rsa.VerifyPSS(key, alg.hash(), digest, c.signature, opts) == nil
		}
		return rsa.VerifyPKCS1v15(key, alg.hash(), digest, c.signature) == nil
	case ed25519.PublicKey:
		return ed25519.Verify(key, digest, c.signature)
	}
	return false
}

// numbers are the two of an ECDSA signature, of so many bytes each (RFC 7518 §3.4).
func numbers(signature []byte, size int) (r, s *big.Int, ok bool) {
	if len(signature) != 2*size {
		return nil, nil, false
	}
	return new(big.Int).SetBytes(signature[:size]), new(big.Int).SetBytes(signature[size:]), true
}
