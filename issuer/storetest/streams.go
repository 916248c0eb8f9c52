package storetest

import (
	"errors"
	"testing"
	"time"

	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/issuer/stream"
	"github.com/tegata/tegata/issuer/user"
	"github.com/tegata/tegata/revocation"
	"github.com/tegata/tegata/revocation/ssf"
)

var streamTests = []test{
	{"a stream comes back as it was put", testPutStream},
	{"an event is queued for each stream that wants it", testAnnounce},
	{"an event that is given up with its transaction is not queued", testAnnounceAborted},
	{"what is due is taken by one alone", testTakeEvent},
	{"events that are too old are swept", testSweepEvents},
}

// aStream wants one type of event.
func aStream(id, realmID, clientID string) stream.Stream {
	return stream.Stream{
		ID: id, RealmID: realmID, ClientID: clientID, Method: ssf.DeliveryPush, URL: "https://rp.example/events", Sealed: []byte{0, 1, 255},
		Requested: []string{ssf.SessionRevoked, "https://example.com/unknown"}, Description: "a \"b\"", Status: stream.Enabled, Reason: "r",
	}
}

func streams(t testing.TB, s Store, f func(stream.Tx) error) {
	t.Helper()
	if err := s.Streams().Write(t.Context(), f); err != nil {
		t.Fatal(err)
	}
}

// queued are the events of a stream.
func queued(t testing.TB, s Store, id string) (all []stream.Event) {
	t.Helper()
	err := s.Streams().Read(t.Context(), func(v stream.View) (err error) {
		all, err = v.Queued(id, 100)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func testPutStream(t *testing.T, s Store) {
	want := aStream("a", "r-1", "shop")
	other := aStream("b", "r-2", "shop")
	streams(t, s, func(tx stream.Tx) error { return errors.Join(tx.PutStream(want), tx.PutStream(other)) })
	want.Method, want.URL, want.Sealed, want.Status, want.Reason = ssf.DeliveryPoll, "", nil, stream.Paused, ""
	streams(t, s, func(tx stream.Tx) error { return tx.PutStream(want) })
	err := s.Streams().Read(t.Context(), func(v stream.View) error {
		got, err := v.StreamOf("r-1", "shop")
		same(t, "by client", want, got)
		byID, err2 := v.Stream("b")
		same(t, "by id", other, byID)
		if _, err := v.StreamOf("r-1", "app"); !errors.Is(err, stream.ErrNotFound) {
			t.Errorf("another client: %v", err)
		}
		if _, err := v.Stream("A"); !errors.Is(err, stream.ErrNotFound) {
			t.Errorf("another id: %v", err)
		}
		return errors.Join(err, err2)
	})
	if err != nil {
		t.Fatal(err)
	}
	streams(t, s, func(tx stream.Tx) error { return errors.Join(tx.DeleteStream("a"), tx.DeleteStream("none")) })
	err = s.Streams().Read(t.Context(), func(v stream.View) error {
		if _, err := v.Stream("a"); !errors.Is(err, stream.ErrNotFound) {
			t.Errorf("deleted: %v", err)
		}
		_, err := v.Stream("b")
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

var happening = ssf.Event{Type: ssf.SessionRevoked, Subject: ssf.OfSession("S", "U"), At: noon}

func testAnnounce(t *testing.T, s Store) {
	wants, paused, off, other := aStream("wants", "r-1", "a"), aStream("paused", "r-1", "b"), aStream("off", "r-1", "c"), aStream("other", "r-2", "a")
	deaf := aStream("deaf", "r-1", "d")
	paused.Status, off.Status, deaf.Requested = stream.Paused, stream.Disabled, []string{ssf.CredentialChange}
	streams(t, s, func(tx stream.Tx) error {
		return errors.Join(tx.PutStream(wants), tx.PutStream(paused), tx.PutStream(off), tx.PutStream(other), tx.PutStream(deaf))
	})
	write(t, s, func(tx session.Tx) error { return tx.Announce("r-1", happening) })
	for id, n := range map[string]int{"wants": 1, "paused": 1, "off": 0, "other": 0, "deaf": 0} {
		all := queued(t, s, id)
		if len(all) != n {
			t.Errorf("%s: %d events, want %d", id, len(all), n)
			continue
		}
		for _, e := range all {
			if e.ID == "" {
				t.Error("an event without jti")
			}
			e.ID, e.Event.At = "", e.Event.At.UTC()
			same(t, id, stream.Event{StreamID: id, RealmID: "r-1", Event: happening, Created: noon, Due: noon, Expires: noon.Add(stream.Life)}, e)
		}
	}
	// A person's is one of the same kind.
	change := ssf.Event{Type: ssf.CredentialChange, Subject: ssf.OfPerson("U"), At: noon}
	if err := s.Users().Write(t.Context(), func(tx user.Tx) error { return tx.Announce("r-1", change) }); err != nil {
		t.Fatal(err)
	}
	if n := len(queued(t, s, "deaf")); n != 1 {
		t.Errorf("%d events of a person, want 1", n)
	}
	streams(t, s, func(tx stream.Tx) error { return tx.DeleteStream("wants") })
	if n := len(queued(t, s, "wants")); n != 0 {
		t.Errorf("%d events of a stream that is gone", n)
	}
}

func testAnnounceAborted(t *testing.T, s Store) {
	streams(t, s, func(tx stream.Tx) error { return tx.PutStream(aStream("a", "r-1", "shop")) })
	_, err := s.Sessions().Write(t.Context(), func(tx session.Tx) error {
		return errors.Join(tx.Revoke("r-1", revocation.Record{Issuer: "i", Target: revocation.Target{Kind: revocation.KindSession, ID: "S"}}),
			tx.Announce("r-1", happening), errAbort)
	})
	if !errors.Is(err, errAbort) || len(queued(t, s, "a")) != 0 {
		t.Errorf("%v, %d events", err, len(queued(t, s, "a")))
	}
}

func testTakeEvent(t *testing.T, s Store) {
	pushed, paused, polled := aStream("pushed", "r-1", "a"), aStream("paused", "r-1", "b"), aStream("polled", "r-1", "c")
	paused.Status, polled.Method = stream.Paused, ssf.DeliveryPoll
	event := func(id, jti string, due time.Duration) stream.Event {
		return stream.Event{StreamID: id, ID: jti, RealmID: "r-1", Event: happening, Created: noon, Due: noon.Add(due), Expires: noon.Add(time.Hour)}
	}
	streams(t, s, func(tx stream.Tx) error {
		return errors.Join(tx.PutStream(pushed), tx.PutStream(paused), tx.PutStream(polled),
			tx.PutEvent(event("pushed", "2", time.Second)), tx.PutEvent(event("pushed", "1", 0)), tx.PutEvent(event("pushed", "3", time.Minute)),
			tx.PutEvent(event("paused", "1", 0)), tx.PutEvent(event("polled", "1", 0)))
	})
	var due []stream.Event
	read := func(now time.Time, limit int) {
		t.Helper()
		err := s.Streams().Read(t.Context(), func(v stream.View) (err error) {
			due, err = v.DueEvents(now, limit)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	read(noon.Add(time.Second), 10)
	if len(due) != 2 || due[0].ID != "1" || due[1].ID != "2" {
		t.Errorf("due: %+v", due)
	}
	read(noon.Add(time.Second), 1)
	first := due[0]
	for i, want := range []bool{true, false} {
		streams(t, s, func(tx stream.Tx) error {
			ours, err := tx.TakeEvent(first, noon.Add(time.Hour))
			if ours != want {
				t.Errorf("taken the time %d: %t", i+1, ours)
			}
			return err
		})
	}
	streams(t, s, func(tx stream.Tx) error {
		return errors.Join(tx.DeleteEvent("pushed", "2"), tx.DeleteEvent("pushed", "none"))
	})
	read(noon.Add(time.Minute), 10)
	if len(due) != 1 || due[0].ID != "3" {
		t.Errorf("left: %+v", due)
	}
	streams(t, s, func(tx stream.Tx) error { return tx.DeleteEventsOf("pushed", ssf.CredentialChange) })
	if n := len(queued(t, s, "pushed")); n != 2 {
		t.Errorf("%d after deleting another type, want 2", n)
	}
	streams(t, s, func(tx stream.Tx) error { return tx.DeleteEventsOf("pushed", "") })
	if n := len(queued(t, s, "pushed")); n != 0 {
		t.Errorf("%d after deleting all", n)
	}
	if n := len(queued(t, s, "paused")); n != 1 {
		t.Errorf("%d of another stream, want 1", n)
	}
}

func testSweepEvents(t *testing.T, s Store) {
	streams(t, s, func(tx stream.Tx) error { return tx.PutStream(aStream("a", "r-1", "shop")) })
	write(t, s, func(tx session.Tx) error { return tx.Announce("r-1", happening) })
	for _, step := range []struct {
		now  time.Time
		left int
	}{{noon.Add(stream.Life), 1}, {noon.Add(stream.Life + time.Second), 0}} {
		write(t, s, func(tx session.Tx) error {
			_, err := tx.Sweep(step.now, 10)
			return err
		})
		if n := len(queued(t, s, "a")); n != step.left {
			t.Errorf("%d left at %v, want %d", n, step.now, step.left)
		}
	}
}
