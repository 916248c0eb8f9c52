// Package session is user sessions, client sessions and refresh families:
// open, touch, rotate, end, and what each end revokes. It says, in one place,
// whether a token of this issuer is alive. It must not know HTTP, signatures
// or SQL.
//
//	user session ──► client session ──► refresh family (generation 1, 2, 3 …)
//	 one browser      one client in it    one chain of rotated refresh tokens
//
// What ends together is written together: rows go and a revocation.Record is
// logged in one transaction, which also commits when its answer is a refusal
// (a reused code or refresh token kills, and is refused). Nothing here keeps
// state between calls.
//
// A session is over when its lifetime or idle time has passed, or when it was
// opened before its realm, client or user was killed as a whole: the kill of
// a million sessions is one record and one row (Standing.NotBefore), and the
// rows go when they expire.
//
// There is no audit aggregate yet: each end is one structured log line, after
// the commit.
package session

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/issuer/recent"
	"github.com/tegata/tegata/revocation"
)

// Errors of this package; test with errors.Is. They are the inner layer: the
// doors turn them into protocol errors.
var (
	ErrNotFound   = errors.New("session not found")
	ErrCodeReused = errors.New("authorization code used twice") // the first use's client session has been ended
	ErrCodeGone   = errors.New("authorization code unknown or expired")
	ErrReused     = errors.New("rotated refresh token used again") // the client session has been ended
	ErrReplayed   = errors.New("single-use value seen before")
	ErrBinding    = errors.New("refresh token not presented as it is bound")
)

// Dead says why a token or session is not alive. Test with errors.As.
type Dead struct{ Why string }

func (d *Dead) Error() string { return "not alive: " + d.Why }

// The texts of Dead.Why.
const (
	NoSession       = "session not found"
	NoClientSession = "client session not found"
	UserDisabled    = "user disabled"
	ClientDisabled  = "client disabled"
	RealmDisabled   = "realm disabled"
	Revoked         = "revoked"
	Expired         = "expired"
)

// UserSession is one login of one person in one browser.
type UserSession struct {
	ID         string // sid, 128 random bits in UUID spelling, never used again
	RealmID    string
	Issuer     string // iss of its tokens
	UserID     string // sub
	Offline    bool   // made by offline_access: it does not end with the browser's
	Origin     string // sid of the session that an offline one grew from
	CookieHash []byte // SHA-256 of the cookie; nil if no browser holds one
	Started    time.Time
	AuthTime   time.Time
	LastSeen   time.Time
	Idle       time.Time // end by idleness, as of LastSeen
	Expires    time.Time // end of max lifetime; zero: none
	RememberMe bool
	ACR        string
	AMR        []string
	IP, Agent  string

	Rev          revocation.Revision // newest revision when it was opened
	MaxAccessExp time.Time           // when its last access token expires
}

// End is when the session ends if nothing happens in it.
func (u UserSession) End() time.Time {
	return first(u.Idle, u.Expires)
}

// ClientSession is one client inside a user session.
type ClientSession struct {
	SessionID string
	ClientID  string // the client_id (azp), not the UUID
	Started   time.Time
	LastSeen  time.Time
	Idle      time.Time // end by idleness, as of LastSeen; zero: none but the user session's
	Expires   time.Time // zero: when the user session ends
	Scope     string    // granted, space separated

	Rev          revocation.Revision // newest revision when it was opened
	MaxAccessExp time.Time           // when its last access token expires
}

// End is when the client session ends if nothing happens in it; zero: with the
// user session.
func (c ClientSession) End() time.Time { return first(c.Idle, c.Expires) }

// over reports whether the client session has ended by itself.
func (c ClientSession) over(now time.Time) bool {
	end := c.End()
	return !end.IsZero() && !now.Before(end)
}

// Family is one chain of rotated refresh tokens.
type Family struct {
	ID         string
	SessionID  string
	ClientID   string
	Scope      string // of this chain, whatever the client session was granted later
	Generation uint64 // of the newest token handed out
	Rotated    time.Time
	Reuses     int       // how often the newest was handed out again
	Expires    time.Time // zero: when the client session ends
	Asked      Asked
	Binding    Binding // what its refresh tokens are bound to
}

// Config configures Sessions.
type Config struct {
	Store  Store
	Now    func() time.Time
	Rand   io.Reader
	Logger *slog.Logger // default: discard

	// Changes is raised by the store with each commit that changes a realm or
	// client or kills all of one; nil: MintPoint reads the store each time.
	Changes func() uint64

	// Announced is called, after a commit, when event streams may have something
	// new; nil: nobody is in a hurry.
	Announced func()
}

// Sessions opens, touches, rotates and ends sessions, and says whether a
// token is alive.
type Sessions struct {
	store   Store
	clock   func() time.Time
	rand    io.Reader
	logger  *slog.Logger
	notices chan struct{}
	points  *recent.Cache[pointKey, point]

	announced func()
}

// New checks the configuration.
func New(c Config) (*Sessions, error) {
	if c.Store == nil || c.Now == nil || c.Rand == nil {
		return nil, errors.New("session: Store, Now and Rand are required")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Announced == nil {
		c.Announced = func() {}
	}
	return &Sessions{
		announced: c.Announced,
		store:     c.Store, clock: c.Now, rand: c.Rand, logger: c.Logger, notices: make(chan struct{}, 1),
		points: recent.New[pointKey, point](c.Changes, c.Now),
	}, nil
}

// now is the time as stores keep it.
func (s *Sessions) now() time.Time { return s.clock().UTC().Truncate(time.Microsecond) }

// write runs f in one transaction. What f returns as its verdict is committed
// and then reported, as it is: a refusal can leave something behind. What f
// returns as its error undoes everything; doing says of a failure where it
// happened.
func (s *Sessions) write(ctx context.Context, doing string, f func(Tx) (verdict, err error)) (revocation.Revision, error) {
	var verdict error
	rev, err := s.store.Write(ctx, func(tx Tx) (err error) {
		verdict, err = f(tx)
		return err
	})
	if err != nil {
		return 0, outcome(err, doing)
	}
	return rev, verdict
}

// newID is 128 random bits, spelled as a UUID.
func (s *Sessions) newID() (string, error) {
	var b [16]byte
	if _, err := io.ReadFull(s.rand, b[:]); err != nil {
		return "", fmt.Errorf("making an id: %w", err)
	}
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:], nil
}

// newSecret is 256 random bits in hexadecimal.
func (s *Sessions) newSecret() (string, error) {
	var b [32]byte
	if _, err := io.ReadFull(s.rand, b[:]); err != nil {
		return "", fmt.Errorf("making a secret: %w", err)
	}
	return hex.EncodeToString(b[:]), nil
}

// hash is what is stored instead of a secret value. Kinds and realms cannot
// answer for each other; no part can run into the next.
func hash(r realm.Realm, kind, value string) []byte {
	h := sha256.New()
	for _, part := range []string{r.ID, kind, value} {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return h.Sum(nil)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
