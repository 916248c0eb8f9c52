// Package stream is event streams: clients that are told of security events of
// their realm (OpenID SSF 1.0), what each wants to hear, and what it has not
// heard yet. It must not know HTTP, signatures or SQL.
//
// Events are announced by the aggregates in which they happen, in the
// transaction that makes them so, and wait in the store: for who delivers
// them, or for the client to ask. One is kept for a week and forgotten then.
package stream

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/issuer/seal"
	"github.com/tegata/tegata/revocation/ssf"
)

// Errors of this package; test with errors.Is.
var (
	ErrNotFound = errors.New("event stream not found")
	ErrExists   = errors.New("the client has an event stream")
)

// The states of a stream (SSF 1.0 §8.1.2).
const (
	Enabled  = "enabled"
	Paused   = "paused"   // events are kept until it goes on
	Disabled = "disabled" // events are lost
)

// How long events are kept, and when they are tried again.
const (
	Life       = 7 * 24 * time.Hour
	firstRetry = 2 * time.Second // doubled with each failure
	lastRetry  = 10 * time.Minute
)

// Types are the events that can be had.
func Types() []string {
	return []string{ssf.SessionRevoked, ssf.TokenClaimsChange, ssf.CredentialChange, ssf.AccountDisabled}
}

// Stream is one client's.
type Stream struct {
	ID          string
	RealmID     string
	ClientID    string
	Method      string // ssf.DeliveryPush or ssf.DeliveryPoll
	URL         string // where to push
	Sealed      []byte // what to authenticate with there; see Streams.Authorization
	Requested   []string
	Description string
	Status      string
	Reason      string // of the status, as whoever set it has said
}

// Wanted are the requested types that can be had.
func (s Stream) Wanted() []string {
	return slices.DeleteFunc(Types(), func(t string) bool { return !slices.Contains(s.Requested, t) })
}

// Event is one event that a stream has not heard.
type Event struct {
	StreamID string
	ID       string // jti
	RealmID  string
	Event    ssf.Event
	Created  time.Time
	Due      time.Time // when it is to be tried next
	Tries    int
	Expires  time.Time
}

// Store keeps streams and what they have not heard. sqlstore implements it.
type Store interface {
	Read(ctx context.Context, f func(View) error) error
	Write(ctx context.Context, f func(Tx) error) error
}

// View reads within one transaction. What is not there is ErrNotFound.
type View interface {
	StreamOf(realmID, clientID string) (Stream, error)
	Stream(id string) (Stream, error)

	// DueEvents are up to limit events of streams that are enabled and pushed,
	// due at now, the longest due first.
	DueEvents(now time.Time, limit int) ([]Event, error)
	// Queued are up to limit events of a stream, the oldest first.
	Queued(streamID string, limit int) ([]Event, error)
}

// Tx is a View that also writes. The closure may run twice.
type Tx interface {
	View
	PutStream(Stream) error       // by ID
	DeleteStream(id string) error // with its events

	PutEvent(Event) error // inserts, or replaces that of the same stream and ID
	// TakeEvent puts off an event that is due as e says; false if it is not.
	TakeEvent(e Event, until time.Time) (bool, error)
	DeleteEvent(streamID, id string) error
	// DeleteEventsOf deletes a stream's events of one type; of all if it is empty.
	DeleteEventsOf(streamID, eventType string) error
}

// Config configures Streams. All fields are required.
type Config struct {
	Store Store
	Now   func() time.Time
	Rand  io.Reader
	Seals [][]byte // sealing keys; the first seals
}

// Streams is the service that doors use.
type Streams struct {
	c     Config
	box   *seal.Box
	fresh chan struct{}
}

// New checks the configuration.
func New(c Config) (*Streams, error) {
	if c.Store == nil || c.Now == nil || c.Rand == nil || len(c.Seals) == 0 {
		return nil, errors.New("stream: every field of Config is required")
	}
	keys := make([][]byte, len(c.Seals))
	for i := range c.Seals {
		var err error
		if keys[i], err = hkdf.Key(sha256.New, c.Seals[i], nil, "tegata event streams", seal.KeySize); err != nil {
			return nil, err
		}
	}
	box, err := seal.New(c.Rand, keys...)
	if err != nil {
		return nil, fmt.Errorf("stream: %w", err)
	}
	return &Streams{c: c, box: box, fresh: make(chan struct{}, 1)}, nil
}

func (s *Streams) now() time.Time { return s.c.Now().UTC().Truncate(time.Microsecond) }

func (s *Streams) newID() (string, error) {
	var b [16]byte
	if _, err := io.ReadFull(s.c.Rand, b[:]); err != nil {
		return "", fmt.Errorf("making an id: %w", err)
	}
	return hex.EncodeToString(b[:]), nil
}

// Create makes a client's stream, enabled; ErrExists if it has one.
func (s *Streams) Create(ctx context.Context, r realm.Realm, st Stream, authorization string) (Stream, error) {
	var err error
	if st.ID, err = s.newID(); err != nil {
		return Stream{}, err
	}
	st.RealmID, st.Status = r.ID, Enabled
	if st.Sealed, err = s.sealed(st, authorization); err != nil {
		return Stream{}, err
	}
	err = s.c.Store.Write(ctx, func(tx Tx) error {
		_, err := tx.StreamOf(r.ID, st.ClientID)
		if err == nil {
			return ErrExists
		}
		if !errors.Is(err, ErrNotFound) {
			return err
		}
		return tx.PutStream(st)
	})
	return st, wrap(err, "creating a stream")
}

// Of is a client's stream.
func (s *Streams) Of(ctx context.Context, r realm.Realm, clientID string) (st Stream, err error) {
	err = s.c.Store.Read(ctx, func(v View) (err error) {
		st, err = v.StreamOf(r.ID, clientID)
		return err
	})
	return st, wrap(err, "reading a stream")
}

// Change changes a client's stream of that id. A nil authorization leaves it as
// it is.
func (s *Streams) Change(ctx context.Context, r realm.Realm, clientID, id string, authorization *string, change func(*Stream)) (Stream, error) {
	var st Stream
	err := s.c.Store.Write(ctx, func(tx Tx) (err error) {
		if st, err = own(tx, r, clientID, id); err != nil {
			return err
		}
		was := st.Status
		change(&st)
		if authorization != nil {
			if st.Sealed, err = s.sealed(st, *authorization); err != nil {
				return err
			}
		}
		if st.Status == Disabled && was != Disabled {
			if err := tx.DeleteEventsOf(id, ""); err != nil {
				return err
			}
		}
		return tx.PutStream(st)
	})
	s.Signal()
	return st, wrap(err, "changing a stream")
}

// Delete deletes a client's stream of that id, and what it has not heard.
func (s *Streams) Delete(ctx context.Context, r realm.Realm, clientID, id string) error {
	err := s.c.Store.Write(ctx, func(tx Tx) error {
		if _, err := own(tx, r, clientID, id); err != nil {
			return err
		}
		return tx.DeleteStream(id)
	})
	return wrap(err, "deleting a stream")
}

// Verify lets a client hear from its stream (SSF 1.0 §8.1.4). One such event
// waits at most, however often it is asked for.
func (s *Streams) Verify(ctx context.Context, r realm.Realm, clientID, id, state string) error {
	jti, err := s.newID()
	if err != nil {
		return err
	}
	now := s.now()
	err = s.c.Store.Write(ctx, func(tx Tx) error {
		if _, err := own(tx, r, clientID, id); err != nil {
			return err
		}
		if err := tx.DeleteEventsOf(id, ssf.Verification); err != nil {
			return err
		}
		return tx.PutEvent(Event{
			StreamID: id, ID: jti, RealmID: r.ID, Created: now, Due: now, Expires: now.Add(Life),
			Event: ssf.Event{Type: ssf.Verification, Subject: ssf.Subject{Format: ssf.FormatOpaque, ID: id}, State: state, At: now},
		})
	})
	s.Signal()
	return wrap(err, "verifying a stream")
}

// own is a client's stream, if it has that id.
func own(v View, r realm.Realm, clientID, id string) (Stream, error) {
	st, err := v.StreamOf(r.ID, clientID)
	if err == nil && st.ID != id {
		err = ErrNotFound
	}
	return st, err
}

// Queued are up to limit events that a stream has not acknowledged.
func (s *Streams) Queued(ctx context.Context, st Stream, limit int) (all []Event, err error) {
	err = s.c.Store.Read(ctx, func(v View) (err error) {
		all, err = v.Queued(st.ID, limit)
		return err
	})
	return all, wrap(err, "reading a stream's events")
}

// Forget forgets events that a stream has heard, or refuses to hear.
func (s *Streams) Forget(ctx context.Context, streamID string, ids ...string) error {
	if len(ids) == 0 {
		return nil
	}
	err := s.c.Store.Write(ctx, func(tx Tx) error {
		for _, id := range ids {
			if err := tx.DeleteEvent(streamID, id); err != nil {
				return err
			}
		}
		return nil
	})
	return wrap(err, "forgetting events")
}

// Take takes up to limit events that are due to be pushed. They are the
// caller's until then, when they fall due for everybody again unless Forget or
// Failed was called.
func (s *Streams) Take(ctx context.Context, limit int, until time.Duration) ([]Event, error) {
	now := s.now()
	var due, taken []Event
	err := s.c.Store.Read(ctx, func(v View) (err error) {
		due, err = v.DueEvents(now, limit)
		return err
	})
	if err != nil || len(due) == 0 {
		return nil, wrap(err, "finding events")
	}
	err = s.c.Store.Write(ctx, func(tx Tx) error {
		taken = taken[:0]
		for _, e := range due {
			ours, err := tx.TakeEvent(e, now.Add(until))
			if err != nil {
				return err
			}
			if ours {
				e.Due = now.Add(until)
				taken = append(taken, e)
			}
		}
		return nil
	})
	return taken, wrap(err, "taking events")
}

// Failed puts an event off, each time for longer. It reports whether it will be
// tried again; else it is forgotten.
func (s *Streams) Failed(ctx context.Context, e Event) (again bool, err error) {
	wait := lastRetry
	if e.Tries < 10 {
		wait = min(wait, firstRetry<<e.Tries)
	}
	e.Tries++
	e.Due = s.now().Add(wait)
	if !e.Due.Before(e.Expires) {
		return false, s.Forget(ctx, e.StreamID, e.ID)
	}
	err = s.c.Store.Write(ctx, func(tx Tx) error {
		if _, err := tx.Stream(e.StreamID); err != nil {
			return err // it is gone, with its events
		}
		return tx.PutEvent(e)
	})
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return true, wrap(err, "putting an event off")
}

// ByID is a stream, whosever it is.
func (s *Streams) ByID(ctx context.Context, id string) (st Stream, err error) {
	err = s.c.Store.Read(ctx, func(v View) (err error) {
		st, err = v.Stream(id)
		return err
	})
	return st, wrap(err, "reading a stream")
}

// Authorization is what a stream's receiver wants in the Authorization field,
// or "".
func (s *Streams) Authorization(st Stream) (string, error) {
	if len(st.Sealed) == 0 {
		return "", nil
	}
	plain, _, ok := s.box.Open(st.Sealed, binding(st))
	if !ok {
		return "", errors.New("the key file does not open a stream's authorization: its client must set it again")
	}
	return string(plain), nil
}

func (s *Streams) sealed(st Stream, authorization string) ([]byte, error) {
	if authorization == "" {
		return nil, nil
	}
	return s.box.Seal([]byte(authorization), binding(st))
}

func binding(st Stream) []byte { return []byte(st.RealmID + "\x00" + st.ID) }

// Fresh is signalled, at some time after they were committed, when there may be
// new events to deliver. Another process's are found by asking.
func (s *Streams) Fresh() <-chan struct{} { return s.fresh }

// Signal signals Fresh.
func (s *Streams) Signal() {
	select {
	case s.fresh <- struct{}{}:
	default:
	}
}

func wrap(err error, doing string) error {
	if err == nil || errors.Is(err, ErrNotFound) || errors.Is(err, ErrExists) {
		return err
	}
	return fmt.Errorf("%s: %w", doing, err)
}
