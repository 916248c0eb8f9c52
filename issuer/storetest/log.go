package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/revocation"
)

var logTests = []test{
	{"a record is what was revoked", testRecord},
	{"pages are complete and in order", testPages},
	{"revisions have no gap, whatever was given up", testDense},
	{"whoever revokes wakes who waits", testCommitted},
	{"a reader of the tail misses nothing", testTail},
}

func tokenRecord(id string) revocation.Record {
	return revocation.Record{
		Issuer: "https://id.example/realms/demo", Target: revocation.Target{Kind: revocation.KindToken, ID: id},
		IssuedBefore: noon, ExpiresAt: noon.Add(time.Hour), Reason: revocation.ReasonRevoked,
	}
}

func testRecord(t *testing.T, s Store) {
	epoch, head, err := s.Head(t.Context())
	if err != nil || epoch == "" || len(epoch) > 128 || head != 0 {
		t.Fatalf("Head of a new store = %q, %d, %v", epoch, head, err)
	}
	records, upTo, err := s.Since(t.Context(), 0, 10)
	if err != nil || len(records) != 0 || upTo != 0 {
		t.Fatalf("Since of a new store = %v, %d, %v", records, upTo, err)
	}
	kill := tokenRecord("s-1")
	kill.Target = revocation.Target{Kind: revocation.KindClientSession, ID: "s-1", Client: "shop"}
	forever := revocation.Record{Issuer: kill.Issuer, Target: revocation.Target{Kind: revocation.KindKey, ID: "k"}, Reason: revocation.ReasonRevoked}
	rev, err := s.Sessions().Write(revocation.By(t.Context(), revocation.ActorClient("shop")), func(tx session.Tx) error {
		return errors.Join(tx.Revoke("r-1", kill), tx.Revoke("r-1", forever))
	})
	if rev != 2 || err != nil {
		t.Errorf("Write = %d, %v, want 2", rev, err)
	}
	kill.Actor, forever.Actor = "client:shop", "client:shop"
	records, upTo, err = s.Since(t.Context(), 0, 10)
	if err != nil || len(records) != 2 || upTo != 2 {
		t.Fatalf("Since = %v, %d, %v", records, upTo, err)
	}
	for i, want := range []revocation.Record{kill, forever} {
		if records[i].CommittedAt.IsZero() {
			t.Error("nothing says when it was committed")
		}
		want.Revision, want.CommittedAt = revocation.Revision(i+1), records[i].CommittedAt
		same(t, "the record", want, records[i])
	}
	again, _, err := s.Head(t.Context())
	if err != nil || again != epoch {
		t.Errorf("the epoch is %q, was %q, %v", again, epoch, err)
	}
	read(t, s, func(v session.View) error {
		for target, want := range map[revocation.Target]revocation.Revision{
			kill.Target:    1,
			forever.Target: 2,
			{Kind: revocation.KindClientSession, ID: "s-1"}:                 0,
			{Kind: revocation.KindSession, ID: "s-1"}:                       0,
			{Kind: revocation.KindClientSession, ID: "s-1", Client: "Shop"}: 0,
		} {
			if got, err := v.Recorded(kill.Issuer, target); got != want || err != nil {
				t.Errorf("Recorded(%+v) = %d, %v, want %d", target, got, err, want)
			}
			if got, err := v.Recorded("https://other.example", target); got != 0 || err != nil {
				t.Errorf("another issuer's Recorded(%+v) = %d, %v", target, got, err)
			}
		}
		return nil
	})
}

func testPages(t *testing.T, s Store) {
	const n = 25
	for i := range n {
		write(t, s, func(tx session.Tx) error { return tx.Revoke("r-1", tokenRecord(fmt.Sprint(i))) })
	}
	for limit := 1; limit <= n+1; limit++ {
		all, err := since(t.Context(), s, 0, limit)
		if err != nil || len(all) != n {
			t.Fatalf("in pages of %d: %d records, %v", limit, len(all), err)
		}
		for i, r := range all {
			if r.Revision != revocation.Revision(i+1) || r.Target.ID != fmt.Sprint(i) {
				t.Fatalf("in pages of %d: record %d is %+v", limit, i, r)
			}
		}
	}
	page, upTo, err := s.Since(t.Context(), 10, 5)
	if err != nil || len(page) != 5 || page[0].Revision != 11 || upTo != 15 {
		t.Errorf("Since(10, 5) = %v, %d, %v", page, upTo, err)
	}
	page, upTo, err = s.Since(t.Context(), n+9, 5)
	if err != nil || len(page) != 0 || upTo != n+9 {
		t.Errorf("Since beyond the head = %v, %d, %v: never less than asked", page, upTo, err)
	}
	for _, limit := range []int{0, -1} {
		if _, _, err := s.Since(t.Context(), 0, limit); err == nil {
			t.Errorf("a limit of %d is accepted", limit)
		}
	}
}

func testDense(t *testing.T, s Store) {
	for i := range 10 {
		_, err := s.Sessions().Write(t.Context(), func(tx session.Tx) error {
			if err := errors.Join(tree(tx, "gone"), tx.Revoke("r-1", tokenRecord("gone"))); err != nil {
				return err
			}
			return errAbort
		})
		if !errors.Is(err, errAbort) {
			t.Fatalf("Write = %v, want what f returned", err)
		}
		rev := write(t, s, func(tx session.Tx) error { return tx.Revoke("r-1", tokenRecord(fmt.Sprint(i))) })
		if rev != revocation.Revision(i+1) {
			t.Fatalf("revision %d, want %d", rev, i+1)
		}
		if rev := write(t, s, func(tx session.Tx) error { return tree(tx, "kept") }); rev != 0 {
			t.Errorf("a write that revokes nothing has revision %d", rev)
		}
	}
	same(t, "sessions", "kept kept/app kept/shop kept/app/family kept/shop/family ", left(t, s, "gone", "kept"))
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Sessions().Write(canceled, func(tx session.Tx) error { return tx.Revoke("r-1", tokenRecord("late")) }); err == nil {
		t.Error("a cancelled write succeeded")
	}
	if _, head, err := s.Head(t.Context()); head != 10 || err != nil {
		t.Errorf("head = %d, %v", head, err)
	}
}

func testCommitted(t *testing.T, s Store) {
	drain := func() bool {
		select {
		case <-s.Committed():
			return true
		default:
			return false
		}
	}
	drain()
	write(t, s, func(tx session.Tx) error { return tree(tx, "a") })
	if drain() {
		t.Error("woken by a write that revoked nothing")
	}
	for i := range 3 { // nobody reads: the committer does not wait
		write(t, s, func(tx session.Tx) error { return tx.Revoke("r-1", tokenRecord(fmt.Sprint(i))) })
	}
	if !drain() {
		t.Error("not woken")
	}
	if drain() {
		t.Error("woken twice: the newest wins")
	}
}

// testTail: writers commit, some give up, and who follows the log by Since
// sees each record once and in order.
func testTail(t *testing.T, s Store) {
	const writers, each = 16, 25
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			// Whatever is committed together, each is written down as its own actor's.
			ctx := revocation.By(t.Context(), revocation.ActorClient(fmt.Sprint(w)))
			for i := range each {
				_, err := s.Sessions().Write(ctx, func(tx session.Tx) error {
					err := errors.Join(tx.Revoke("r-1", tokenRecord(fmt.Sprint(w, ".", i))), tx.Revoke("r-1", tokenRecord(fmt.Sprint(w, ".", i, "+"))))
					if (w+i)%3 == 0 {
						err = errors.Join(err, errAbort)
					}
					return err
				})
				if err != nil && !errors.Is(err, errAbort) {
					t.Error(err)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	var seen revocation.Revision
	ids := map[string]bool{}
	for running := true; running; {
		select {
		case <-done:
			running = false // and once more
		default:
		}
		page, upTo, err := s.Since(t.Context(), seen, 7)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range page {
			if r.Revision != seen+1 || ids[r.Target.ID] {
				t.Fatalf("after %d came %d (%s)", seen, r.Revision, r.Target.ID)
			}
			if w, _, _ := strings.Cut(r.Target.ID, "."); r.Actor != revocation.ActorClient(w) {
				t.Fatalf("%s was revoked by %q", r.Target.ID, r.Actor)
			}
			seen, ids[r.Target.ID] = r.Revision, true
		}
		if upTo != seen {
			t.Fatalf("complete up to %d, but the last record is %d", upTo, seen)
		}
		running = running || len(page) > 0
	}
	want := 0
	for w := range writers {
		for i := range each {
			if (w+i)%3 != 0 {
				want += 2
			}
		}
	}
	if len(ids) != want {
		t.Errorf("%d records seen, want %d", len(ids), want)
	}
}
