package clientauth

import (
	"context"
	"errors"
	"strings"

	"github.com/tegata/tegata/internal/jose"
	"github.com/tegata/tegata/issuer/client"
	"github.com/tegata/tegata/issuer/oauth"
	"github.com/tegata/tegata/issuer/realm"
)

// maxSubject bounds the sub of an assertion about a person, in bytes.
const maxSubject = 255

// bearerAccept: what says about a person that it may be spoken for is a plain
// JWT, never an access token (RFC 8725 §3.11).
var bearerAccept = jose.Accept{Algorithms: jose.SigningAlgorithms(), Types: []string{"", "JWT"}}

// Vouched returns the subject of an assertion that client c brings about a
// person (RFC 7523 §2.1, §3): one of an issuer that c's assertions are taken
// from, for this realm, used once. What is wrong with it is invalid_grant
// (§3.1).
func (a *Authenticator) Vouched(ctx context.Context, r realm.Realm, c client.Client, assertion string) (string, error) {
	header, payload, err := jose.Unverified(assertion)
	if err != nil {
		return "", badGrant("The assertion is malformed", err)
	}
	var unverified claims
	if err := jose.ReadClaims(payload, &unverified); err != nil {
		return "", badGrant("The assertion is malformed", err)
	}
	uri, trusted := c.AssertionIssuers()[unverified.Issuer]
	if !trusted {
		return "", badGrant("No trusted issuer found for provided assertion", nil)
	}
	set, err := a.remotes.set(ctx, uri, header.KeyID)
	if err != nil {
		return "", badGrant("Unable to load public key", err)
	}
	if _, _, err := set.Verify(assertion, bearerAccept); err != nil {
		return "", badGrant("Invalid signature", err)
	}
	said := unverified // and verified now: both are of one string
	if said.Subject == "" || len(said.Subject) > maxSubject {
		return "", badGrant("Missing claim: sub", nil)
	}
	until, err := checkClaims(said, r, a.c.Now())
	if err != nil {
		return "", asGrant(err)
	}
	return said.Subject, asGrant(a.once(ctx, r, "assertion", said.Issuer, said.ID, until))
}

func badGrant(description string, cause error) *oauth.Error {
	e := oauth.InvalidGrant(description)
	e.Cause = cause
	return e
}

// asGrant says of a grant what was said of a client's authentication.
func asGrant(err error) error {
	var e *oauth.Error
	if errors.As(err, &e) && e.Code == oauth.CodeInvalidClient {
		return badGrant(strings.TrimPrefix(e.Description, signedJWT), err)
	}
	return err
}
