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

// observer runs one and returns what it has shown so far.
func (r *rig) observer(l *link) (shown func() []string) {
	r.t.Helper()
	var lines []string
	o, err := newObserver(ObserverConfig{
		Node: "eye",
		Opened: func(at Opening) {
			lines = append(lines, fmt.Sprint("at ", at.Revision, " of ", at.Epoch, ", ", at.InForce))
		},
		Record: func(x revocation.Record) { lines = append(lines, x.Target.ID) },
		Held:   func(all []revocation.Record) { lines = append(lines, fmt.Sprint("held ", len(all))) },
		Lost:   func(error) { lines = append(lines, "lost") },
	}, func(ctx context.Context) (clientPipe, error) {
		return connect(ctx, r.up, l, Identity{Name: "ops"}), nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	go func() { _ = o.Run(r.ctx) }()
	return func() []string { synctest.Wait(); return slices.Clone(lines) }
}

// TestAnObserverShowsEachRecordOnce, also over streams that break, and says
// where it stands after each.
func TestAnObserverShowsEachRecordOnce(t *testing.T) {
	bubble(t, UpstreamConfig{}, func(r *rig) {
		r.src.commit(sessionRecord("old"), sessionRecord("older"))
		l := newLink()
		shown := r.observer(l)
		time.Sleep(time.Second)
		r.src.commit(sessionRecord("1"))
		r.src.commit(sessionRecord("2"), sessionRecord("3"))
		time.Sleep(time.Minute) // quiet, but alive
		l.set(func() { l.resets++ })
		r.src.commit(sessionRecord("4"))
		time.Sleep(time.Second)
		r.src.restore("f", 1)
		r.src.commit(sessionRecord("5"))
		time.Sleep(5 * time.Second)
		r.src.commit(sessionRecord("6"))
		want := []string{"held 2", "at 2 of e, 2", "1", "2", "3", "lost", "at 5 of e, 0", "4", "lost", "held 2", "at 2 of f, 2", "6"}
		if got := shown(); !slices.Equal(got, want) {
			r.t.Errorf("shown %q,\nwant %q", got, want)
		}
	})
}

// TestNoRevocationWaitsForAnObserver, not even for one that reads nothing, and
// none counts it.
func TestNoRevocationWaitsForAnObserver(t *testing.T) {
	bubble(t, UpstreamConfig{}, func(r *rig) {
		w := r.watcher("gateway", deny)
		stuck := r.raw("stuck", &pb.Open{Observer: true})
		_ = recv(r.t, stuck)
		_ = r.observer(newLink())
		time.Sleep(time.Second)
		began := time.Now()
		o, err := r.up.Await(r.ctx, r.src.commit(sessionRecord("1")))
		if err != nil || o.Applied != 1 || o.Expired != 0 || len(o.Pending) > 0 || time.Since(began) > 0 {
			r.t.Errorf("outcome = %+v, %v after %s", o, err, time.Since(began))
		}
		if !revoked(w.c.Set, "1") {
			r.t.Error("the gateway does not know")
		}
		if floor, _ := r.up.ledger.floor(r.up.ring.head, time.Now()); floor != o.Revision {
			r.t.Errorf("a relay would acknowledge %d", floor)
		}
		synctest.Wait()
		rep := r.up.Report()
		if len(rep.Watchers) != 1 || len(rep.Observers) != 2 || rep.Observers[0].Name != "ops/eye" || rep.Observers[0].Acknowledged != 1 {
			r.t.Errorf("report = %+v", rep)
		}
	})
}

// TestAnObserverHasNoLease, nor anybody below it.
func TestAnObserverHasNoLease(t *testing.T) {
	bubble(t, UpstreamConfig{}, func(r *rig) {
		p := r.raw("eye", &pb.Open{Observer: true})
		_, _ = recv(r.t, p), recv(r.t, p)
		if err := p.Send(&pb.WatchRequest{Message: &pb.WatchRequest_Renew{Renew: &pb.Renew{Nonce: 1}}}); err != nil {
			r.t.Fatal(err)
		}
		if m, err := p.Recv(); err == nil {
			r.t.Errorf("a renewal is answered: %v", m)
		}
		for name, o := range map[string]*pb.Open{
			"a relay":            {Observer: true, Relay: true},
			"who accepts anyway": {Observer: true, OnStale: pb.OnStale_ON_STALE_SERVE},
		} {
			o.OnStale = max(o.OnStale, pb.OnStale_ON_STALE_DENY)
			if _, err := checkOpen(o); !errors.Is(err, errBroken) {
				r.t.Errorf("%s is no observer: %v", name, err)
			}
		}
	})
}
