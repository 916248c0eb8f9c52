package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/tegata/tegata/internal/jose"
	"github.com/tegata/tegata/issuer/keys"
	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/issuer/sqlstore"
	"github.com/tegata/tegata/revocation"
)

type keysCmd struct {
	List     keysListCmd     `cmd:"" help:"List a realm's signing keys."`
	Rotate   keysRotateCmd   `cmd:"" help:"Make a realm's next signing key; the one before verifies until its last token has expired."`
	Withdraw keysWithdrawCmd `cmd:"" help:"End a signing key that may have leaked, and revoke all that it has signed."`
	Reseal   keysResealCmd   `cmd:"" help:"Seal all private keys with issuer.key_file that another key file has sealed."`
}

// keyring is the keys of the issuer's store, opened for one command.
type keyring struct {
	*keys.Keys
	db     *sqlstore.DB
	realms *realm.Realms
}

// openKeyring opens the store of the configured issuer.
func openKeyring(e *env, f configFlags) (_ *keyring, err error) {
	conf, err := f.load(e)
	if err != nil {
		return nil, err
	}
	if conf.Issuer == nil {
		return nil, conf.doc.at("issuer", "required for tegata keys", "this command opens the issuer's store")
	}
	db, err := openStore(e.ctx, conf.Issuer.Store, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, db.Close())
		}
	}()
	seal, others, err := readSeals(*conf.Issuer)
	if err != nil {
		return nil, err
	}
	k, err := keys.New(keys.Config{Store: stores(db).Keys, Seal: seal, OtherSeals: others, Now: time.Now, Rand: rand.Reader})
	return &keyring{Keys: k, db: db, realms: realm.New(stores(db).Realms, conf.Issuer.BaseURL)}, err
}

// realm finds a realm, or says where realms come from.
func (k *keyring) realm(ctx context.Context, name string) (realm.Realm, error) {
	r, err := k.realms.ByName(ctx, name)
	if errors.Is(err, realm.ErrNotFound) {
		return r, withHint(fmt.Errorf("realm %q is not in the store", name), "the issuer imports the files of issuer.realms when it starts")
	}
	return r, err
}

type keysListCmd struct {
	configFlags `embed:""`
	Realm       string `required:"" placeholder:"NAME" help:"Realm whose keys are listed."`
}

// Run prints the keys that are not retired.
func (c *keysListCmd) Run(e *env) (err error) {
	k, err := openKeyring(e, c.configFlags)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, k.db.Close()) }()
	r, err := k.realm(e.ctx, c.Realm)
	if err != nil {
		return err
	}
	all, err := k.List(e.ctx, r)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "kid\talgorithm\tstatus\tsigns from\tuntil")
	for _, key := range all {
		until := ""
		if !key.Ended.IsZero() {
			until = key.Ended.Format(time.RFC3339)
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", key.ID, key.Algorithm, key.Status, key.SignsFrom.Format(time.RFC3339), until)
	}
	return w.Flush()
}

type keysRotateCmd struct {
	configFlags `embed:""`
	Realm       string `required:"" placeholder:"NAME" help:"Realm whose key is rotated."`
	Algorithm   string `placeholder:"ALG" help:"ES256, RS256 or EdDSA (default: the realm's)."`
	Now         bool   `help:"Sign with the new key at once, not when verifiers have had time to fetch it."`
}

// Run rotates in the store; running issuers notice within seconds.
func (c *keysRotateCmd) Run(e *env) (err error) {
	if c.Algorithm != "" && !slices.Contains(algorithms(), c.Algorithm) {
		return usagef("--algorithm: %q is not one of %v", c.Algorithm, algorithms())
	}
	k, err := openKeyring(e, c.configFlags)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, k.db.Close()) }()
	r, err := k.realm(e.ctx, c.Realm)
	if err != nil {
		return err
	}
	alg := jose.Algorithm(c.Algorithm)
	if alg == "" {
		alg = r.Settings.SigningAlgorithm
	}
	if c.Now {
		kid, err := k.RotateNow(e.ctx, r, alg)
		if err == nil {
			_, err = fmt.Fprintf(e.stdout, "%s: new %s key %s\n", c.Realm, alg, kid)
		}
		return tooMany(err)
	}
	kid, from, err := k.Rotate(e.ctx, r, alg)
	if err == nil {
		_, err = fmt.Fprintf(e.stdout, "%s: new %s key %s, signs from %s\n", c.Realm, alg, kid, from.Format(time.RFC3339))
	}
	return tooMany(err)
}

func tooMany(err error) error {
	if errors.Is(err, keys.ErrTooMany) {
		return withHint(err, "they retire when their last tokens have expired, see tegata keys list; tegata keys withdraw ends one now, and its tokens")
	}
	return err
}

type keysWithdrawCmd struct {
	configFlags `embed:""`
	Realm       string `required:"" placeholder:"NAME" help:"Realm whose key it is."`
	Kid         string `arg:"" help:"Key to withdraw, see tegata keys list."`
}

// Run withdraws in the store; running issuers tell their watchers.
func (c *keysWithdrawCmd) Run(e *env) (err error) {
	k, err := openKeyring(e, c.configFlags)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, k.db.Close()) }()
	r, err := k.realm(e.ctx, c.Realm)
	if err != nil {
		return err
	}
	rev, err := k.Withdraw(revocation.By(e.ctx, revocation.ActorCLI), r, c.Kid)
	if errors.Is(err, keys.ErrUnknown) {
		return withHint(fmt.Errorf("realm %q has no key %q", c.Realm, c.Kid), "tegata keys list shows them")
	}
	if err == nil {
		_, err = fmt.Fprintf(e.stdout, "%s: key %s withdrawn at revision %d\n", c.Realm, c.Kid, rev)
	}
	return err
}

type keysResealCmd struct {
	configFlags `embed:""`
}

// Run seals again in the store.
func (c *keysResealCmd) Run(e *env) (err error) {
	k, err := openKeyring(e, c.configFlags)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, k.db.Close()) }()
	all, err := k.realms.All(e.ctx)
	if err != nil {
		return err
	}
	total := 0
	for _, r := range all {
		n, err := k.Reseal(e.ctx, r)
		if err != nil {
			return err
		}
		total += n
	}
	_, err = fmt.Fprintf(e.stdout, "%d keys sealed again\n", total)
	return err
}

// readSeals reads the key that seals private keys, or makes it, and those of
// other key files, which must be there.
func readSeals(c issuerConfig) (seal []byte, others [][]byte, err error) {
	if seal, err = keys.ReadKeyFile(c.KeyFile, rand.Reader); err != nil {
		return nil, nil, withHint(fmt.Errorf("issuer.key_file: %w", err), "without this file the keys in the store cannot be opened; restore it from a backup")
	}
	for _, path := range c.OtherKeyFiles {
		key, err := keys.ReadExistingKeyFile(path)
		if err != nil {
			return nil, nil, withHint(fmt.Errorf("issuer.other_key_files: %w", err), "a file that nothing is sealed with any more can be left out")
		}
		others = append(others, key)
	}
	return seal, others, nil
}
