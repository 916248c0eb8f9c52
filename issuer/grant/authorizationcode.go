package grant

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"

	"github.com/tegata/tegata/issuer/oauth"
	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/revocation"
)

// authorizationCode is the grant of RFC 6749 §4.1.3. Whatever is wrong with
// the request, the code is spent: a code that met a wrong client, redirect URI
// or verifier has been somewhere it should not have been.
func (h *Handler) authorizationCode(ctx context.Context, req request) (response, error) {
	value := req.form["code"]
	if value == "" {
		return response{}, oauth.InvalidRequest("Missing parameter: code")
	}
	if !req.client.StandardFlowEnabled {
		return response{}, oauth.UnauthorizedClient("Client not allowed to exchange code")
	}
	code, g, err := h.c.Sessions.RedeemCode(ctx, session.Redeeming{
		Realm: req.realm, Code: value, AccessLife: req.accessLife(), Limits: req.limits(),
		Binding: req.refreshBinding(), Check: req.checkCode,
	})
	if err != nil {
		return response{}, h.codeError(err)
	}
	// What this login was worth, not what the session's first one was.
	g.User.ACR, g.User.AuthTime = code.ACR, code.AuthTime
	return h.mintUser(ctx, req, g, minting{kind: "ac", nonce: code.Nonce})
}

// checkCode compares what the code was issued for with who redeems it.
func (req request) checkCode(c session.Code) error {
	if c.ClientID != req.client.ClientID {
		return oauth.InvalidGrant("Auth error: Found different client_id in clientSession")
	}
	if c.RedirectURI != req.form["redirect_uri"] {
		return oauth.InvalidGrant("Incorrect redirect_uri")
	}
	if err := req.checkDPoPKey(c.DPoPKey); err != nil {
		return err
	}
	return checkPKCE(c.CodeChallenge, req.form["code_verifier"])
}

// checkPKCE is RFC 7636 §4.6 for S256, the only method that login accepts. A
// verifier without a challenge is refused too (RFC 9700 §4.8.2: the downgrade).
func checkPKCE(challenge, verifier string) error {
	switch {
	case challenge == "" && verifier == "":
		return nil
	case challenge == "":
		return oauth.InvalidGrant("PKCE code verifier specified but challenge not present in authorization")
	case verifier == "":
		return oauth.InvalidGrant("PKCE code verifier not specified")
	case !validVerifier(verifier):
		return oauth.InvalidGrant("PKCE verification failed: Invalid code verifier")
	}
	sum := sha256.Sum256([]byte(verifier))
	want := base64.RawURLEncoding.EncodeToString(sum[:])
	if subtle.ConstantTimeCompare([]byte(want), []byte(challenge)) != 1 {
		return oauth.InvalidGrant("PKCE verification failed: Code mismatch")
	}
	return nil
}

// validVerifier is the syntax of RFC 7636 §4.1: 43 to 128 unreserved characters.
func validVerifier(v string) bool {
	if len(v) < 43 || len(v) > 128 {
		return false
	}
	for _, c := range []byte(v) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '-', c == '.', c == '_', c == '~':
		default:
			return false
		}
	}
	return true
}

// codeError turns session's errors into protocol errors.
func (h *Handler) codeError(err error) error {
	switch {
	case errors.Is(err, session.ErrCodeReused):
		h.c.Reused(revocation.ReasonCodeReuse)
		return refused("Code not valid", err)
	case errors.Is(err, session.ErrCodeGone):
		return refused("Code not valid", err)
	}
	return deadError(err)
}

// deadError is Keycloak's text for a session that is not alive; other errors
// pass unchanged.
func deadError(err error) error {
	var dead *session.Dead
	if !errors.As(err, &dead) {
		return err
	}
	return refused(deadText(dead.Why), err)
}

func deadText(why string) string {
	switch why {
	case "client session not found":
		return "Session doesn't have required client"
	case "user disabled":
		return "User disabled"
	case "expired":
		return "Token is not active"
	case "revoked":
		return "Stale token"
	default:
		return "Session not active"
	}
}
