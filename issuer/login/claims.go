package login

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/tegata/tegata/internal/jose"
	"github.com/tegata/tegata/issuer/claims"
	"github.com/tegata/tegata/issuer/client"
	"github.com/tegata/tegata/issuer/oauth"
	"github.com/tegata/tegata/issuer/realm"
)

// claimsRequest is the parameter claims (OpenID Connect Core §5.5). Members
// that are not known are ignored, as it says.
type claimsRequest struct {
	UserInfo map[string]*claimRequest `json:"userinfo"`
	ID       map[string]*claimRequest `json:"id_token"`
}

// claimRequest is how one claim is wanted; null: if it may be (§5.5.1).
type claimRequest struct {
	Essential bool  `json:"essential"`
	Value     any   `json:"value"`
	Values    []any `json:"values"`
}

// texts are the values that a claim should have one of. Where values count
// they are strings.
func (c *claimRequest) texts() ([]string, error) {
	if c == nil {
		return nil, nil
	}
	values := c.Values
	if c.Value != nil {
		values = append(slices.Clone(values), c.Value)
	}
	texts := make([]string, len(values))
	for i, v := range values {
		text, ok := v.(string)
		if !ok {
			return nil, invalidClaims()
		}
		texts[i] = text
	}
	return texts, nil
}

func invalidClaims() error { return oauth.InvalidRequest("Invalid parameter: claims") }

func (r *request) readClaims(p parameters, _ client.Client) error {
	text := p.get("claims")
	if len(text) > maxParameter {
		return invalidClaims()
	}
	if text == "" {
		return nil
	}
	if err := jose.ReadClaims([]byte(text), &r.claims); err != nil {
		return invalidClaims()
	}
	return nil
}

// readACR looks for an acr that must be (§5.5.1.1): one that no login here
// reaches is refused, one that only a login reaches asks for it. acr_values
// are wishes, and what was reached is in the ID token.
func (r *request) readACR(p parameters, _ client.Client) error {
	if len(p.get("acr_values")) > maxParameter {
		return oauth.InvalidRequest("Invalid parameter: acr_values")
	}
	acr := r.claims.ID["acr"]
	values, err := acr.texts()
	if err != nil || len(values) == 0 || !acr.Essential || slices.Contains(values, acrCookie) {
		return err
	}
	if !slices.Contains(values, acrPassword) {
		return &oauth.Error{Code: "unmet_authentication_requirements"}
	}
	r.freshACR = true
	return nil
}

// readSub: a sub with values is who it has to be, essential or not (§5.5.1,
// §3.1.2.2: nothing may be said of anybody else).
func (r *request) readSub(_ parameters, c client.Client) error {
	for _, asked := range []map[string]*claimRequest{r.claims.ID, r.claims.UserInfo} {
		subjects, err := asked["sub"].texts()
		if err != nil {
			return err
		}
		if len(subjects) > 0 {
			r.Whom = append(r.Whom, whom{c.ClientID, subjects})
		}
	}
	return nil
}

// nameClaims keeps of the claims that a request names those that the client
// may be told. Nothing else comes of the rest (§5.5.1: essential or not), and
// of values that were wished for.
func (h *Handler) nameClaims(r realm.Realm, q *request, c client.Client) error {
	asked := claims.Named{UserInfo: slices.Sorted(maps.Keys(q.claims.UserInfo)), ID: slices.Sorted(maps.Keys(q.claims.ID))}
	if asked.IsZero() || !slices.Contains(strings.Fields(q.Scope), "openid") {
		return nil
	}
	may, more := h.c.Claims.Ask(r, c, q.Scope, asked)
	if may.IsZero() {
		return nil
	}
	q.Also = strings.Join(more, " ")
	var err error
	q.Asked.Claims, err = json.Marshal(may)
	return err
}

// consent is the scope that a person lets the client have with a request.
func (r *request) consent() string { return strings.TrimSpace(r.Scope + " " + r.Also) }

// whom is who it has to be: the person who has one of these subjects at a
// client.
type whom struct {
	ClientID string   `json:"c"`
	Subjects []string `json:"s"`
}

// fits reports whether a person is who a request says that it has to be.
func (h *Handler) fits(ctx context.Context, r realm.Realm, q request, userID string) (bool, error) {
	for _, w := range q.Whom {
		c, err := h.c.Clients.ByClientID(ctx, r, w.ClientID)
		if errors.Is(err, client.ErrNotFound) {
			return false, nil // nobody is known there
		}
		if err != nil {
			return false, err
		}
		if !slices.Contains(w.Subjects, h.c.Claims.Subject(r, c, userID)) {
			return false, nil
		}
	}
	return true, nil
}
