package receiver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/tegata/tegata/internal/jose"
	"github.com/tegata/tegata/internal/jwks"
	"github.com/tegata/tegata/issuer/oauth"
	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/revocation"
)

// logoutEvent is the member of events by which a logout token says that it is
// one (OpenID Connect Back-Channel Logout 1.0 §2.4).
const logoutEvent = "http://schemas.openid.net/event/backchannel-logout"

// logoutTypes are the typ of logout tokens: explicit as §2.4 recommends it, or
// what issuers sent before that. The events member tells them from others.
var logoutTypes = []string{"logout+jwt", "JWT", ""}

// maxID bounds every identifier, in bytes: a record is kept and sent with it.
const maxID = 512

// logoutClaims are what §2.4 and §2.6 are about.
type logoutClaims struct {
	Issuer   string                     `json:"iss"`
	Subject  string                     `json:"sub"`
	Session  string                     `json:"sid"`
	Audience jose.Texts                 `json:"aud"`
	ID       string                     `json:"jti"`
	IssuedAt *seconds                   `json:"iat"`
	Expires  *seconds                   `json:"exp"`
	Events   map[string]json.RawMessage `json:"events"`
	Nonce    json.RawMessage            `json:"nonce"`
}

// logout answers one logout request (§2.5 to §2.8).
func (r *receiver) logout(w http.ResponseWriter, req *http.Request) {
	ctx := req.Context()
	form, err := oauth.ParseForm(req)
	if err == nil && form["logout_token"] == "" {
		err = oauth.InvalidRequest("logout_token not provided")
	}
	if err != nil {
		r.count(ctx, ByLogout, Refused, err)
		oauth.WriteError(w, err)
		return
	}
	c, err := r.readLogout(ctx, form["logout_token"])
	if err == nil {
		err = r.revoke(ctx, []revocation.Record{r.ended(c)}, "logout "+c.ID, c.Expires.time(), w, req)
	}
	result, err := logoutAnswer(err)
	r.count(ctx, ByLogout, result, err)
	if err != nil {
		oauth.WriteError(w, err)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
}

// logoutAnswer is what is said and counted of an outcome. §2.8 has 400 for
// whatever fails; what is our own failure is 5xx here, so that an issuer that
// tries again does.
func logoutAnswer(err error) (Result, error) {
	var said *oauth.Error
	switch {
	case err == nil:
		return Revoked, nil
	case errors.Is(err, session.ErrReplayed): // §2.6, its first optional check
		e := oauth.InvalidRequest("This logout token was used before")
		e.Cause = err
		return Repeated, e
	case errors.Is(err, jwks.ErrUnavailable):
		return Failed, unavailable(err)
	case errors.As(err, &said):
		return Refused, err
	case isVerdict(err):
		e := oauth.InvalidRequest("The logout token does not verify")
		e.Cause = err
		return Refused, e
	}
	return Failed, err
}

// isVerdict reports whether a token was read and found wanting.
func isVerdict(err error) bool {
	for _, verdict := range []error{jose.ErrMalformed, jose.ErrAlgorithm, jose.ErrType, jose.ErrUnknownKey, jose.ErrSignature} {
		if errors.Is(err, verdict) {
			return true
		}
	}
	return false
}

// readLogout verifies a logout token as §2.6 demands.
func (r *receiver) readLogout(ctx context.Context, compact string) (logoutClaims, error) {
	var c logoutClaims
	payload, err := r.verified(ctx, r.keys, compact, logoutTypes...)
	if err != nil {
		return c, err
	}
	if err := jose.ReadClaims(payload, &c); err != nil {
		return c, oauth.InvalidRequest("A claim of the logout token is of the wrong type")
	}
	if wrong := r.wrongLogout(c, r.c.Now()); wrong != "" {
		return c, oauth.InvalidRequest("The logout token does not verify: " + wrong)
	}
	return c, nil
}

// wrongLogout names the first claim that is wrong, or "".
func (r *receiver) wrongLogout(c logoutClaims, now time.Time) string {
	event := strings.TrimSpace(string(c.Events[logoutEvent]))
	switch {
	case c.Issuer != r.Issuer:
		return "iss"
	case !slices.ContainsFunc(c.Audience, func(a string) bool { return slices.Contains(r.ClientIDs, a) }):
		return "aud"
	case c.IssuedAt == nil || c.IssuedAt.time().After(now.Add(skew)):
		return "iat"
	case c.Expires == nil || !now.Before(c.Expires.time()):
		return "exp"
	case !identifier(c.ID):
		return "jti"
	case !strings.HasPrefix(event, "{"):
		return "events"
	case c.Nonce != nil:
		return "nonce"
	case c.Session == "" && c.Subject == "":
		return "neither sub nor sid"
	case c.Session != "" && !identifier(c.Session):
		return "sid"
	case c.Subject != "" && !identifier(c.Subject):
		return "sub"
	case r.SessionAsSubject && c.Subject == "":
		return "no sub, and tokens of this issuer have no sid"
	}
	return ""
}

// ended is what a logout token kills: the session if it names one, else every
// older token of the person (§2.7).
func (r *receiver) ended(c logoutClaims) revocation.Record {
	t := revocation.Target{Kind: revocation.KindSession, ID: c.Session}
	if c.Session == "" || r.SessionAsSubject {
		t = revocation.Target{Kind: revocation.KindSubject, ID: c.Subject}
	}
	return revocation.Record{Target: t, IssuedBefore: c.IssuedAt.time(), Reason: revocation.ReasonLogout}
}

// identifier reports whether s can be kept and sent.
func identifier(s string) bool { return s != "" && len(s) <= maxID && !strings.Contains(s, "\x00") }

// seconds is a NumericDate within what all that handle times agree on.
type seconds int64

// UnmarshalJSON implements json.Unmarshaler. Fractions are cut off.
func (s *seconds) UnmarshalJSON(b []byte) error {
	var f float64
	if err := json.Unmarshal(b, &f); err != nil {
		return fmt.Errorf("reading a time: %w", err)
	}
	if f < 0 || f > 1<<53 {
		return errors.New("reading a time: out of range")
	}
	*s = seconds(f)
	return nil
}

func (s seconds) time() time.Time { return time.Unix(int64(s), 0) }
