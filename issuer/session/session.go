package session

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"time"

	"github.com/tegata/tegata/issuer/realm"
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
)

// UserSession is one login of one person in one browser.
type UserSession struct {
	ID         string // sid, 128 random bits
	RealmID    string
	UserID     string // sub
	Offline    bool
	Started    time.Time
	AuthTime   time.Time
	LastSeen   time.Time
	Expires    time.Time // end of max lifetime
	RememberMe bool
	ACR        string
	AMR        []string
	IP, Agent  string
}

// ClientSession is one client inside a user session.
type ClientSession struct {
	SessionID string
	ClientID  string // the client_id (azp), not the UUID
	Started   time.Time
	LastSeen  time.Time
	Expires   time.Time
	Scope     string // granted, space separated
}

// Family is one chain of rotated refresh tokens.
type Family struct {
	ID         string
	Generation uint64
	Rotated    time.Time
	Expires    time.Time
}

// Config configures Sessions.
type Config struct {
	Store  Store
	Now    func() time.Time
	Rand   io.Reader
	Logger *slog.Logger
}

// Sessions opens, touches, rotates and ends sessions, and says whether a
// token is alive.
type Sessions struct{}

// New checks the configuration.
func New(c Config) (*Sessions, error) { panic("unbuilt") }

// Login describes a finished authentication.
type Login struct {
	Realm      realm.Realm
	UserID     string
	ACR        string
	AMR        []string
	RememberMe bool
	IP, Agent  string
}

// Open starts a user session and returns the cookie value (256 random bits)
// that stands for it; only its SHA-256 is stored.
func (s *Sessions) Open(ctx context.Context, l Login) (UserSession, string, error) { panic("unbuilt") }

// ByCookie returns the live session of a cookie, or ErrNotFound.
func (s *Sessions) ByCookie(ctx context.Context, r realm.Realm, cookie string) (UserSession, error) {
	panic("unbuilt")
}

// Code is what an authorization code stands for (RFC 6749 §4.1.2).
type Code struct {
	SessionID     string
	ClientID      string
	RedirectURI   string
	Scope         string
	Nonce         string
	CodeChallenge string // S256, empty if none
	ACR           string
	AuthTime      time.Time
}

// IssueCode stores a code and returns its value.
func (s *Sessions) IssueCode(ctx context.Context, r realm.Realm, c Code) (string, error) {
	panic("unbuilt")
}

// Grant is the state that a minted set of tokens vouches for. Rev was read in
// the same transaction as, and before, everything else in it.
type Grant struct {
	User    UserSession
	Client  ClientSession
	Family  Family
	Rev     revocation.Revision
	Expires time.Time // no token of this grant may outlive this (session max)
}

// RedeemCode consumes a code, whatever check says, and unless check (which
// compares client, redirect URI and verifier) returns an error, opens the
// client session and a refresh family. accessLife bounds the access token
// that will be minted. Errors: ErrCodeGone, ErrCodeReused, check's own, *Dead.
func (s *Sessions) RedeemCode(ctx context.Context, r realm.Realm, code string, accessLife time.Duration, check func(Code) error) (Code, Grant, error) {
	panic("unbuilt")
}

// Refreshing is a presented, verified refresh token.
type Refreshing struct {
	Realm      realm.Realm
	SessionID  string
	ClientID   string
	UserID     string
	FamilyID   string
	Generation uint64
	AccessLife time.Duration
}

// Refresh rotates: one compare-and-swap on the family, the same successor
// within the grace window, ErrReused (and the client session's end) otherwise.
// A session that is not alive is *Dead.
func (s *Sessions) Refresh(ctx context.Context, p Refreshing) (Grant, error) { panic("unbuilt") }

// MintPoint is the state that a token without a user session vouches for
// (client credentials): the revision, read first, and that realm and client
// are enabled (else *Dead). accessLife is recorded as the client's high-water mark.
func (s *Sessions) MintPoint(ctx context.Context, r realm.Realm, clientID string, accessLife time.Duration) (revocation.Revision, error) {
	panic("unbuilt")
}

// Subject is what a token claims about itself, for Alive.
type Subject struct {
	Realm realm.Realm
	Token revocation.Token
	// Refresh tokens also name their family.
	FamilyID   string
	Generation uint64
}

// Dead says why a token or session is not alive. Test with errors.As.
type Dead struct{ Why string }

func (d *Dead) Error() string { return "not alive: " + d.Why }

// Alive is the one function that decides whether a token of ours is alive:
// realm, client, user enabled; session and client session there and neither
// idle nor past max; no revocation record matches. It returns nil or *Dead
// (or a store error). Signature and exp are token's business, checked before.
func (s *Sessions) Alive(ctx context.Context, sub Subject) error { panic("unbuilt") }

// RevokeToken kills one access token until exp (RFC 7009).
func (s *Sessions) RevokeToken(ctx context.Context, r realm.Realm, jti string, exp time.Time, why revocation.Reason) (revocation.Revision, error) {
	panic("unbuilt")
}

// EndClientSession ends one client's part of a user session, and the user
// session too if it was the last one (Keycloak 26).
func (s *Sessions) EndClientSession(ctx context.Context, r realm.Realm, sid, clientID string, why revocation.Reason) (revocation.Revision, error) {
	panic("unbuilt")
}

// End ends a user session with all its client sessions. ErrNotFound if there is none.
func (s *Sessions) End(ctx context.Context, r realm.Realm, sid string, why revocation.Reason) (revocation.Revision, error) {
	panic("unbuilt")
}

// EndUser, EndClient and EndRealm kill everything older than now of a
// subject, a client, a realm.
func (s *Sessions) EndUser(ctx context.Context, r realm.Realm, userID string, why revocation.Reason) (revocation.Revision, error) {
	panic("unbuilt")
}

// EndClient: see EndUser.
func (s *Sessions) EndClient(ctx context.Context, r realm.Realm, clientID string, why revocation.Reason) (revocation.Revision, error) {
	panic("unbuilt")
}

// EndRealm: see EndUser.
func (s *Sessions) EndRealm(ctx context.Context, r realm.Realm, why revocation.Reason) (revocation.Revision, error) {
	panic("unbuilt")
}

// Once records a single-use value (an assertion's jti) until it expires;
// ErrReplayed if it was seen before.
func (s *Sessions) Once(ctx context.Context, r realm.Realm, kind, value string, expires time.Time) error {
	panic("unbuilt")
}

// Sweep deletes what has expired, in batches; it writes records first for
// sessions that idled out while access tokens of theirs still live.
func (s *Sessions) Sweep(ctx context.Context) error { panic("unbuilt") }

// Store keeps sessions and the revocation log. sqlstore implements it; its
// owner (this package) states the methods.
type Store interface{}
