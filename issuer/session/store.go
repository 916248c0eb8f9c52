package session

import (
	"context"
	"time"

	"github.com/tegata/tegata/revocation"
	"github.com/tegata/tegata/revocation/ssf"
)

// Store keeps sessions and the revocation log. sqlstore implements it, and
// storetest says what an implementation must do.
type Store interface {
	// Read runs f on one snapshot.
	Read(ctx context.Context, f func(View) error) error

	// Write runs f in one transaction and commits it, durably, unless f
	// returns an error. It returns the revision of the last record that f
	// revoked, 0 if it revoked none. f may run twice: it must have no effect
	// but through Tx and what it assigns anew each time.
	Write(ctx context.Context, f func(Tx) error) (revocation.Revision, error)
}

// View reads within one transaction. A single value that is not there is
// ErrNotFound.
type View interface {
	// Revision is the newest committed revision. Whoever mints reads it first.
	Revision() (revocation.Revision, error)

	// The standing of a realm, a client (by client_id), a user. Of one that is
	// not there: the zero Standing.
	RealmStanding(realmID string) (Standing, error)
	ClientStanding(realmID, clientID string) (Standing, error)
	UserStanding(realmID, userID string) (Standing, error)

	// ServiceAccount is the subject of the tokens that a client gets for itself;
	// empty if it gets none.
	ServiceAccount(realmID, clientID string) (string, error)

	UserSession(realmID, sid string) (UserSession, error)
	UserSessionByCookie(realmID string, hash []byte) (UserSession, error)
	UserSessionsOf(realmID, userID string) ([]UserSession, error) // by id, offline ones too
	ClientSession(sid, clientID string) (ClientSession, error)
	ClientSessions(sid string) ([]ClientSession, error)
	Family(id string) (Family, error)
	SingleUse(hash []byte) (SingleUse, error)

	Consent(realmID, userID, clientID string) (Consent, error)
	ConsentsOf(realmID, userID string) ([]Consent, error) // by client_id

	// Notified are the client_ids in a user session of clients that want to be
	// told of its end, in order.
	Notified(realmID, sid string) ([]string, error)

	// DueNotices are up to limit notices that are due at now, the longest due
	// first.
	DueNotices(now time.Time, limit int) ([]Notice, error)

	// Recorded is the newest revision at which a target of an issuer was
	// revoked and that is still in the log, or 0.
	Recorded(issuer string, t revocation.Target) (revocation.Revision, error)

	// EndedSessions are up to limit user sessions that ended before now,
	// oldest end first.
	EndedSessions(now time.Time, limit int) ([]UserSession, error)
}

// Tx is a View that also writes.
type Tx interface {
	View

	PutUserSession(UserSession) error     // by ID
	PutClientSession(ClientSession) error // by SessionID and ClientID
	PutFamily(Family) error               // by ID

	// RotateFamily raises the generation if it is still the presented one,
	// sets Rotated and forgets the reuses; false if it is another.
	RotateFamily(id string, presented uint64, now time.Time) (bool, error)

	// Ending a user session takes its client sessions with it, ending a client
	// session its families. What is not there is no error.
	DeleteUserSession(sid string) error
	DeleteUserSessionsOf(realmID, userID string) error
	DeleteClientSession(sid, clientID string) error

	// PutSingleUse inserts, or replaces the value of the same hash.
	PutSingleUse(SingleUse) error

	PutConsent(Consent) error // by RealmID, UserID and ClientID
	DeleteConsent(realmID, userID, clientID string) error

	// Announce queues an event for each event stream of a realm that wants it.
	// The subjects of its Subject are of the realm's issuer.
	Announce(realmID string, e ssf.Event) error

	// PutNotice inserts, or replaces that of the same session and client.
	PutNotice(Notice) error
	DeleteNotice(sid, clientID string) error
	// TakeNotice puts off a notice that is due as n says; false if it is not,
	// because somebody else took it or it is gone.
	TakeNotice(n Notice, until time.Time) (bool, error)

	// MarkMinted raises MaxAccessExp of the realm and the client.
	MarkMinted(realmID, clientID string, maxAccessExp time.Time) error

	// Revoke writes a record. The store gives it Revision and CommittedAt when
	// the transaction commits, in commit order. A record of a subject, client
	// or issuer also raises NotBefore of that user, client or realm to its
	// revision.
	Revoke(realmID string, r revocation.Record) error

	// Disable disables the user, client or realm that a record with this target
	// is of. The rest of its row stays. What is not there is no error.
	Disable(realmID string, t revocation.Target) error

	// Sweep deletes up to limit each of single-use values, families, records and
	// queued events that expired before now, and returns how many.
	Sweep(now time.Time, limit int) (int, error)
}

// Standing is what a realm, client or user says about everything that hangs
// on it.
type Standing struct {
	Enabled       bool
	NotBefore     revocation.Revision // what was opened at a lower revision is dead
	NotBeforeTime time.Time           // when that was, in whole seconds; zero: never
	MaxAccessExp  time.Time           // when the last access token minted for it expires; realm and client
}

// SingleUse is a value that is good once: an authorization code, the jti of an
// assertion.
type SingleUse struct {
	Hash    []byte // SHA-256 of realm, kind and value
	Kind    string
	Body    []byte // what the value stands for; may be empty
	Used    bool
	Expires time.Time
}
