// Package jose signs and verifies compact JWS and reads them strictly
// (RFC 8725). It is the only importer of jwx, and no type of jwx leaves it.
package jose

import (
	"crypto"
	"encoding/json"
	"errors"
)

// Errors of this package; test with errors.Is.
var (
	ErrMalformed  = errors.New("malformed token")
	ErrAlgorithm  = errors.New("algorithm not allowed")
	ErrType       = errors.New("token type not allowed")
	ErrUnknownKey = errors.New("unknown key")
	ErrSignature  = errors.New("signature does not verify")
)

// MaxCompact is the largest compact serialization that is read, in bytes.
const MaxCompact = 16 << 10

// Algorithm is a JWS alg value (RFC 7518 §3.1).
type Algorithm string

// The asymmetric algorithms; HS512 is for tokens an issuer reads back itself.
const (
	ES256 Algorithm = "ES256"
	ES384 Algorithm = "ES384"
	ES512 Algorithm = "ES512"
	RS256 Algorithm = "RS256"
	RS384 Algorithm = "RS384"
	RS512 Algorithm = "RS512"
	PS256 Algorithm = "PS256"
	PS384 Algorithm = "PS384"
	PS512 Algorithm = "PS512"
	EdDSA Algorithm = "EdDSA"
	HS512 Algorithm = "HS512"
)

// PublicKey is one verification key of a KeySet.
type PublicKey struct {
	ID        string    // kid
	Algorithm Algorithm // empty if the JWK names none
	Key       crypto.PublicKey
}

// KeySet is an immutable set of public keys.
type KeySet struct{}

// NewKeySet builds a KeySet.
func NewKeySet(keys ...PublicKey) (*KeySet, error) { panic("unbuilt") }

// ParseKeySet reads a JWKS (RFC 7517 §5): private and symmetric keys are an
// error, keys of unknown type or use are skipped, limits apply.
func ParseKeySet(data []byte) (*KeySet, error) { panic("unbuilt") }

// MarshalJSON writes the set as a JWKS, each key with kid, use=sig and alg.
func (s *KeySet) MarshalJSON() ([]byte, error) { panic("unbuilt") }

// Has reports whether a key with that kid is in the set.
func (s *KeySet) Has(kid string) bool { panic("unbuilt") }

// Keys returns the keys.
func (s *KeySet) Keys() []PublicKey { panic("unbuilt") }

// Header is the protected header of a token.
type Header struct {
	Algorithm Algorithm
	KeyID     string
	Type      string // typ, as sent
}

// Signer signs with one private key.
type Signer struct {
	ID        string // kid
	Algorithm Algorithm
	Key       crypto.Signer
}

// Sign returns the compact JWS of payload with the given typ.
func (s Signer) Sign(typ string, payload []byte) (string, error) { panic("unbuilt") }

// SignHS512 is Sign with a symmetric key of at least 64 bytes.
func SignHS512(kid string, key []byte, typ string, payload []byte) (string, error) {
	panic("unbuilt")
}

// VerifyHS512 is Verify for SignHS512.
func VerifyHS512(compact string, key []byte, types ...string) (payload []byte, err error) {
	panic("unbuilt")
}

// ParseHeader reads the header without verifying anything: strict base64url,
// strict JSON (no duplicates, no invalid UTF-8), crit refused, no jku/x5u/jwk followed.
func ParseHeader(compact string) (Header, error) { panic("unbuilt") }

// Accept says which tokens are acceptable at all.
type Accept struct {
	Algorithms []Algorithm // never empty, never "none", never symmetric
	Types      []string    // typ values, case-insensitive, with or without "application/"; empty string allows absence
}

// Verify checks the signature with the key named by kid and returns the payload.
func (s *KeySet) Verify(compact string, a Accept) (Header, []byte, error) { panic("unbuilt") }

// ReadObject strictly decodes a JSON object: no duplicate members at any
// depth, no invalid UTF-8, no trailing data, depth at most 16. Numbers are
// json.Number.
func ReadObject(data []byte) (map[string]any, error) { panic("unbuilt") }

// ReadClaims is ReadObject into a struct, ignoring unknown members.
func ReadClaims(data []byte, into any) error { panic("unbuilt") }

var _ json.Marshaler = (*KeySet)(nil)
