package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha256" // crypto.SHA256
	"crypto/sha512"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// minHMACKey is the shortest HS512 key (RFC 7518 §3.2), in bytes.
const minHMACKey = sha512.Size

// hash of each algorithm; EdDSA hashes by itself.
func (a Algorithm) hash() crypto.Hash {
	switch a {
	case ES256, RS256, PS256, HS256:
		return crypto.SHA256
	case ES384, RS384, PS384, HS384:
		return crypto.SHA384
	case ES512, RS512, PS512, HS512:
		return crypto.SHA512
	}
	return 0
}

// digest of the signing input; EdDSA signs the input itself.
func (a Algorithm) digest(input []byte) []byte {
	h := a.hash()
	if h == 0 {
		return input
	}
	d := h.New()
	d.Write(input)
	return d.Sum(nil)
}

// Sign returns the compact JWS of payload with the given typ. The key may be
// any crypto.Signer, in an HSM too.
func (s Signer) Sign(typ string, payload []byte) (string, error) {
	if !slices.Contains(keyAlgorithms(s.Key.Public()), s.Algorithm) {
		return "", fmt.Errorf("signing with key %q: %w", s.ID, ErrAlgorithm)
	}
	input, err := signingInput(s.Algorithm, s.ID, typ, payload)
	if err != nil {
		return "", err
	}
	signature, err := s.signature(input)
	if err != nil {
		return "", fmt.Errorf("signing with key %q: %w", s.ID, err)
	}
	return seal(input, signature)
}

// SignHS512 is Sign with a symmetric key of at least 64 bytes.
func SignHS512(kid string, key []byte, typ string, payload []byte) (string, error) {
	if len(key) < minHMACKey {
		return "", errors.New("HS512 key too short")
	}
	input, err := signingInput(HS512, kid, typ, payload)
	if err != nil {
		return "", err
	}
	return seal(input, mac(key, input))
}

func mac(key, input []byte) []byte {
	m := hmac.New(sha512.New, key)
	m.Write(input)
	return m.Sum(nil)
}

// signingInput is BASE64URL(header) "." BASE64URL(payload) (RFC 7515 §5.1).
func signingInput(alg Algorithm, kid, typ string, payload []byte) ([]byte, error) {
	header, err := json.Marshal(struct {
		Algorithm Algorithm `json:"alg"`
		Type      string    `json:"typ,omitempty"`
		KeyID     string    `json:"kid,omitempty"`
	}{alg, typ, kid})
	if err != nil {
		return nil, fmt.Errorf("writing token header: %w", err)
	}
	// Room for the longest usual signature too, so that seal need not grow it.
	out := make([]byte, 0, encoding.EncodedLen(len(header))+encoding.EncodedLen(len(payload))+2+encoding.EncodedLen(minRSABits/8))
	out = encoding.AppendEncode(out, header)
	out = append(out, '.')
	return encoding.AppendEncode(out, payload), nil
}

func seal(input, signature []byte) (string, error) {
	out := encoding.AppendEncode(append(input, '.'), signature)
	if len(out) > MaxCompact {
		return "", errors.New("token too large to be read back")
	}
	return string(out), nil
}

func (s Signer) signature(input []byte) ([]byte, error) {
	digest := s.Algorithm.digest(input)
	switch key := s.Key.Public().(type) {
	case *ecdsa.PublicKey:
		der, err := s.Key.Sign(rand.Reader, digest, s.Algorithm.hash())
		if err != nil {
			return nil, err
		}
		return fromASN1(der, fieldSize(key))
	case *rsa.PublicKey:
		var opts crypto.SignerOpts = s.Algorithm.hash()
		if s.Algorithm[0] == 'P' {
			opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: s.Algorithm.hash()}
		}
		return s.Key.Sign(rand.Reader, digest, opts)
	case ed25519.PublicKey:
		return s.Key.Sign(rand.Reader, digest, crypto.Hash(0))
	}
	return nil, ErrAlgorithm
}

// fieldSize is the width of r and of s, in bytes (RFC 7518 §3.4).
func fieldSize(key *ecdsa.PublicKey) int { return (key.Curve.Params().BitSize + 7) / 8 }

// fromASN1 turns the DER signature of a crypto.Signer into JWS's r || s.
func fromASN1(der []byte, size int) ([]byte, error) {
	var r, s big.Int
	var seq cryptobyte.String
	in := cryptobyte.String(der)
	if !in.ReadASN1(&seq, asn1.SEQUENCE) || !in.Empty() ||
		!seq.ReadASN1Integer(&r) || !seq.ReadASN1Integer(&s) || !seq.Empty() ||
		r.Sign() <= 0 || s.Sign() <= 0 || r.BitLen() > 8*size || s.BitLen() > 8*size {
		return nil, errors.New("signer returned a malformed ECDSA signature")
	}
	out := make([]byte, 2*size)
	r.FillBytes(out[:size])
	s.FillBytes(out[size:])
	return out, nil
}
