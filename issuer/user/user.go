// Package user is people: their credentials and attributes. It must not know
// sessions, tokens, passwords in clear or HTTP.
//
// The idea: a username is kept and compared in lower case (Keycloak 26), so
// that no two people differ in case alone; the ID never changes and is what
// tokens and sessions know.
package user

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/revocation/ssf"
)

// ErrNotFound is returned when no such user exists.
var ErrNotFound = errors.New("user not found")

// User is one person in a realm.
type User struct {
	ID            string `json:"id"` // UUID; the sub of their tokens
	RealmID       string `json:"-"`
	Username      string `json:"username"` // lower case, unique in the realm
	Enabled       bool   `json:"enabled"`
	Email         string `json:"email,omitempty"`
	EmailVerified bool   `json:"emailVerified,omitempty"`
	FirstName     string `json:"firstName,omitempty"`
	LastName      string `json:"lastName,omitempty"`

	Attributes map[string][]string `json:"attributes,omitempty"`
	Roles      realm.Roles         `json:"roles,omitzero"`   // given to them directly
	Groups     []string            `json:"groups,omitempty"` // paths, see realm.Settings.GroupPath

	PasswordHash string `json:"-"` // PHC string, argon2id
}

// Store keeps users. sqlstore implements it.
type Store interface {
	Read(ctx context.Context, f func(View) error) error
	Write(ctx context.Context, f func(Tx) error) error
}

// View reads within one transaction.
type View interface {
	UserByUsername(realmID, username string) (User, error) // ErrNotFound
	UserByID(realmID, id string) (User, error)             // ErrNotFound
}

// Tx is a View that also writes. The closure may run twice.
type Tx interface {
	View
	PutUser(User) error // replaces the user of that realm and username, who keeps the ID

	// Announce queues an event, as in session.Tx.
	Announce(realmID string, e ssf.Event) error
}

// Limits on what is stored, in bytes.
const (
	maxUsername = 255
	maxID       = 64
	maxField    = 1024      // each of email, names and password hash
	maxUser     = 256 << 10 // a user as JSON
)

// Users is the service that doors use.
type Users struct {
	store Store
	now   func() time.Time
}

// New returns the service.
func New(s Store, now func() time.Time) *Users { return &Users{store: s, now: now} }

// ByUsername returns the user, also when disabled. Case does not matter.
func (u *Users) ByUsername(ctx context.Context, r realm.Realm, username string) (User, error) {
	if !validUsername(username) {
		return User{}, ErrNotFound
	}
	username = strings.ToLower(username)
	return u.read(ctx, func(v View) (User, error) { return v.UserByUsername(r.ID, username) })
}

// ByID returns the user, also when disabled.
func (u *Users) ByID(ctx context.Context, r realm.Realm, id string) (User, error) {
	if id == "" || len(id) > maxID || !utf8.ValidString(id) {
		return User{}, ErrNotFound
	}
	return u.read(ctx, func(v View) (User, error) { return v.UserByID(r.ID, id) })
}

func (u *Users) read(ctx context.Context, f func(View) (User, error)) (found User, err error) {
	err = u.store.Read(ctx, func(v View) (err error) {
		found, err = f(v)
		return err
	})
	if err != nil {
		return User{}, fmt.Errorf("reading user: %w", err)
	}
	return found, nil
}

// Put creates or replaces the user of that username, keeping the ID.
func (u *Users) Put(ctx context.Context, user User) (User, error) {
	if err := user.check(); err != nil {
		return User{}, err
	}
	user.Username = strings.ToLower(user.Username)
	fresh := cmp.Or(user.ID, uuid.NewString())
	err := u.store.Write(ctx, func(tx Tx) error {
		old, err := tx.UserByUsername(user.RealmID, user.Username)
		switch {
		case err == nil:
			user.ID = old.ID
			if err := announce(tx, old, user, u.now()); err != nil {
				return err
			}
		case errors.Is(err, ErrNotFound):
			user.ID = fresh
		default:
			return err
		}
		return tx.PutUser(user)
	})
	if err != nil {
		return User{}, fmt.Errorf("writing user %q: %w", user.Username, err)
	}
	return user, nil
}

// check finds what would make u unusable once stored.
func (u User) check() error {
	switch {
	case u.RealmID == "":
		return fmt.Errorf("user %q: belongs to no realm", u.Username)
	case !validUsername(u.Username):
		return fmt.Errorf("username %.100q: want 1 to %d bytes without control characters or space around them", u.Username, maxUsername)
	}
	for _, field := range []string{u.Email, u.FirstName, u.LastName, u.PasswordHash} {
		if len(field) > maxField || !utf8.ValidString(field) {
			return fmt.Errorf("user %q: a field is longer than %d bytes or no UTF-8", u.Username, maxField)
		}
	}
	encoded, err := json.Marshal(u)
	if err != nil {
		return fmt.Errorf("user %q: encoding: %w", u.Username, err)
	}
	if len(encoded) > maxUser {
		return fmt.Errorf("user %q: larger than %d bytes as JSON", u.Username, maxUser)
	}
	return nil
}

func validUsername(name string) bool {
	return name != "" && len(name) <= maxUsername && utf8.ValidString(name) &&
		strings.TrimSpace(name) == name && !strings.ContainsFunc(name, unicode.IsControl)
}
