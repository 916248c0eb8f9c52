// Package realm is a realm and its settings: the tenant that owns clients,
// users, keys and sessions. It must not know any of those.
//
// The idea: a realm is stored as it was configured, zero values included, and
// read with defaults filled in, so that a better default reaches every realm
// that did not choose.
package realm

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/google/uuid"

	"github.com/tegata/tegata/issuer/recent"
)

// ErrNotFound is returned when no such realm exists.
var ErrNotFound = errors.New("realm not found")

// Realm is one realm. Values are immutable once read.
type Realm struct {
	ID       string // UUID
	Name     string // as in /realms/{name}
	Issuer   string // iss of its tokens: base URL + "/realms/" + name; computed, not stored
	Alias    string // as Issuer, where TLS asks clients for certificates (RFC 8705 §5); empty: there is no other place; computed, not stored
	Enabled  bool
	Settings Settings

	// Version is raised by the store with each Put; 0: not from a store.
	Version uint64
}

// validName is what may stand as one segment of a path.
var validName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// check finds what would make r unusable once stored.
func (r Realm) check() error {
	if !validName.MatchString(r.Name) {
		return fmt.Errorf("realm name %q: want 1 to 64 letters, digits, '.', '_' or '-', the first a letter or digit", r.Name)
	}
	return r.Settings.check()
}

// Store keeps realms. sqlstore implements it.
type Store interface {
	Read(ctx context.Context, f func(View) error) error
	Write(ctx context.Context, f func(Tx) error) error
}

// View reads within one transaction.
type View interface {
	RealmByName(name string) (Realm, error) // ErrNotFound
	Realms() ([]Realm, error)               // by name
}

// Tx is a View that also writes. The closure may run twice.
type Tx interface {
	View
	PutRealm(Realm) error // replaces the realm of that name, which keeps its ID
}

// Realms is the service that doors use.
type Realms struct {
	store Store
	base  string
	alias string
	kept  *recent.Cache[string, Realm]
}

// New returns the service. base is the issuer's public URL without a trailing slash.
func New(s Store, base string) *Realms {
	return &Realms{store: s, base: base, kept: recent.New[string, Realm](nil, nil)}
}

// Alias sets another URL at which the same is served, see Realm.Alias.
func (r *Realms) Alias(base string) { r.alias = base }

// Keep keeps what ByName reads, until changes says that the store has changed.
func (r *Realms) Keep(changes func() uint64, now func() time.Time) {
	r.kept = recent.New[string, Realm](changes, now)
}

// ByName returns an enabled or disabled realm with Issuer and default settings filled in.
func (r *Realms) ByName(ctx context.Context, name string) (Realm, error) {
	if !validName.MatchString(name) {
		return Realm{}, ErrNotFound
	}
	found, err := r.kept.Read(name, func() (found Realm, err error) {
		err = r.store.Read(ctx, func(v View) (err error) {
			found, err = v.RealmByName(name)
			return err
		})
		return found, err
	})
	if err != nil {
		return Realm{}, fmt.Errorf("reading realm %s: %w", name, err)
	}
	return r.complete(found), nil
}

// All returns every realm, by name, each as ByName does.
func (r *Realms) All(ctx context.Context) ([]Realm, error) {
	var all []Realm
	err := r.store.Read(ctx, func(v View) (err error) {
		all, err = v.Realms()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading realms: %w", err)
	}
	for i := range all {
		all[i] = r.complete(all[i])
	}
	return all, nil
}

// Put creates or replaces the realm of that name, keeping its ID. It returns
// the realm as ByName would.
func (r *Realms) Put(ctx context.Context, realm Realm) (Realm, error) {
	if err := realm.check(); err != nil {
		return Realm{}, err
	}
	fresh := uuid.NewString()
	realm.Version = 0 // the store's to say
	err := r.store.Write(ctx, func(tx Tx) error {
		old, err := tx.RealmByName(realm.Name)
		switch {
		case err == nil:
			realm.ID = old.ID
		case errors.Is(err, ErrNotFound):
			realm.ID = fresh
		default:
			return err
		}
		return tx.PutRealm(realm)
	})
	if err != nil {
		return Realm{}, fmt.Errorf("writing realm %s: %w", realm.Name, err)
	}
	return r.complete(realm), nil
}

// complete fills in what is not stored.
func (r *Realms) complete(realm Realm) Realm {
	realm.Issuer = r.base + "/realms/" + realm.Name
	if r.alias != "" {
		realm.Alias = r.alias + "/realms/" + realm.Name
	}
	realm.Settings = realm.Settings.WithDefaults()
	return realm
}
