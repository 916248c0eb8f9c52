package verify

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
)

// Schemes of Authorization by which a token is presented.
const (
	SchemeBearer = "Bearer" // RFC 6750 §2.1
	SchemeDPoP   = "DPoP"   // RFC 9449 §7.1
)

// Thumbprint is a SHA-256: of a public key as RFC 7638 has it, or of a
// certificate in DER.
type Thumbprint = [sha256.Size]byte

// Binding is what a token is bound to (cnf, RFC 7800): who presents it has to
// prove that he has it. All of what is not nil.
type Binding struct {
	Key         *Thumbprint // jkt: the key that signs DPoP proofs (RFC 9449 §6.1)
	Certificate *Thumbprint // x5t#S256: the certificate of the TLS connection (RFC 8705 §3.1)
}

// Presented is a token as a request presented it.
type Presented struct {
	Token  string
	Scheme string // SchemeBearer or SchemeDPoP
	Proof  string // value of the one DPoP header field, or empty
	Target Target

	// Certificate returns the SHA-256 of the client's certificate (DER), nil
	// if it showed none. It is called only for tokens that are bound to one. A
	// nil func: there is none.
	Certificate func() []byte
}

// Target is the request as its client addressed it. Its parts are apart so
// that nothing has to be joined for a token that is bound to no key.
type Target struct {
	Method string
	Scheme string // http or https
	Host   string // with port, unless it is that of the scheme
	Path   string // as sent; a query is ignored
}

// Verify is VerifyBound for a token that was presented as a bearer token,
// with nothing else: one that is bound to anything is refused.
func (v *Verifier) Verify(ctx context.Context, compact string) (*Token, error) {
	return v.VerifyBound(ctx, Presented{Token: compact, Scheme: SchemeBearer})
}

// VerifyBound returns the verified token or one of the errors above (wrapped
// with detail for the log, never containing the token). exp, nbf, the key set's
// generation and the proof of what the token is bound to are checked on every
// use, after the cache. Revocation is not its business. ctx bounds the waiting
// for keys or answers that are fetched because of this token.
func (v *Verifier) VerifyBound(ctx context.Context, p Presented) (*Token, error) {
	token, err := v.verify(ctx, p.Token)
	if err == nil {
		err = v.checkBinding(ctx, token, &p)
	}
	v.metrics.verified(err)
	if err != nil {
		return nil, err
	}
	return token, nil
}

// checkBinding holds how a token was presented against what it is bound to.
// The proof comes last: looking at it uses it up.
func (v *Verifier) checkBinding(ctx context.Context, t *Token, p *Presented) error {
	bound := t.Binding.Key != nil
	switch {
	case p.Scheme != SchemeBearer && p.Scheme != SchemeDPoP:
		return fmt.Errorf("%w: unknown scheme", ErrBinding)
	case bound && p.Scheme == SchemeBearer: // RFC 9449 §7.2
		return fmt.Errorf("%w: bound to a key, presented as a bearer token", ErrBinding)
	case !bound && p.Scheme == SchemeDPoP: // RFC 9449 §7.1
		return fmt.Errorf("%w: not bound to a key, presented with DPoP", ErrBinding)
	}
	if c := t.Binding.Certificate; c != nil {
		if p.Certificate == nil || subtle.ConstantTimeCompare(p.Certificate(), c[:]) != 1 {
			return fmt.Errorf("%w: not the certificate that it is bound to", ErrBinding)
		}
	}
	if !bound {
		return nil
	}
	if err := v.turns.Take(ctx); err != nil {
		return err
	}
	defer v.turns.Give()
	return v.proofs.check(p, *t.Binding.Key, v.now())
}

// binding reads cnf. A token bound only in ways that are unknown here is
// refused: its issuer did not mean it for everybody who has it. Beside one
// that is known, others are ignored (RFC 7800 §3.1).
func (c *claims) binding() (b Binding, err error) {
	if !c.has("cnf") {
		return b, nil
	}
	members, ok := c.object["cnf"].(map[string]any)
	if !ok {
		return b, wrongClaim("cnf")
	}
	if b.Key, err = thumbprint(members, "jkt"); err != nil {
		return b, err
	}
	if b.Certificate, err = thumbprint(members, "x5t#S256"); err != nil {
		return b, err
	}
	if b == (Binding{}) {
		return b, fmt.Errorf("%w: bound in a way that is not supported", ErrBinding)
	}
	return b, nil
}

func thumbprint(members map[string]any, name string) (*Thumbprint, error) {
	value, ok := members[name]
	if !ok {
		return nil, nil
	}
	text, _ := value.(string)
	sum, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(sum) != sha256.Size || len(text) != base64.RawURLEncoding.EncodedLen(sha256.Size) {
		return nil, wrongClaim("cnf." + name)
	}
	return (*Thumbprint)(sum), nil
}

// names are the ways in which a token is bound, for policies.
func (b Binding) names() []string {
	var names []string
	if b.Key != nil {
		names = append(names, "dpop")
	}
	if b.Certificate != nil {
		names = append(names, "mtls")
	}
	return names
}
