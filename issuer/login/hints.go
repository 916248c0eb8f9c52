package login

import (
	"context"
	"errors"
	"slices"

	"github.com/tegata/tegata/internal/jose"
	"github.com/tegata/tegata/issuer/client"
	"github.com/tegata/tegata/issuer/oauth"
	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/issuer/token"
)

// complete is the second gate, with what it takes to read an ID token.
func (h *Handler) complete(ctx context.Context, r realm.Realm, q *request, p parameters, c client.Client) error {
	if err := q.complete(p, c); err != nil {
		return err
	}
	hint := p.get("id_token_hint")
	if hint == "" {
		return nil
	}
	id, err := h.c.Tokens.Read(ctx, r, hint)
	if err != nil && !errors.Is(err, token.ErrInvalid) {
		return err
	}
	// An expired one still says who it was about.
	if err != nil || id.Kind != token.ID {
		e := oauth.InvalidRequest("Invalid parameter: id_token_hint")
		e.Cause = err
		return e
	}
	q.UserID = id.Token.Subject
	return nil
}

// acrRequest is a request for acr in the claims parameter (OpenID Connect Core
// §5.5.1.1).
type acrRequest struct {
	IDToken struct {
		ACR struct {
			Essential bool     `json:"essential"`
			Value     string   `json:"value"`
			Values    []string `json:"values"`
		} `json:"acr"`
	} `json:"id_token"`
}

// readACR reads the claims parameter for an acr that must be: one that no login
// here reaches is refused, one that only a login reaches asks for it.
// acr_values are wishes, and what was reached is in the ID token.
func (r *request) readACR(p parameters, _ client.Client) error {
	for _, name := range []string{"claims", "acr_values"} {
		if len(p.get(name)) > maxParameter {
			return oauth.InvalidRequest("Invalid parameter: " + name)
		}
	}
	text := p.get("claims")
	if text == "" {
		return nil
	}
	var asked acrRequest
	if err := jose.ReadClaims([]byte(text), &asked); err != nil {
		return oauth.InvalidRequest("Invalid parameter: claims")
	}
	acr := asked.IDToken.ACR
	if acr.Value != "" {
		acr.Values = append(acr.Values, acr.Value)
	}
	if !acr.Essential || len(acr.Values) == 0 || slices.Contains(acr.Values, acrCookie) {
		return nil
	}
	if !slices.Contains(acr.Values, acrPassword) {
		return &oauth.Error{Code: "unmet_authentication_requirements"}
	}
	r.freshACR = true
	return nil
}
