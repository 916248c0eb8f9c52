package storetest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/tegata/tegata/revocation"
)

// Replicas is where the processes that share a store find each other;
// watch.Replicas says the same.
type Replicas interface {
	Beat(ctx context.Context, r revocation.Replica) error
	Replicas(ctx context.Context) ([]revocation.Replica, error)
	Forget(ctx context.Context, id string, beat uint64) error
}

var replicaTests = []test{
	{"a replica's row is what it wrote last", testBeat},
	{"a row is forgotten only at the beat that was seen", testForget},
	{"who looks after a beat sees it, whoever else writes", testBeats},
}

func rows(t testing.TB, s Store) map[string]revocation.Replica {
	t.Helper()
	all, err := s.Replicas(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	byID := make(map[string]revocation.Replica, len(all))
	for _, r := range all {
		byID[r.ID] = r
	}
	if len(byID) != len(all) {
		t.Errorf("a replica has several rows: %v", all)
	}
	return byID
}

func beat(t testing.TB, s Store, r revocation.Replica) {
	t.Helper()
	if err := s.Beat(t.Context(), r); err != nil {
		t.Fatal(err)
	}
}

func testBeat(t *testing.T, s Store) {
	if got := rows(t, s); len(got) != 0 {
		t.Errorf("a new store has replicas: %v", got)
	}
	a := revocation.Replica{
		ID: "a", Name: "host-a", Beat: 1, Lease: 5 * time.Second, Epoch: "e", Acked: 7,
		Below: revocation.Outcome{Revision: 8, Applied: 2, Expired: 1, Pending: []string{"gw/1"}, Unbounded: []string{}},
	}
	b := revocation.Replica{ID: "b", Name: "host-b", Beat: 9, Lease: time.Second, Below: revocation.Outcome{Pending: []string{}, Unbounded: []string{}}}
	beat(t, s, a)
	beat(t, s, b)
	same(t, "a", a, rows(t, s)["a"])
	a.Beat, a.Acked, a.Epoch, a.Lease, a.Name, a.Below = 2, 3, "f", time.Minute, "host-c", b.Below
	beat(t, s, a)
	got := rows(t, s)
	same(t, "a, written again", a, got["a"])
	same(t, "b", b, got["b"])
	_, head, err := s.Head(t.Context())
	if err != nil || head != 0 {
		t.Errorf("a beat is no revocation: head %d, %v", head, err)
	}
}

func testForget(t *testing.T, s Store) {
	beat(t, s, revocation.Replica{ID: "a", Beat: 1})
	beat(t, s, revocation.Replica{ID: "b", Beat: 1})
	beat(t, s, revocation.Replica{ID: "a", Beat: 2}) // it has come back meanwhile
	for _, id := range []string{"a", "b", "unknown"} {
		if err := s.Forget(t.Context(), id, 1); err != nil {
			t.Fatal(err)
		}
	}
	if got := rows(t, s); len(got) != 1 || got["a"].Beat != 2 {
		t.Errorf("replicas are %v, want a at beat 2", got)
	}
}

func testBeats(t *testing.T, s Store) {
	var wg sync.WaitGroup
	for i := range 4 {
		id := fmt.Sprint("r", i)
		wg.Go(func() {
			for n := uint64(1); n <= 20; n++ {
				if err := s.Beat(t.Context(), revocation.Replica{ID: id, Beat: n}); err != nil {
					t.Error(err)
					return
				}
				all, err := s.Replicas(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				for _, r := range all {
					if r.ID == id && r.Beat != n {
						t.Errorf("%s sees its beat %d, wrote %d", id, r.Beat, n)
					}
				}
			}
		})
	}
	wg.Wait()
	if got := rows(t, s); len(got) != 4 || got["r2"].Beat != 20 {
		t.Errorf("replicas are %v", got)
	}
}
