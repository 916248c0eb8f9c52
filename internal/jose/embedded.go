package jose

import (
	"crypto"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// Thumbprint is the SHA-256 of a key's required members (RFC 7638): what a
// cnf.jkt holds, before base64url. A key of a kind that is never verified
// with here is an error.
func Thumbprint(key crypto.PublicKey) (sum [sha256.Size]byte, err error) {
	if len(keyAlgorithms(key)) == 0 {
		return sum, errors.New("thumbprint: unusable key")
	}
	j, err := PublicKey{Key: key}.jwk()
	if err != nil {
		return sum, fmt.Errorf("thumbprint: %w", err)
	}
	data, err := j.Thumbprint(crypto.SHA256)
	if err != nil {
		return sum, fmt.Errorf("thumbprint: %w", err)
	}
	copy(sum[:], data)
	return sum, nil
}

// VerifyEmbedded verifies a token with the public key in its own header (jwk),
// which must have the thumbprint: a key that comes with what it signed vouches
// for nothing by itself (RFC 8725 §3.10). The steps are those of
// KeySet.Verify. Errors: ErrMalformed (also no jwk, one that is private,
// symmetric or unusable), ErrAlgorithm, ErrType, ErrUnknownKey (another
// thumbprint), ErrSignature; the payload is nil unless all steps passed.
func VerifyEmbedded(compact string, a Accept, thumbprint [sha256.Size]byte) ([]byte, error) {
	c, err := parse(compact)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(a.Algorithms, c.header.Algorithm) || !asymmetric(c.header.Algorithm) {
		return nil, ErrAlgorithm
	}
	if err := checkType(c.header.Type, a.Types); err != nil {
		return nil, err
	}
	key, err := embeddedKey(compact)
	if err != nil {
		return nil, err
	}
	switch sum, err := Thumbprint(key.Key); {
	case err != nil:
		return nil, malformed("unusable key in the header")
	case sum != thumbprint: // thumbprints are no secrets
		return nil, ErrUnknownKey
	case !key.suits(c.header.Algorithm):
		return nil, ErrAlgorithm
	case !verify(key, c):
		return nil, ErrSignature
	}
	return c.payload, nil
}

// EmbeddedThumbprint is the thumbprint of the public key in a token's own
// header, of which nothing is verified: for learning which key VerifyEmbedded
// is to verify with, where any key will do (RFC 9449 §5).
func EmbeddedThumbprint(compact string) (sum [sha256.Size]byte, err error) {
	if _, err := ParseHeader(compact); err != nil {
		return sum, err
	}
	key, err := embeddedKey(compact)
	if err != nil {
		return sum, err
	}
	if sum, err = Thumbprint(key.Key); err != nil {
		return sum, malformed("unusable key in the header")
	}
	return sum, nil
}

// embeddedKey reads the jwk of a header that parse has accepted (RFC 7515 §4.1.3).
func embeddedKey(compact string) (PublicKey, error) {
	segment, _, _, err := split(compact)
	if err != nil {
		return PublicKey{}, err
	}
	data, err := decode(segment)
	if err != nil {
		return PublicKey{}, err
	}
	var header struct {
		Key json.RawMessage `json:"jwk"`
	}
	if err := ReadClaims(data, &header); err != nil {
		return PublicKey{}, err
	}
	if header.Key == nil {
		return PublicKey{}, malformed("no jwk in the header")
	}
	key, ok, err := parseKey(header.Key)
	if err != nil {
		return PublicKey{}, malformed(err.Error()) // which says nothing of the key
	}
	if !ok {
		return PublicKey{}, malformed("unusable key in the header")
	}
	return key, nil
}
