package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tegata/tegata/internal/jose"
	"github.com/tegata/tegata/issuer/keys"
	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/issuer/sqlstore"
)

type keysCmd struct {
	Rotate keysRotateCmd `cmd:"" help:"Make a new signing key for a realm; the old one verifies until its last token has expired."`
}

type keysRotateCmd struct {
	configFlags `embed:""`
	Realm       string `required:"" placeholder:"NAME" help:"Realm whose key is rotated."`
	Algorithm   string `placeholder:"ALG" help:"ES256, RS256 or EdDSA (default: the realm's)."`
}

// Run rotates in the store; running issuers notice within seconds.
func (c *keysRotateCmd) Run(e *env) (err error) {
	conf, err := c.load(e)
	if err != nil {
		return err
	}
	if conf.Issuer == nil {
		return conf.doc.at("issuer", "required for tegata keys", "this command opens the issuer's store")
	}
	if c.Algorithm != "" && !slices.Contains(algorithms(), c.Algorithm) {
		return usagef("--algorithm: %q is not one of %v", c.Algorithm, algorithms())
	}
	db, err := openStore(e.ctx, conf.Issuer.Store)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	kid, alg, err := c.rotate(e.ctx, *conf.Issuer, db)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(e.stdout, "%s: new %s key %s\n", c.Realm, alg, kid)
	return err
}

func (c *keysRotateCmd) rotate(ctx context.Context, conf issuerConfig, db *sqlstore.DB) (kid string, alg jose.Algorithm, err error) {
	r, err := realm.New(stores(db).Realms, conf.BaseURL).ByName(ctx, c.Realm)
	if errors.Is(err, realm.ErrNotFound) {
		return "", "", withHint(fmt.Errorf("realm %q is not in the store", c.Realm), "the issuer imports the files of issuer.realms when it starts")
	}
	if err != nil {
		return "", "", err
	}
	seal, err := readSeal(conf.KeyFile)
	if err != nil {
		return "", "", err
	}
	k, err := keys.New(keys.Config{Store: stores(db).Keys, Seal: seal, Now: time.Now, Rand: rand.Reader})
	if err != nil {
		return "", "", err
	}
	if alg = jose.Algorithm(c.Algorithm); alg == "" {
		alg = r.Settings.SigningAlgorithm
	}
	kid, err = k.Rotate(ctx, r, alg)
	return kid, alg, err
}

// openStore opens the store, or says what to look at.
func openStore(ctx context.Context, c storeConfig) (*sqlstore.DB, error) {
	db, err := sqlstore.Open(ctx, sqlstore.Config{Path: c.SQLite})
	if err != nil {
		return nil, withHint(fmt.Errorf("issuer.store.sqlite: %w", err), "is its directory there, and writable for tegata?")
	}
	return db, nil
}

// readSeal reads the key that seals private keys, or makes it.
func readSeal(path string) ([]byte, error) {
	seal, err := keys.ReadKeyFile(path, rand.Reader)
	if err != nil {
		return nil, withHint(fmt.Errorf("issuer.key_file: %w", err), "without this file the keys in the store cannot be opened; restore it from a backup")
	}
	return seal, nil
}
