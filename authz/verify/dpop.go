package verify

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/tegata/tegata/internal/jose"
)

// Defaults and limits of DPoP.
const (
	defaultProofAge = 60 * time.Second
	maxProofAge     = 5 * time.Minute
	defaultProofs   = 1 << 20
	proofType       = "dpop+jwt"
	nonceLife       = 5 * time.Minute // a nonce is good for one to two of these
	minNonceSecret  = 32              // bytes
)

// DPoP is how proofs of possession are judged (RFC 9449). The zero value is
// usable: tokens that are bound to a key are taken with proofs by that key,
// and only so.
type DPoP struct {
	Algorithms []jose.Algorithm // of proofs; default ES256, ES384, ES512, EdDSA, RS256, PS256
	MaxAge     time.Duration    // since a proof's iat; default 60 s, at most 5 min
	Leeway     time.Duration    // for an iat in the future; default 5 s, at most 60 s
	Scheme     string           // as clients write it in htu, if TLS ends before Envoy; default: the request's

	// Proofs is how many proofs are remembered, so that none is taken twice;
	// default 1,048,576. More within MaxAge are refused with ErrUnavailable.
	// The memory is of this process: another replica does not know it.
	Proofs int

	// Nonces demands that proofs carry a nonce of ours (§9): then they cannot
	// be made in advance. NonceSecret makes them, 32 bytes or more, and must be
	// the same in all replicas; nil: random.
	Nonces      bool
	NonceSecret []byte
}

func (d DPoP) withDefaults() (DPoP, error) {
	switch {
	case d.MaxAge < 0 || d.MaxAge > maxProofAge:
		return d, fmt.Errorf("proofs of age %v, want at most %v", d.MaxAge, maxProofAge)
	case d.Leeway < 0 || d.Leeway > maxLeeway:
		return d, fmt.Errorf("leeway %v, want at most %v", d.Leeway, maxLeeway)
	case d.Scheme != "" && d.Scheme != "http" && d.Scheme != "https":
		return d, fmt.Errorf("scheme %q, want http or https", d.Scheme)
	case d.Proofs < 0:
		return d, errors.New("negative number of proofs")
	case d.NonceSecret != nil && (!d.Nonces || len(d.NonceSecret) < minNonceSecret):
		return d, fmt.Errorf("a secret for nonces needs nonces, and %d bytes", minNonceSecret)
	}
	if d.MaxAge == 0 {
		d.MaxAge = defaultProofAge
	}
	if d.Leeway == 0 {
		d.Leeway = defaultLeeway
	}
	if d.Proofs == 0 {
		d.Proofs = defaultProofs
	}
	if len(d.Algorithms) == 0 {
		d.Algorithms = []jose.Algorithm{jose.ES256, jose.ES384, jose.ES512, jose.EdDSA, jose.RS256, jose.PS256}
	}
	for _, a := range d.Algorithms {
		if !slices.Contains(supported, a) {
			return d, fmt.Errorf("algorithm %q is not supported", a)
		}
	}
	return d, nil
}

// proofs judges proofs.
type proofs struct {
	c      DPoP
	accept jose.Accept
	seen   *seen
}

// newProofs takes over what the verifier that is replaced, if there is one,
// has seen: a change of configuration must not let a proof in twice.
func newProofs(d DPoP, before *Verifier) (*proofs, error) {
	d, err := d.withDefaults()
	if err != nil {
		return nil, err
	}
	p := &proofs{c: d, accept: jose.Accept{Algorithms: d.Algorithms, Types: []string{proofType}}}
	window := d.MaxAge + d.Leeway
	if before != nil && before.proofs.seen.fits(d.Proofs, window) {
		p.seen = before.proofs.seen
	} else {
		p.seen = newSeen(d.Proofs, window)
	}
	if d.Nonces && d.NonceSecret == nil {
		p.c.NonceSecret = make([]byte, minNonceSecret)
		if before != nil && before.proofs.c.NonceSecret != nil {
			p.c.NonceSecret = before.proofs.c.NonceSecret
		} else if _, err := rand.Read(p.c.NonceSecret); err != nil {
			return nil, fmt.Errorf("making a secret for nonces: %w", err)
		}
	}
	return p, nil
}

// badProof is ErrProof with a reason that holds nothing of the proof.
func badProof(why string) error { return fmt.Errorf("%w: %s", ErrProof, why) }

// check holds a proof against the token and the request (§4.3). Its one header
// field is the door's to find; the checks are in an order in which nobody
// without the key gets anything remembered.
func (s *proofs) check(p *Presented, key Thumbprint, now time.Time) error {
	if p.Proof == "" {
		return badProof("there is none")
	}
	payload, err := jose.VerifyEmbedded(p.Proof, s.accept, key)
	switch {
	case errors.Is(err, jose.ErrUnknownKey):
		return fmt.Errorf("%w: the proof is by another key", ErrBinding)
	case err != nil:
		return fmt.Errorf("%w: %v", ErrProof, err)
	}
	object, err := jose.ReadObject(payload)
	if err != nil {
		return fmt.Errorf("%w: %v", ErrProof, err)
	}
	c := claims{object: object}
	id, method, target, hash, nonce := c.required("jti"), c.required("htm"), c.required("htu"), c.required("ath"), c.text("nonce")
	made := c.time("iat")
	if c.wrong != "" || !c.has("iat") {
		return badProof("required claim missing or of the wrong type")
	}
	sum := digestOf(p.Token)
	switch {
	case method != p.Target.Method:
		return badProof("of another method")
	case !s.sameTarget(target, p.Target):
		return badProof("of another target")
	case now.Sub(made) > s.c.MaxAge:
		return badProof("too old")
	case made.Sub(now) > s.c.Leeway:
		return badProof("made in the future")
	case !equal(hash, base64.RawURLEncoding.EncodeToString(sum[:])):
		return badProof("of another token")
	case s.c.Nonces && !s.isNonce(nonce, now):
		return ErrNonce
	}
	return s.seen.first(sha256.Sum256(append(key[:], id...)), now)
}

// sameTarget compares htu with the request's target, without query and
// fragment.
func (s *proofs) sameTarget(htu string, t Target) bool {
	if s.c.Scheme != "" {
		t.Scheme = s.c.Scheme
	}
	claimed, ok := normalURL(htu)
	if !ok {
		return false
	}
	actual, ok := normalTarget(t.Scheme, t.Host, t.Path)
	return ok && claimed == actual
}

func equal(a, b string) bool { return hmac.Equal([]byte(a), []byte(b)) }

// Nonce returns the nonce that proofs must carry now, for the header
// DPoP-Nonce beside a challenge use_dpop_nonce (RFC 9449 §9). Empty: none is
// demanded.
func (v *Verifier) Nonce() string {
	if !v.proofs.c.Nonces {
		return ""
	}
	return v.proofs.nonce(period(v.now()))
}

// ProofAlgorithms are those that proofs may be signed with, for the challenge
// (RFC 9449 §7.1).
func (v *Verifier) ProofAlgorithms() []string {
	list := make([]string, 0, len(v.proofs.c.Algorithms))
	for _, a := range v.proofs.c.Algorithms {
		list = append(list, string(a))
	}
	return list
}

func period(now time.Time) uint64 { return uint64(now.Unix()) / uint64(nonceLife/time.Second) }

// nonce of a period; nothing of those given out has to be remembered.
func (s *proofs) nonce(period uint64) string {
	m := hmac.New(sha256.New, s.c.NonceSecret)
	m.Write(binary.BigEndian.AppendUint64([]byte("tegata dpop nonce "), period))
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil)[:18])
}

// isNonce accepts the nonce of this period and of the one before.
func (s *proofs) isNonce(nonce string, now time.Time) bool {
	p := period(now)
	return nonce != "" && (equal(nonce, s.nonce(p)) || equal(nonce, s.nonce(p-1)))
}

// seenShards bounds how many proofs may be remembered at once without waiting
// for each other.
const seenShards = 16

// seen are the proofs that were taken, for as long as they could be shown
// again.
type seen struct {
	size   int
	window time.Duration
	shards [seenShards]seenShard
}

type seenShard struct {
	mu     sync.Mutex // guards what follows
	recent recent[digest, struct{}]
}

func newSeen(size int, window time.Duration) *seen {
	s := &seen{size: size, window: window}
	for i := range s.shards {
		s.shards[i].recent = newRecent[digest, struct{}](max(1, size/seenShards), window)
	}
	return s
}

// fits reports whether s remembers as many proofs, and for as long as asked.
func (s *seen) fits(size int, window time.Duration) bool { return s.size == size && s.window >= window }

// first is nil the first time that it is asked about a proof.
func (s *seen) first(proof digest, now time.Time) error {
	shard := &s.shards[proof[0]%seenShards]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if _, again := shard.recent.get(proof, now); again {
		return badProof("used before")
	}
	if !shard.recent.add(proof, struct{}{}, now) {
		return fmt.Errorf("%w: too many proofs to remember", ErrUnavailable)
	}
	return nil
}
