package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/lestrrat-go/jwx/v2/jwk"
)

// Limits on key sets. An RSA key below 2048 bits is too weak (RFC 7518 §3.3);
// one above 8192 makes each verification a gift to an attacker.
const (
	maxKeySet  = 1 << 20 // bytes
	maxKeys    = 256
	minRSABits = 2048
	maxRSABits = 8192
)

// KeySet is an immutable set of public keys.
type KeySet struct {
	keys []PublicKey
	byID map[string][]PublicKey
	busy map[*ecdsa.PublicKey]*busyKey // the P-256 ones; nil unless ForMany
}

var _ json.Marshaler = (*KeySet)(nil)

// NewKeySet builds a KeySet. A key that no algorithm here can use, and two
// keys between which a header could not choose (same kid, same algorithm), are
// errors.
func NewKeySet(keys ...PublicKey) (*KeySet, error) {
	s := &KeySet{byID: make(map[string][]PublicKey, len(keys))}
	for _, k := range keys {
		algs := k.algorithms()
		if len(algs) == 0 {
			return nil, fmt.Errorf("key %q: unusable with algorithm %q", k.ID, k.Algorithm)
		}
		for _, other := range s.byID[k.ID] {
			if slices.ContainsFunc(other.algorithms(), func(a Algorithm) bool { return slices.Contains(algs, a) }) {
				return nil, fmt.Errorf("key %q: more than once in the set", k.ID)
			}
		}
		s.keys = append(s.keys, k)
		s.byID[k.ID] = append(s.byID[k.ID], k)
	}
	return s, nil
}

// ParseKeySet reads a JWKS (RFC 7517 §5) of at most 1 MiB and 256 keys:
// private and symmetric keys are an error, keys of a type, use, algorithm or
// size that is never verified with here are skipped (RFC 7517 §5 asks so), a
// key repeated as a whole counts once.
func ParseKeySet(data []byte) (*KeySet, error) {
	if len(data) > maxKeySet {
		return nil, errors.New("key set too large")
	}
	var doc struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := ReadClaims(data, &doc); err != nil {
		return nil, fmt.Errorf("reading key set: %w", err)
	}
	if doc.Keys == nil {
		return nil, errors.New("key set without keys member")
	}
	if len(doc.Keys) > maxKeys {
		return nil, errors.New("too many keys in the set")
	}
	var keys []PublicKey
	for i, raw := range doc.Keys {
		k, ok, err := parseKey(raw)
		if err != nil {
			return nil, fmt.Errorf("reading key %d of the set: %w", i, err)
		}
		if ok && !slices.ContainsFunc(keys, k.equal) {
			keys = append(keys, k)
		}
	}
	return NewKeySet(keys...)
}

// parseKey reads one JWK; ok is false if it is to be skipped.
func parseKey(raw []byte) (k PublicKey, ok bool, err error) {
	members, err := ReadObject(raw)
	if err != nil {
		return k, false, err
	}
	for _, secret := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"} {
		if _, present := members[secret]; present {
			return k, false, errors.New("private or symmetric key in a public set")
		}
	}
	if members["kty"] == "oct" {
		return k, false, errors.New("symmetric key in a public set")
	}
	if !forVerifying(members) || !knownType(members) {
		return k, false, nil
	}
	parsed, err := jwk.ParseKey(raw)
	if err != nil {
		return k, false, errors.New("malformed key")
	}
	k = PublicKey{ID: parsed.KeyID(), Algorithm: Algorithm(parsed.Algorithm().String())}
	if err := parsed.Raw(&k.Key); err != nil {
		return k, false, errors.New("malformed key")
	}
	k.Key = byValue(k.Key)
	return k, len(k.algorithms()) > 0, nil
}

// forVerifying looks at use and key_ops (RFC 7517 §4.2, §4.3).
func forVerifying(members map[string]any) bool {
	if use, present := members["use"]; present && use != "sig" {
		return false
	}
	ops, present := members["key_ops"].([]any)
	return !present || slices.Contains(ops, any("verify"))
}

func knownType(members map[string]any) bool {
	switch members["kty"] {
	case "RSA":
		return true
	case "EC":
		return slices.Contains([]any{"P-256", "P-384", "P-521"}, members["crv"])
	case "OKP":
		return members["crv"] == "Ed25519"
	}
	return false
}

// byValue turns the pointer forms that jwx may hand out into the ones that the
// standard library uses.
func byValue(key crypto.PublicKey) crypto.PublicKey {
	if p, ok := key.(*ed25519.PublicKey); ok {
		return *p
	}
	return key
}

func (k PublicKey) equal(other PublicKey) bool {
	a, ok := k.Key.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.ID == other.ID && k.Algorithm == other.Algorithm && a.Equal(other.Key)
}

// algorithms are those the key can be used with: by its type, curve and size,
// and only the one that it names, if it names one (RFC 8725 §3.1).
func (k PublicKey) algorithms() []Algorithm {
	algs := keyAlgorithms(k.Key)
	if k.Algorithm == "" {
		return algs
	}
	if slices.Contains(algs, k.Algorithm) {
		return []Algorithm{k.Algorithm}
	}
	return nil
}

func keyAlgorithms(key crypto.PublicKey) []Algorithm {
	switch key := key.(type) {
	case *ecdsa.PublicKey:
		if _, err := key.ECDH(); err != nil { // not a point on the curve
			return nil
		}
		switch key.Curve.Params().BitSize {
		case 256:
			return []Algorithm{ES256}
		case 384:
			return []Algorithm{ES384}
		case 521:
			return []Algorithm{ES512}
		}
	case *rsa.PublicKey:
		if n := key.N.BitLen(); n >= minRSABits && n <= maxRSABits && key.E > 1 && key.E%2 == 1 {
			return []Algorithm{RS256, RS384, RS512, PS256, PS384, PS512}
		}
	case ed25519.PublicKey:
		if len(key) == ed25519.PublicKeySize {
			return []Algorithm{EdDSA}
		}
	}
	return nil
}

// MarshalJSON writes the set as a JWKS, each key with kid, use=sig and alg.
func (s *KeySet) MarshalJSON() ([]byte, error) {
	out := struct {
		Keys []jwk.Key `json:"keys"`
	}{Keys: []jwk.Key{}}
	for _, k := range s.keys {
		j, err := k.jwk()
		if err != nil {
			return nil, fmt.Errorf("writing key %q: %w", k.ID, err)
		}
		out.Keys = append(out.Keys, j)
	}
	return json.Marshal(out)
}

func (k PublicKey) jwk() (jwk.Key, error) {
	j, err := jwk.FromRaw(k.Key)
	if err != nil {
		return nil, err
	}
	err = j.Set(jwk.KeyUsageKey, jwk.ForSignature)
	if k.ID != "" {
		err = errors.Join(err, j.Set(jwk.KeyIDKey, k.ID))
	}
	if alg := k.algorithms(); len(alg) == 1 {
		err = errors.Join(err, j.Set(jwk.AlgorithmKey, string(alg[0])))
	}
	return j, err
}

// Has reports whether a key with that kid is in the set.
func (s *KeySet) Has(kid string) bool { return len(s.byID[kid]) > 0 }

// Keys returns the keys.
func (s *KeySet) Keys() []PublicKey { return slices.Clone(s.keys) }

// find returns the key that the header means: the one of that kid, or, without
// a kid, the only one there is (RFC 7515 §4.1.4).
func (s *KeySet) find(h Header) (PublicKey, error) {
	candidates := s.byID[h.KeyID]
	if h.KeyID == "" {
		if len(s.keys) != 1 {
			return PublicKey{}, ErrUnknownKey
		}
		candidates = s.keys
	}
	if len(candidates) == 0 {
		return PublicKey{}, ErrUnknownKey
	}
	for _, k := range candidates {
		if k.suits(h.Algorithm) {
			return k, nil
		}
	}
	return PublicKey{}, ErrAlgorithm
}

// suits is algorithms without its allocation and checks, which NewKeySet made.
func (k PublicKey) suits(a Algorithm) bool {
	if k.Algorithm != "" {
		return k.Algorithm == a
	}
	switch key := k.Key.(type) {
	case *ecdsa.PublicKey:
		return ecdsaAlgorithm(key) == a
	case *rsa.PublicKey:
		return len(a) == 5 && (a[:2] == "RS" || a[:2] == "PS")
	case ed25519.PublicKey:
		return a == EdDSA
	}
	return false
}

func ecdsaAlgorithm(key *ecdsa.PublicKey) Algorithm {
	switch key.Curve.Params().BitSize {
	case 256:
		return ES256
	case 384:
		return ES384
	case 521:
		return ES512
	}
	return ""
}
