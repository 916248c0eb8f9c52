package login

import (
	"context"
	"errors"

	"github.com/tegata/tegata/issuer/client"
	"github.com/tegata/tegata/issuer/oauth"
	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/issuer/token"
)

// complete is the second gate, with what takes more than the request: which
// claims the client may name, and who an ID token is about.
func (h *Handler) complete(ctx context.Context, r realm.Realm, q *request, p parameters, c client.Client) error {
	if err := q.complete(p, c); err != nil {
		return err
	}
	if err := h.nameClaims(r, q, c); err != nil {
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
	q.Whom = append(q.Whom, whom{id.Token.Client, []string{id.Token.Subject}})
	return nil
}
