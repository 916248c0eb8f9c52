// Package user is people: their credentials and attributes. It must not know
// sessions, tokens or HTTP.
package user

import (
	"context"
	"errors"

	"github.com/tegata/tegata/issuer/realm"
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
	PasswordHash  string `json:"-"` // PHC string, argon2id
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
	PutUser(User) error
}

// Users is the service that doors use.
type Users struct{}

// New returns the service.
func New(s Store) *Users { panic("unbuilt") }

// ByUsername returns the user, also when disabled.
func (u *Users) ByUsername(ctx context.Context, r realm.Realm, username string) (User, error) {
	panic("unbuilt")
}

// ByID returns the user, also when disabled.
func (u *Users) ByID(ctx context.Context, r realm.Realm, id string) (User, error) { panic("unbuilt") }

// Put creates or replaces the user of that username, keeping the ID.
func (u *Users) Put(ctx context.Context, user User) (User, error) { panic("unbuilt") }
