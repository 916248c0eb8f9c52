// Package dpop judges proofs of possession at the issuer's endpoints (RFC
// 9449): is this request by who holds that key? It must not know clients,
// sessions or what a proof is good for.
//
// The idea: a proof names its own key, so it says nothing of who is calling.
// It says that a token which is bound to the key's thumbprint reached its
// holder, or came from it. Everything about a proof is checked before it is
// remembered, so that only a whole one costs a row in the store.
package dpop

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/tegata/tegata/internal/jose"
	"github.com/tegata/tegata/issuer/oauth"
	"github.com/tegata/tegata/issuer/realm"
)

// Bounds on proofs.
const (
	maxAge    = time.Minute      // since iat
	clockSkew = 15 * time.Second // of the client's clock, Keycloak's value
	maxJTI    = 1 << 10          // bytes
)

// field is the header field of a proof (RFC 9449 §4.1), and kind what its jti
// is remembered as.
const (
	field = "DPoP"
	kind  = "dpop"
)

// accept: proofs have a type of their own, so that no other token of the key
// is one (RFC 9449 §4.2).
var accept = jose.Accept{Algorithms: jose.SigningAlgorithms(), Types: []string{"dpop+jwt"}}

// Algorithms are those of proofs, for discovery documents.
func Algorithms() []string {
	names := make([]string, len(accept.Algorithms))
	for i, a := range accept.Algorithms {
		names[i] = string(a)
	}
	return names
}

// Replay remembers single-use values; session.Sessions satisfies it.
type Replay interface {
	Once(ctx context.Context, r realm.Realm, kind, value string, expires time.Time) error
}

// Config configures a Verifier. All fields are required.
type Config struct {
	Replay   Replay
	Replayed error // by which Replay says "seen before"
	Now      func() time.Time
	Secret   []byte // makes nonces; at least 32 bytes, the same in all replicas
}

// Verifier judges proofs.
type Verifier struct{ c Config }

// New checks the configuration.
func New(c Config) (*Verifier, error) {
	if c.Replay == nil || c.Replayed == nil || c.Now == nil || len(c.Secret) < sha256.Size {
		return nil, errors.New("dpop: Replay, Replayed, Now and a Secret of 32 bytes are required")
	}
	return &Verifier{c}, nil
}

// Call is the request that a proof is to be of.
type Call struct {
	Realm   realm.Realm
	Request *http.Request
	Path    string // of the endpoint, below the realm's issuer (or its alias for mutual TLS)
	Token   string // the access token that is used with the proof; empty at the token endpoint
	Nonce   bool   // the proof must hold a nonce of ours (RFC 9449 §8)

	Algorithms []jose.Algorithm // that the client may use; none: any of Algorithms
}

// claims of a proof (RFC 9449 §4.2).
type claims struct {
	ID       string  `json:"jti"`
	Method   string  `json:"htm"`
	Target   string  `json:"htu"`
	IssuedAt float64 `json:"iat"`
	Hash     string  `json:"ath"`
	Nonce    string  `json:"nonce"`
}

// Prove returns the thumbprint of the key that the call's proof is by (a
// cnf.jkt), or nothing if it has no proof. Errors are *oauth.Error: invalid
// proofs with texts of Keycloak 26, and use_dpop_nonce.
func (v *Verifier) Prove(ctx context.Context, c Call) (string, error) {
	fields := c.Request.Header.Values(field)
	switch len(fields) {
	case 0:
		return "", nil
	case 1:
	default:
		return "", Invalid("more than one DPoP header", nil)
	}
	key, err := jose.EmbeddedThumbprint(fields[0])
	if err != nil {
		return "", Invalid("DPoP header verification failure", err)
	}
	may := accept
	if len(c.Algorithms) > 0 {
		may.Algorithms = c.Algorithms
	}
	payload, err := jose.VerifyEmbedded(fields[0], may, key)
	if err != nil {
		return "", Invalid(text(err), err)
	}
	var p claims
	if err := jose.ReadClaims(payload, &p); err != nil {
		return "", Invalid("DPoP mandatory claims are missing", err)
	}
	if err := v.check(p, c); err != nil {
		return "", err
	}
	thumbprint := base64.RawURLEncoding.EncodeToString(key[:])
	return thumbprint, v.once(ctx, c.Realm, thumbprint, p)
}

// text is what a caller is told of a proof that does not verify.
func text(err error) string {
	switch {
	case errors.Is(err, jose.ErrType):
		return "Invalid or missing type in DPoP header"
	case errors.Is(err, jose.ErrAlgorithm):
		return "Unsupported DPoP algorithm"
	case errors.Is(err, jose.ErrSignature):
		return "DPoP signature verification failure"
	}
	return "DPoP header verification failure"
}

// check holds a proof's claims against the call (RFC 9449 §4.3).
func (v *Verifier) check(p claims, c Call) error {
	now, made := v.c.Now(), time.Unix(int64(min(p.IssuedAt, 1<<40)), 0)
	switch {
	case p.ID == "" || len(p.ID) > maxJTI || p.Method == "" || p.Target == "" || p.IssuedAt <= 0:
		return Invalid("DPoP mandatory claims are missing", nil)
	case p.Method != c.Request.Method:
		return Invalid("DPoP HTTP method mismatch", nil)
	case !sameTarget(p.Target, c.Realm.Issuer+c.Path) && (c.Realm.Alias == "" || !sameTarget(p.Target, c.Realm.Alias+c.Path)):
		return Invalid("DPoP HTTP URL mismatch", nil)
	case now.Sub(made) > maxAge+clockSkew, made.Sub(now) > clockSkew:
		return Invalid("DPoP proof is not active", nil)
	case c.Token != "" && p.Hash == "":
		return Invalid("No access token hash in DPoP proof", nil)
	case c.Token != "" && !equal(p.Hash, hash(c.Token)):
		return Invalid("DPoP proof access token hash mismatch", nil)
	case c.Nonce && !v.isNonce(c.Realm, p.Nonce):
		return &oauth.Error{Code: oauth.CodeUseDPoPNonce, Description: "Authorization server requires nonce in DPoP proof"}
	}
	return nil
}

// once uses up the proof. Its jti is the key's own name space.
func (v *Verifier) once(ctx context.Context, r realm.Realm, thumbprint string, p claims) error {
	until := time.Unix(int64(p.IssuedAt), 0).Add(maxAge + clockSkew)
	err := v.c.Replay.Once(ctx, r, kind, thumbprint+"\x00"+p.ID, until)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, v.c.Replayed):
		return Invalid("DPoP proof has already been used", err)
	}
	return oauth.ServerError(err)
}

// Missing is what is said where a proof is required and there is none.
func Missing() *oauth.Error { return Invalid("DPoP proof is missing", nil) }

// Invalid is invalid_dpop_proof (RFC 9449 §5).
func Invalid(description string, cause error) *oauth.Error {
	return &oauth.Error{Code: oauth.CodeInvalidDPoPProof, Description: description, Cause: cause}
}

// hash of an access token, as the claim ath has it (RFC 9449 §4.2).
func hash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// sameTarget compares an htu with an endpoint's URL: without query and
// fragment, and after the normalization of scheme, host and port that RFC 9449
// §4.3 asks for. The path is compared as it is.
func sameTarget(htu, endpoint string) bool {
	a, okA := normal(htu)
	b, okB := normal(endpoint)
	return okA && okB && a == b
}

func normal(target string) (string, bool) {
	u, err := url.Parse(target)
	if err != nil || u.Host == "" || u.User != nil {
		return "", false
	}
	scheme, host, port := strings.ToLower(u.Scheme), strings.ToLower(u.Hostname()), u.Port()
	if n, err := strconv.Atoi(port); err == nil && (scheme == "https" && n == 443 || scheme == "http" && n == 80) {
		port = ""
	}
	return scheme + "://" + host + ":" + port + u.EscapedPath(), true
}
