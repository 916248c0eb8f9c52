package issuer

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tegata/tegata/internal/jose"
	"github.com/tegata/tegata/issuer/client"
	"github.com/tegata/tegata/issuer/realm"
)

// keepKeys is how long a key is published after it has stopped to sign, at
// least: longer than tokens live, also if somebody has lowered that since.
const keepKeys = 24 * time.Hour

// ensureKeys makes the keys that the realm and its clients ask for.
func (i *Issuer) ensureKeys(ctx context.Context, r realm.Realm) error {
	asked, err := i.asked(ctx, r)
	if err != nil {
		return err
	}
	return i.keys.Ensure(ctx, r, asked.algorithms...)
}

// maintainKeys rotates keys whose time has come, and retires those whose last
// token has expired.
func (i *Issuer) maintainKeys(ctx context.Context) error {
	all, err := i.realms.All(ctx)
	if err != nil {
		return err
	}
	for _, r := range all {
		asked, err := i.asked(ctx, r)
		if err != nil {
			return err
		}
		m, err := i.keys.Maintain(ctx, r, max(keepKeys, 2*asked.life))
		if err != nil {
			return err
		}
		if m.Made+m.Retired+m.Resealed > 0 {
			i.c.Logger.InfoContext(ctx, "maintained signing keys", "realm", r.Name,
				"made", m.Made, "passive", m.Passive, "retired", m.Retired, "resealed", m.Resealed)
		}
	}
	return nil
}

// asked is what a realm's clients ask of its keys.
type asked struct {
	algorithms []jose.Algorithm // beside the realm's
	life       time.Duration    // of the longest-lived access tokens
}

func (i *Issuer) asked(ctx context.Context, r realm.Realm) (asked, error) {
	a := asked{life: r.Settings.WithDefaults().AccessTokenLifespan}
	err := i.c.Stores.Clients.Read(ctx, func(v client.View) error {
		clients, err := v.Clients(r.ID)
		for _, c := range clients {
			a.life = max(a.life, c.Lifespans().AccessToken)
			for _, alg := range []jose.Algorithm{c.AccessTokenAlgorithm(), c.IDTokenAlgorithm(), c.ResponseAlgorithm(), c.UserInfoAlgorithm()} {
				if alg != "" && !slices.Contains(a.algorithms, alg) {
					a.algorithms = append(a.algorithms, alg)
				}
			}
		}
		return err
	})
	if err != nil {
		return asked{}, fmt.Errorf("reading the clients of realm %s: %w", r.Name, err)
	}
	return a, nil
}
