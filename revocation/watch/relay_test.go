package watch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tegata/tegata/revocation"
	pb "github.com/tegata/tegata/revocation/revocationpb"
)

// dials connects with an upstream over a link.
func dials(up *Upstream, l *link, name string) dial {
	return func(ctx context.Context) (clientPipe, error) {
		if down, _, _, _ := l.see(); down {
			return nil, errReset
		}
		return connect(ctx, up, l, Identity{Name: name}), nil
	}
}

// relay starts one below some upstreams and returns what stops it.
func (r *rig) relay(name string, to ...dial) (*Relay, func()) {
	w, err := newWatcher(WatcherConfig{Set: revocation.NewSet(), Node: name}, to...)
	if err != nil {
		r.t.Fatal(err)
	}
	y, err := newRelay(w, RelayConfig{Authorize: anyone, Lease: time.Minute})
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(r.ctx)
	ran := make(chan struct{})
	go func() { _ = y.Run(ctx); close(ran) }()
	select {
	case <-y.up.ready: // else watchers go elsewhere
	case <-time.After(time.Second):
	}
	return y, func() { cancel(); <-ran }
}

// below starts a watcher below some upstreams.
func (r *rig) below(name, onStale string, to ...dial) *Watcher {
	w, err := newWatcher(WatcherConfig{Set: revocation.NewSet(), Node: name, OnStale: onStale}, to...)
	if err != nil {
		r.t.Fatal(err)
	}
	go func() { _ = w.Run(r.ctx) }()
	return w
}

// TestAChainOfRelaysKeepsThePromise: what is below a relay, however deep, has
// applied what is answered, and trusts while all is well.
func TestAChainOfRelaysKeepsThePromise(t *testing.T) {
	for _, depth := range []int{1, 2, 8} {
		t.Run(fmt.Sprint(depth), func(t *testing.T) {
			bubble(t, UpstreamConfig{Lease: 2 * time.Second}, func(r *rig) {
				r.src.commit(sessionRecord("before"))
				up := r.up
				for i := range depth {
					y, _ := r.relay(fmt.Sprint("relay", i), dials(up, newLink(), fmt.Sprint("relay", i)))
					up = y.up
				}
				w := r.below("leaf", deny, dials(up, newLink(), "leaf"))
				<-w.Synced()
				time.Sleep(3 * time.Second)
				if !revoked(w.c.Set, "before") {
					r.t.Error("the snapshot did not come through")
				}
				for i := range 40 {
					id := fmt.Sprint(i)
					o, err := r.up.Await(r.ctx, r.src.commit(sessionRecord(id)))
					if err != nil || o.Applied != depth+1 || o.Expired != 0 {
						r.t.Fatalf("outcome = %+v, %v", o, err)
					}
					if !revoked(w.c.Set, id) {
						r.t.Fatal("answered, and the leaf does not know")
					}
					if w.Trust() != revocation.Fresh {
						r.t.Fatal("all is well, and the leaf trusts nothing")
					}
					time.Sleep(77 * time.Millisecond)
				}
			})
		})
	}
}

// TestARelayNamesWhoIsPendingBelowIt, and waits for a lease at most; a slow
// watcher ends no other's lease.
func TestARelayNamesWhoIsPendingBelowIt(t *testing.T) {
	bubble(t, UpstreamConfig{Lease: 2 * time.Second}, func(r *rig) {
		y, _ := r.relay("relay", dials(r.up, newLink(), "relay"))
		good := r.below("good", deny, dials(y.up, newLink(), "good"))
		stuck := r.below("stuck", deny, dials(y.up, newLink(), "stuck"))
		lax := r.below("lax", serve, dials(y.up, newLink(), "lax"))
		for _, w := range []*Watcher{good, stuck, lax} {
			<-w.Synced()
		}
		time.Sleep(3 * time.Second)
		hold, laxHold := stuck.c.Set.Begin(), lax.c.Set.Begin() // decisions that do not end
		defer hold.End()
		defer laxHold.End()
		rev := r.src.commit(sessionRecord("1"))
		ctx, cancel := context.WithTimeout(r.ctx, 300*time.Millisecond)
		defer cancel()
		o, err := r.up.Await(ctx, rev)
		want := []string{"relay/relay > lax/lax", "relay/relay > stuck/stuck"}
		if !errors.Is(err, context.DeadlineExceeded) || !slices.Equal(o.Pending, want) || o.Applied != 1 {
			r.t.Errorf("outcome = %+v, %v", o, err)
		}
		began := time.Now()
		for stop := began.Add(5 * time.Second); time.Now().Before(stop); time.Sleep(10 * time.Millisecond) {
			if good.Trust() != revocation.Fresh {
				r.t.Fatalf("a slow watcher beside it has ended a good one's lease after %s", time.Since(began))
			}
		}
		o, err = r.up.Await(r.ctx, rev)
		if err != nil || o.Applied != 2 || o.Expired != 1 || !slices.Equal(o.Unbounded, []string{"relay/relay > lax/lax"}) {
			r.t.Errorf("outcome = %+v, %v", o, err)
		}
		if stuck.Trust() != revocation.Stale {
			r.t.Error("answered, and the stuck watcher trusts")
		}
	})
}

// TestNoLeaseBelowARelayOutlivesItsOwn: cut off from above, all below stop
// within the lease, and whoever revokes waits for no longer.
func TestNoLeaseBelowARelayOutlivesItsOwn(t *testing.T) {
	bubble(t, UpstreamConfig{Lease: 2 * time.Second}, func(r *rig) {
		l := newLink()
		y, _ := r.relay("relay", dials(r.up, l, "relay"))
		w := r.below("leaf", deny, dials(y.up, newLink(), "leaf"))
		<-w.Synced()
		time.Sleep(3 * time.Second)
		l.set(func() { l.down = true })
		rev, began := r.src.commit(sessionRecord("1")), time.Now()
		if _, err := r.up.Await(r.ctx, rev); err != nil {
			r.t.Fatal(err)
		}
		if took := time.Since(began); took > 2*time.Second {
			r.t.Errorf("waited %s", took)
		}
		if w.Trust() != revocation.Stale {
			r.t.Error("answered, and the leaf trusts what it has not applied")
		}
		l.set(func() { l.down = false })
		time.Sleep(3 * time.Second)
		if w.Trust() != revocation.Fresh || !revoked(w.c.Set, "1") {
			r.t.Error("did not recover")
		}
	})
}

// TestAWatcherMovesWithoutAGap: from a relay that dies, that is cut off from
// above, or that nothing comes from, to another one.
func TestAWatcherMovesWithoutAGap(t *testing.T) {
	for name, lose := range map[string]func(above, below *link, stop func()){
		"dead":      func(_, _ *link, stop func()) { stop() },
		"cut off":   func(above, _ *link, _ func()) { above.set(func() { above.down = true }) },
		"partition": func(_, below *link, _ func()) { below.set(func() { below.down = true }) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, UpstreamConfig{Lease: 2 * time.Second}, func(r *rig) {
				above, below := newLink(), newLink()
				a, stop := r.relay("a", dials(r.up, above, "a"))
				b, _ := r.relay("b", dials(r.up, newLink(), "b"))
				w := r.below("leaf", deny, dials(a.up, below, "leaf"), dials(b.up, newLink(), "leaf"))
				<-w.Synced()
				time.Sleep(3 * time.Second)
				if len(a.up.streams) != 1 {
					r.t.Fatal("it does not follow the first")
				}
				lose(above, below, stop)
				defer func() { // what is half open ends when packets flow
					above.set(func() { above.down = false })
					below.set(func() { below.down = false })
				}()
				for i := range 500 {
					if i%50 == 0 {
						id := fmt.Sprint(i)
						if _, err := r.up.Await(r.ctx, r.src.commit(sessionRecord(id))); err != nil || w.Trust() == revocation.Fresh && !revoked(w.c.Set, id) {
							r.t.Fatalf("answered, and the leaf trusts what it has not applied: %v", err)
						}
					}
					if w.Trust() != revocation.Fresh {
						r.t.Fatalf("a gap after %d steps: %+v", i, w.Status())
					}
					time.Sleep(10 * time.Millisecond)
				}
				if len(b.up.streams) != 1 {
					r.t.Error("it did not move")
				}
			})
		})
	}
}

// TestWhoMovesToAnUpstreamThatSeesOtherIssuersStartsOver: resuming would leave
// holes where the one before had left something out.
func TestWhoMovesToAnUpstreamThatSeesOtherIssuersStartsOver(t *testing.T) {
	bubble(t, UpstreamConfig{}, func(r *rig) {
		other := sessionRecord("theirs")
		other.Issuer = "https://other.test"
		r.src.commit(sessionRecord("mine"), other)
		narrow, l := Identity{Name: "narrow", Issuers: []string{other.Issuer}}, newLink()
		a, stop := r.relay("narrow", func(ctx context.Context) (clientPipe, error) { return connect(ctx, r.up, newLink(), narrow), nil })
		b, _ := r.relay("wide", dials(r.up, newLink(), "wide"))
		w := r.below("leaf", deny, dials(a.up, l, "leaf"), dials(b.up, newLink(), "leaf"))
		<-w.Synced()
		synctest.Wait()
		if revoked(w.c.Set, "mine") {
			r.t.Fatal("a narrow relay shows more than it may")
		}
		time.Sleep(time.Second)
		stop()
		time.Sleep(2 * time.Second)
		if !revoked(w.c.Set, "mine") || w.Trust() != revocation.Fresh {
			r.t.Errorf("moved with a hole: %+v", w.Status())
		}
	})
}

// TestARelayThatKnowsNothingSendsWatchersOn.
func TestARelayThatKnowsNothingSendsWatchersOn(t *testing.T) {
	bubble(t, UpstreamConfig{}, func(r *rig) {
		y, _ := r.relay("lost", func(context.Context) (clientPipe, error) { return nil, errReset })
		p := connect(r.ctx, y.up, newLink(), Identity{Name: "n"})
		_ = p.Send(&pb.WatchRequest{Message: &pb.WatchRequest_Open{Open: &pb.Open{OnStale: pb.OnStale_ON_STALE_DENY}}})
		if _, err := p.Recv(); err == nil {
			r.t.Error("it is served")
		}
	})
}
