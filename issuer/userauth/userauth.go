// Package userauth finds out which person is at the keyboard. It must not know
// sessions, clients or HTTP.
//
// For now there is one way: a password, kept as an argon2id hash. Three things
// hold for it. The work is the same whether or not the user exists, so that
// the time taken does not tell which names do. Hashing is expensive on
// purpose, so only a few run at once and the rest wait their turn. And
// failures are counted per user and address: after a few, further attempts
// fail without being looked at for a while. The counts are in memory and
// bounded: they belong to one process and a restart forgets them.
package userauth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"time"

	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/issuer/user"
)

// Errors of Password; test with errors.Is.
var (
	// ErrInvalid means unknown user or wrong password; which, is not said.
	ErrInvalid = errors.New("invalid username or password")
	// ErrDisabled means the right password of a disabled user.
	ErrDisabled = errors.New("user disabled")
	// ErrLimited means too many failures; the password was not looked at.
	// Tell the caller the same as for ErrInvalid.
	ErrLimited = errors.New("too many failed attempts")
)

// Limits of what is looked at, in bytes.
const (
	MaxUsername = 255
	MaxPassword = 1024
)

// Users is what Authenticator needs of user.Users.
type Users interface {
	ByUsername(ctx context.Context, r realm.Realm, username string) (user.User, error)
}

var _ Users = (*user.Users)(nil)

// Config configures an Authenticator.
type Config struct {
	Users Users
	Now   func() time.Time
	Rand  io.Reader // for the salt of the hash that stands in for unknown users
}

// Authenticator checks passwords.
type Authenticator struct {
	users   Users
	limiter *limiter
	turns   chan struct{} // one slot per hash that may be computed at once
	nobody  string        // hash that unknown users are checked against
}

// New checks the configuration.
func New(c Config) (*Authenticator, error) {
	if c.Users == nil || c.Now == nil || c.Rand == nil {
		return nil, errors.New("userauth: Users, Now and Rand are required")
	}
	// A hash of nothing anyone can send: longer than MaxPassword.
	nobody, err := Hash(c.Rand, string(make([]byte, MaxPassword+1)))
	if err != nil {
		return nil, fmt.Errorf("userauth: %w", err)
	}
	return &Authenticator{
		users:   c.Users,
		limiter: newLimiter(c.Now),
		turns:   make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)),
		nobody:  nobody,
	}, nil
}

// Password returns the enabled user of that name and password. address is the
// caller's, for counting failures. Errors: ErrInvalid, ErrDisabled, ErrLimited,
// a store's, or ctx's while waiting for a turn.
func (a *Authenticator) Password(ctx context.Context, r realm.Realm, username, password, address string) (user.User, error) {
	if len(username) > MaxUsername || len(password) > MaxPassword {
		return user.User{}, ErrInvalid
	}
	key := attempt{realm: r.ID, user: strings.ToLower(username), address: address}
	if !a.limiter.allowed(key) {
		return user.User{}, ErrLimited
	}
	u, err := a.users.ByUsername(ctx, r, username)
	known := err == nil
	if err != nil && !errors.Is(err, user.ErrNotFound) {
		return user.User{}, fmt.Errorf("finding user: %w", err)
	}
	right, err := a.check(ctx, u.PasswordHash, password)
	if err != nil {
		return user.User{}, err
	}
	if !known || !right {
		a.limiter.failed(key)
		return user.User{}, ErrInvalid
	}
	a.limiter.succeeded(key)
	if !u.Enabled {
		return user.User{}, ErrDisabled
	}
	return u, nil
}

// check compares in its turn; without a hash it does the same work in vain.
func (a *Authenticator) check(ctx context.Context, hash, password string) (bool, error) {
	select {
	case a.turns <- struct{}{}:
		defer func() { <-a.turns }()
	case <-ctx.Done():
		return false, fmt.Errorf("waiting to check a password: %w", ctx.Err())
	}
	if hash == "" {
		_, err := Verify(a.nobody, password)
		return false, err
	}
	return Verify(hash, password)
}
