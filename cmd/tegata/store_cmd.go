package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/tegata/tegata/issuer"
	"github.com/tegata/tegata/issuer/client"
	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/revocation"
)

type storeCmd struct {
	Restored storeRestoredCmd `cmd:"" help:"Say that the store comes from a backup: what was minted since is revoked."`
}

type storeRestoredCmd struct {
	configFlags `embed:""`
	NothingLost bool `help:"The backup was made after the last issuer had stopped: sessions and tokens stay good."`
}

// Run begins a new epoch of the revocation log. What was revoked after the
// backup was made is not in it, and would be good again; nobody knows what that
// was, so everything that was minted until now is revoked: all people log in
// again.
func (c *storeRestoredCmd) Run(e *env) (err error) {
	conf, err := c.load(e)
	if err != nil {
		return err
	}
	if conf.Issuer == nil {
		return conf.doc.at("issuer", "required for tegata store", "this command opens the issuer's store")
	}
	db, err := openStore(e.ctx, conf.Issuer.Store, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := db.Restored(e.ctx, rand.Reader); err != nil {
		return err
	}
	if c.NothingLost {
		_, err = fmt.Fprintln(e.stdout, "new epoch; nothing is revoked")
		return err
	}
	s := stores(db)
	realms, err := realm.New(s.Realms, conf.Issuer.BaseURL).All(e.ctx)
	if err != nil {
		return err
	}
	for _, r := range realms {
		if err := endRestored(e.ctx, s, r); err != nil {
			return fmt.Errorf("realm %s: %w", r.Name, err)
		}
	}
	_, err = fmt.Fprintf(e.stdout, "new epoch; all sessions and tokens of %d realms are revoked\n", len(realms))
	return err
}

// endRestored revokes all of a realm. The record has to outlive tokens that
// this store does not know of.
func endRestored(ctx context.Context, s issuer.Stores, r realm.Realm) error {
	sessions, err := session.New(session.Config{Store: s.Sessions, Now: time.Now, Rand: rand.Reader, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	life := r.Settings.WithDefaults().AccessTokenLifespan
	if err := s.Clients.Read(ctx, func(v client.View) error {
		all, err := v.Clients(r.ID)
		for _, c := range all {
			life = max(life, c.Lifespans().AccessToken)
		}
		return err
	}); err != nil {
		return err
	}
	if _, err := s.Sessions.Write(ctx, func(tx session.Tx) error {
		return tx.MarkMinted(r.ID, "", time.Now().Add(max(life, 24*time.Hour)))
	}); err != nil {
		return err
	}
	_, err = sessions.EndRealm(ctx, r, revocation.ReasonAdmin)
	return err
}
