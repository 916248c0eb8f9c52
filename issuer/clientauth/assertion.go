package clientauth

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"slices"
	"time"

	"github.com/tegata/tegata/internal/jose"
	"github.com/tegata/tegata/issuer/client"
	"github.com/tegata/tegata/issuer/oauth"
	"github.com/tegata/tegata/issuer/realm"
)

// Bounds on assertions.
const (
	// maxAssertionAge is how long an assertion can be used: to its exp, but if
	// that is further away, from its iat. It bounds what Replay must remember.
	maxAssertionAge = 5 * time.Minute
	clockSkew       = 15 * time.Second // of the client's clock, Keycloak's value
	maxJTI          = 1 << 10          // bytes
)

// accept is what the client's assertions are signed with; their typ is JWT,
// none, or the explicit one of draft-ietf-oauth-rfc7523bis.
func accept(c client.Client) jose.Accept {
	return jose.Accept{Algorithms: c.AssertionAlgorithms(), Types: []string{"", "JWT", "client-authentication+jwt"}}
}

// claims of an assertion (RFC 7523 §3).
type claims struct {
	Issuer    string       `json:"iss"`
	Subject   string       `json:"sub"`
	Audience  audience     `json:"aud"`
	ID        string       `json:"jti"`
	Expires   *numericDate `json:"exp"`
	IssuedAt  *numericDate `json:"iat"`
	NotBefore *numericDate `json:"nbf"`
}

// audience is a string or an array of strings (RFC 7519 §4.1.3).
type audience struct {
	names jose.Texts
	list  bool
}

func (a *audience) UnmarshalJSON(data []byte) error {
	a.list = len(data) > 0 && data[0] == '['
	return a.names.UnmarshalJSON(data)
}

// one is the audience, if there is exactly one.
func (a audience) one() string {
	if len(a.names) != 1 {
		return ""
	}
	return a.names[0]
}

// forIssuer reports whether the issuer is the assertion's audience, as one
// string (FAPI 2.0 §5.3.2.1).
func (c claims) forIssuer(r realm.Realm) bool {
	return !c.Audience.list && c.Audience.one() == r.Issuer
}

// numericDate is seconds since 1970, perhaps with a fraction (RFC 7519 §2).
type numericDate time.Time

func (d *numericDate) UnmarshalJSON(data []byte) error {
	var seconds float64
	if err := json.Unmarshal(data, &seconds); err != nil {
		return err
	}
	if seconds < 0 || seconds > 1<<40 {
		return errors.New("time out of range")
	}
	whole, fraction := math.Modf(seconds)
	*d = numericDate(time.Unix(int64(whole), int64(fraction*1e9)))
	return nil
}

// byAssertion authenticates by private_key_jwt or client_secret_jwt (RFC 7523
// §3, OpenID Connect Core §9): which of them is the client's to have said
// before, never the assertion's. The replay check
// comes last, so that only the client itself can use up a jti.
func (a *Authenticator) byAssertion(ctx context.Context, r realm.Realm, p presented) (Result, error) {
	if p.assertion == "" {
		return Result{}, badAssertion("client_assertion parameter missing", nil)
	}
	header, payload, err := jose.Unverified(p.assertion)
	if err != nil {
		return Result{}, signedJWTFailed("the assertion is malformed", err)
	}
	var c claims
	if err := jose.ReadClaims(payload, &c); err != nil {
		return Result{}, signedJWTFailed("the assertion is malformed", err)
	}
	if c.Subject == "" || c.Issuer != c.Subject {
		return Result{}, signedJWTFailed("iss and sub must both be the client_id", nil)
	}
	if p.clientID != "" && p.clientID != c.Subject {
		return Result{}, badAssertion("client_id parameter does not match sub claim", nil)
	}
	cl, found, err := a.find(ctx, r, c.Subject)
	if err != nil {
		return Result{}, err
	}
	if !found || cl.PublicClient || !signs(cl) {
		return Result{}, oauth.InvalidClient(textInvalid)
	}
	method := MethodPrivateKeyJWT
	if cl.ClientAuthenticatorType == client.AuthSecretJWT {
		method, err = MethodSecretJWT, a.verifySecret(cl, p.assertion)
	} else {
		err = a.verify(ctx, cl, header.KeyID, p.assertion)
	}
	if err != nil {
		return Result{}, err
	}
	if cl.FAPI() && !c.forIssuer(r) {
		return Result{}, badAssertion("Invalid token audience", nil)
	}
	until, err := checkClaims(c, r, a.c.Now())
	if err != nil {
		return Result{}, err
	}
	if err := a.once(ctx, r, "client_assertion", cl.ClientID, c.ID, until); err != nil {
		return Result{}, err
	}
	return Result{Client: cl, Method: method}, nil
}

// verify checks the signature with the client's registered keys.
func (a *Authenticator) verify(ctx context.Context, c client.Client, kid, assertion string) error {
	set, err := a.keys(ctx, c, kid)
	if err != nil {
		return signedJWTFailed("Unable to load public key", err)
	}
	if _, _, err := set.Verify(assertion, accept(c)); err != nil {
		return signedJWTFailed("Signature on JWT token failed validation", err)
	}
	return nil
}

// verifySecret checks the signature with the client's secret.
func (a *Authenticator) verifySecret(c client.Client, assertion string) error {
	if a.c.Secrets == nil || c.SecretSealed == nil {
		return signedJWTFailed("the client has no secret", nil)
	}
	secret, _, err := a.c.Secrets.Open(c)
	if err != nil {
		return oauth.ServerError(err)
	}
	if _, err := jose.VerifyShared(assertion, secret, accept(c)); err != nil {
		return signedJWTFailed("Signature on JWT token failed validation", err)
	}
	return nil
}

// keys are the client's: jwks by value, else by reference (RFC 7591 §2 allows
// one of them only).
func (a *Authenticator) keys(ctx context.Context, c client.Client, kid string) (*jose.KeySet, error) {
	if len(c.JWKS) > 0 {
		return jose.ParseKeySet(c.JWKS)
	}
	if c.JWKSURI == "" {
		return nil, errors.New("the client has no keys")
	}
	return a.remotes.set(ctx, c.JWKSURI, kid)
}

// checkClaims checks a signed assertion's claims and returns until when it
// could be used again, if it were not for its jti.
func checkClaims(c claims, r realm.Realm, now time.Time) (time.Time, error) {
	// One audience: a token for several is a token that another of them could
	// present here (the audience injection that RFC 7523bis closes).
	if !slices.Contains(identifiers(r), c.Audience.one()) {
		return time.Time{}, badAssertion("Invalid token audience", nil)
	}
	if c.ID == "" || len(c.ID) > maxJTI {
		return time.Time{}, signedJWTFailed("jti is missing or too long", nil)
	}
	if c.Expires == nil {
		return time.Time{}, signedJWTFailed("exp is missing", nil)
	}
	until := time.Time(*c.Expires)
	if c.NotBefore != nil && now.Before(time.Time(*c.NotBefore).Add(-clockSkew)) ||
		c.IssuedAt != nil && now.Before(time.Time(*c.IssuedAt).Add(-clockSkew)) {
		return time.Time{}, badAssertion("Token is not active", nil)
	}
	if until.Sub(now) > maxAssertionAge {
		if c.IssuedAt == nil {
			return time.Time{}, signedJWTFailed("exp is too far in the future and there is no iat", nil)
		}
		until = time.Time(*c.IssuedAt).Add(maxAssertionAge)
	}
	if !now.Before(until.Add(clockSkew)) {
		return time.Time{}, badAssertion("Token is not active", nil)
	}
	return until.Add(clockSkew), nil
}

// identifiers are what assertions for this issuer may have as their audience:
// itself, its token endpoint (RFC 7523 §3), the endpoint that requests are
// pushed to (RFC 9126 §2), both also where TLS asks for certificates.
func identifiers(r realm.Realm) []string {
	ids := []string{r.Issuer}
	for _, base := range []string{r.Issuer, r.Alias} {
		if base != "" {
			ids = append(ids, base+"/protocol/openid-connect/token", base+"/protocol/openid-connect/ext/par/request")
		}
	}
	return ids
}

// once uses up the assertion's jti, which is its issuer's own name space.
func (a *Authenticator) once(ctx context.Context, r realm.Realm, kind, issuer, jti string, until time.Time) error {
	err := a.c.Replay.Once(ctx, r, kind, issuer+"\x00"+jti, until)
	switch {
	case err == nil:
		return nil
	case a.c.Replayed == nil || errors.Is(err, a.c.Replayed):
		return badAssertion("Token reuse detected", err)
	default:
		return oauth.ServerError(err)
	}
}

// badAssertion is Keycloak's 400 invalid_client.
func badAssertion(description string, cause error) *oauth.Error {
	return &oauth.Error{Code: oauth.CodeInvalidClient, Description: description, Status: http.StatusBadRequest, Cause: cause}
}

// signedJWT begins Keycloak's texts of assertions that fail.
const signedJWT = "Client authentication with signed JWT failed: "

func signedJWTFailed(why string, cause error) *oauth.Error {
	return badAssertion(signedJWT+why, cause)
}
