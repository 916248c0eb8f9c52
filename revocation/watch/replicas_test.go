package watch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tegata/tegata/revocation"
)

// table is Replicas in memory, with a fault hook. It survives those who write
// to it, as a store does.
type table struct {
	mu   sync.Mutex
	rows map[string]revocation.Replica
}

func newTable() *table { return &table{rows: map[string]revocation.Replica{}} }

// way is one replica's way to the table; while it is down nothing gets through.
type way struct {
	*table
	mu   sync.Mutex
	down bool
}

var errCut = errors.New("no way to the store")

func (c *way) set(down bool) { c.mu.Lock(); defer c.mu.Unlock(); c.down = down }

func (c *way) err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.down {
		return errCut
	}
	return nil
}

func (c *way) Beat(_ context.Context, r revocation.Replica) error {
	if err := c.err(); err != nil {
		return err
	}
	c.table.mu.Lock()
	defer c.table.mu.Unlock()
	c.rows[r.ID] = r
	return nil
}

func (c *way) Replicas(context.Context) ([]revocation.Replica, error) {
	if err := c.err(); err != nil {
		return nil, err
	}
	c.table.mu.Lock()
	defer c.table.mu.Unlock()
	var all []revocation.Replica
	for _, r := range c.rows {
		all = append(all, r)
	}
	return all, nil
}

func (c *way) Forget(_ context.Context, id string, beat uint64) error {
	if err := c.err(); err != nil {
		return err
	}
	c.table.mu.Lock()
	defer c.table.mu.Unlock()
	if c.rows[id].Beat == beat {
		delete(c.rows, id)
	}
	return nil
}

// view is one replica's way to the log: its own wake-up, which may not come.
type view struct {
	*memory
	way  *way
	wake chan struct{}
}

func (v view) Head(ctx context.Context) (revocation.Epoch, revocation.Revision, error) {
	if err := v.way.err(); err != nil {
		return "", 0, err
	}
	return v.memory.Head(ctx)
}

func (v view) Since(ctx context.Context, after revocation.Revision, limit int) ([]revocation.Record, revocation.Revision, error) {
	if err := v.way.err(); err != nil {
		return nil, 0, err
	}
	return v.memory.Since(ctx, after, limit)
}

func (v view) Committed() <-chan struct{} { return v.wake }

// replica is an Upstream among several on one store.
type replica struct {
	*Upstream
	way  *way
	stop func()
}

// replicas runs f against two of them.
func replicas(t *testing.T, f func(t *testing.T, src *memory, store *table, start func(name string) replica)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		src, store := newMemory("e"), newTable()
		var stops []func()
		start := func(name string) replica {
			path := &way{table: store}
			u, err := NewUpstream(UpstreamConfig{
				Source: view{src, path, make(chan struct{})}, Authorize: anyone, NewStore: true, Lease: time.Second, Replicas: path, Name: name,
			})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			ran := make(chan struct{})
			go func() { _ = u.Run(ctx); close(ran) }()
			stop := func() { cancel(); <-ran }
			stops = append(stops, stop)
			return replica{u, path, stop}
		}
		defer func() {
			for _, stop := range stops {
				stop()
			}
		}()
		f(t, src, store, start)
	})
}

// leafOf starts a watcher of some upstreams.
func leafOf(t *testing.T, name string, to ...dial) (*Watcher, func()) {
	t.Helper()
	w, err := newWatcher(WatcherConfig{Set: revocation.NewSet(), Node: name}, to...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan struct{})
	go func() { _ = w.Run(ctx); close(ran) }()
	return w, func() { cancel(); <-ran }
}

// TestWhoeverRevokesAtOneReplicaWaitsForTheWatchersOfAll.
func TestWhoeverRevokesAtOneReplicaWaitsForTheWatchersOfAll(t *testing.T) {
	replicas(t, func(t *testing.T, src *memory, _ *table, start func(string) replica) {
		a, b := start("a"), start("b")
		w, stop := leafOf(t, "leaf", dials(b.Upstream, newLink(), "leaf"))
		defer stop()
		time.Sleep(2 * time.Second)
		for i := range 20 {
			id := fmt.Sprint(i)
			o, err := a.Await(t.Context(), src.commit(sessionRecord(id)))
			if err != nil || o.Applied != 1 || o.Expired != 0 {
				t.Fatalf("outcome = %+v, %v", o, err)
			}
			if !revoked(w.c.Set, id) || w.Trust() != revocation.Fresh {
				t.Fatal("answered, and the other's watcher does not know, or trusts nothing")
			}
			time.Sleep(123 * time.Millisecond)
		}
		hold := w.c.Set.Begin()
		rev := src.commit(sessionRecord("held"))
		ctx, cancel := context.WithTimeout(t.Context(), 600*time.Millisecond)
		defer cancel()
		if o, err := a.Await(ctx, rev); !errors.Is(err, context.DeadlineExceeded) || !slices.Equal(o.Pending, []string{"leaf/leaf"}) {
			t.Errorf("outcome = %+v, %v", o, err)
		}
		if o, err := a.Await(t.Context(), rev); err != nil || o.Expired != 1 || w.Trust() != revocation.Stale {
			t.Errorf("outcome = %+v, %v, %s", o, err, w.Trust())
		}
		hold.End()
	})
}

// TestAReplicaThatIsCutOffFromTheStoreStopsGranting, and nobody waits for it
// longer than its lease.
func TestAReplicaThatIsCutOffFromTheStoreStopsGranting(t *testing.T) {
	replicas(t, func(t *testing.T, src *memory, store *table, start func(string) replica) {
		a, b := start("a"), start("b")
		w, stop := leafOf(t, "leaf", dials(b.Upstream, newLink(), "leaf"))
		defer stop()
		time.Sleep(2 * time.Second)
		b.way.set(true)
		rev, began := src.commit(sessionRecord("1")), time.Now()
		o, err := a.Await(t.Context(), rev)
		if err != nil || o.Expired != 1 {
			t.Fatalf("outcome = %+v, %v", o, err)
		}
		if took := time.Since(began); took > 1200*time.Millisecond {
			t.Errorf("waited %s", took)
		}
		for range 300 {
			if w.Trust() == revocation.Fresh {
				t.Fatal("answered, and the watcher trusts what it has not applied")
			}
			time.Sleep(10 * time.Millisecond)
		}
		b.way.set(false)
		time.Sleep(2 * time.Second)
		if w.Trust() != revocation.Fresh || !revoked(w.c.Set, "1") {
			t.Error("did not recover")
		}
		// One that has ended is waited for until its lease has ended too, and its
		// row does not stay for ever.
		b.stop()
		began = time.Now()
		if o, err := a.Await(t.Context(), src.commit(sessionRecord("2"))); err != nil || time.Since(began) > 1200*time.Millisecond {
			t.Errorf("outcome = %+v, %v after %s", o, err, time.Since(began))
		}
		time.Sleep(15 * time.Second)
		store.mu.Lock()
		defer store.mu.Unlock()
		if len(store.rows) != 1 {
			t.Errorf("rows = %v", store.rows)
		}
	})
}

// TestAStartedReplicaKnowsWhatTheOthersAnswered: one that comes while nobody
// waits for it grants nothing before it has read the log.
func TestAStartedReplicaKnowsWhatTheOthersAnswered(t *testing.T) {
	replicas(t, func(t *testing.T, src *memory, _ *table, start func(string) replica) {
		a := start("a")
		time.Sleep(2 * time.Second)
		rev := src.commit(sessionRecord("1"))
		if o, err := a.Await(t.Context(), rev); err != nil {
			t.Fatalf("outcome = %+v, %v", o, err)
		}
		b := start("b")
		w, stop := leafOf(t, "leaf", dials(b.Upstream, newLink(), "leaf"))
		defer stop()
		<-w.Synced()
		if !revoked(w.c.Set, "1") {
			t.Error("it does not know")
		}
		time.Sleep(time.Second)
		if o, err := a.Await(t.Context(), src.commit(sessionRecord("2"))); err != nil || o.Applied != 1 {
			t.Errorf("outcome = %+v, %v", o, err)
		}
	})
}

// TestWhoCannotAskTheOthersSaysSo.
func TestWhoCannotAskTheOthersSaysSo(t *testing.T) {
	replicas(t, func(t *testing.T, src *memory, _ *table, start func(string) replica) {
		a := start("a")
		time.Sleep(time.Second)
		a.way.set(true)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		o, err := a.Await(ctx, src.commit(sessionRecord("1")))
		if err == nil || !strings.Contains(fmt.Sprint(o.Pending), unasked) {
			t.Errorf("outcome = %+v, %v", o, err)
		}
	})
}
