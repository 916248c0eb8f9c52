package watch

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tegata/tegata/revocation"
	pb "github.com/tegata/tegata/revocation/revocationpb"
	"google.golang.org/protobuf/proto"
)

// stuckWatchers is how many of them there are; ten thousand take a minute.
var stuckWatchers = flag.Int("stuck", 1000, "watchers that read nothing")

// stuck is a watcher that opens, and from its second message on reads nothing
// until it is let go; then it reads everything.
type stuck struct {
	ctx  context.Context
	open atomic.Bool
	free <-chan struct{}

	greeted int
	at      uint64 // where it is, by what it has read
	seen    int    // records
	err     error
}

func (s *stuck) Recv() (*pb.WatchRequest, error) {
	if !s.open.Swap(true) {
		return &pb.WatchRequest{Message: &pb.WatchRequest_Open{Open: &pb.Open{OnStale: pb.OnStale_ON_STALE_DENY}}}, nil
	}
	<-s.ctx.Done()
	return nil, s.ctx.Err()
}

func (s *stuck) Send(m *pb.WatchResponse) error {
	if s.greeted < 2 { // opened, and an empty snapshot
		s.greeted++
		return nil
	}
	select {
	case <-s.free:
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
	if d := m.GetDelta(); d != nil {
		if d.GetPrevious() != s.at {
			s.err = fmt.Errorf("at %d came a delta from %d", s.at, d.GetPrevious())
		}
		s.at, s.seen = d.GetRevision(), s.seen+len(d.GetRecords())
	}
	return nil
}

// TestWatchersThatReadNothingTakeNoMemory: thousands that are stuck while many
// times what the ring keeps is revoked have a cursor each, and the one that
// reads is told at once. Let go, they get all that they missed, though it is
// long gone from the ring.
func TestWatchersThatReadNothingTakeNoMemory(t *testing.T) {
	watchers, freed := *stuckWatchers, 20
	const perCommit, commits = 512, 4 * ringRecords / 512
	alone(t, UpstreamConfig{}, func(r *rig) {
		ctx, cancel := context.WithCancel(r.ctx)
		var calls sync.WaitGroup
		defer calls.Wait()
		defer cancel()
		free := make(chan struct{})
		all := make([]*stuck, watchers)
		for i := range all {
			s := &stuck{ctx: ctx}
			if i < freed {
				s.free = free
			}
			all[i] = s
			calls.Go(func() { _ = r.up.serve(ctx, Identity{Name: fmt.Sprint("stuck-", i)}, s) })
		}
		quick := r.watcher("quick", deny)
		for range commits / 4 {
			r.commit(perCommit)
		}
		first := heapInUse()
		for range commits - commits/4 {
			r.commit(perCommit)
			if got, want := quick.c.Set.Revision(), r.src.head; got != want {
				r.t.Fatalf("behind those that are stuck the quick watcher is at %d of %d", got, want)
			}
		}
		if n, b := r.up.ring.records, len(r.up.ring.batches); n > ringRecords+maxRecords || b > ringBatches {
			r.t.Errorf("the ring has %d records in %d batches", n, b)
		}
		// What the log itself and the quick watcher's Set keep does not count.
		grown := float64(heapInUse()-first) - float64(perCommit*(commits-commits/4))*1000
		if each := grown / float64(watchers); each > 4<<10 {
			r.t.Errorf("each watcher that is stuck takes %.0f bytes more after %d records", each, perCommit*commits)
		}
		close(free)
		synctest.Wait()
		for _, s := range all[:freed] {
			if s.err != nil || s.at != uint64(r.src.head) || s.seen != perCommit*commits {
				r.t.Fatalf("one got %d records up to %d of %d: %v", s.seen, s.at, r.src.head, s.err)
			}
		}
	})
}

// commit revokes so many sessions in one transaction, and waits until nothing
// goes on any more.
func (r *rig) commit(n int) {
	batch := make([]revocation.Record, n)
	for i := range batch {
		batch[i] = sessionRecord(fmt.Sprint(r.src.head, "-", i))
	}
	r.src.commit(batch...)
	synctest.Wait()
}

func heapInUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestAnUrgentRevocationWaitsForOneMessageOfAStorm: what is revoked in a storm
// of ten thousand a second goes out with what was committed until then, in
// messages that are full: a watcher that keeps up is never more than a few
// messages behind the log, so that nothing can queue in front of it.
func TestAnUrgentRevocationWaitsForOneMessageOfAStorm(t *testing.T) {
	bubble(t, UpstreamConfig{}, func(r *rig) {
		w := r.watcher("idle", deny)
		for second := range 3 {
			for tick := range 100 { // 10,000 in a second
				r.src.commit(sessionRecord(fmt.Sprint("storm-", second, tick, "-0")))
				batch := make([]revocation.Record, 99)
				for i := range batch {
					batch[i] = sessionRecord(fmt.Sprint("storm-", second, tick, "-", i+1))
				}
				r.src.commit(batch...)
				urgent := fmt.Sprint("urgent-", second, tick)
				rev := r.src.commit(sessionRecord(urgent))
				ctx, cancel := context.WithTimeout(r.ctx, time.Second)
				begun := time.Now()
				o, err := r.up.Await(ctx, rev)
				cancel()
				if err != nil || o.Applied != 1 || !revoked(w.c.Set, urgent) {
					r.t.Fatalf("urgent: %+v, %v", o, err)
				}
				if waited := time.Since(begun); waited != 0 { // the bubble's clock moves only when all stand still
					r.t.Fatalf("an urgent revocation waited %v for a timer", waited)
				}
				time.Sleep(10 * time.Millisecond)
			}
		}
		if _, ok := r.up.ring.after(w.c.Set.Revision()); !ok {
			r.t.Error("a watcher that keeps up has fallen off the ring")
		}
	})
}

// TestManyWaitsEndWithTheLastWatcher: who waits looks at one watcher at a time
// and is woken when that one has moved; whichever comes last, no wait ends
// before it and none goes on after it.
func TestManyWaitsEndWithTheLastWatcher(t *testing.T) {
	const watchers, waits = 64, 16
	bubble(t, UpstreamConfig{Lease: time.Minute}, func(r *rig) {
		pipes := make([]clientPipe, watchers)
		for i := range pipes {
			pipes[i] = r.raw(fmt.Sprint("w", i), &pb.Open{Epoch: "e"})
			if recv(r.t, pipes[i]).GetOpened() == nil {
				r.t.Fatal("not opened")
			}
			send(r.t, pipes[i], &pb.WatchRequest{Message: &pb.WatchRequest_Renew{Renew: &pb.Renew{Nonce: 1}}})
			if recv(r.t, pipes[i]).GetLease() == nil {
				r.t.Fatal("no lease")
			}
		}
		rev := r.src.commit(sessionRecord("x"))
		synctest.Wait()
		var ended atomic.Int64
		for range waits {
			go func() {
				if o, err := r.up.Await(r.ctx, rev); err != nil || o.Applied != watchers {
					r.t.Errorf("%+v, %v", o, err)
				}
				ended.Add(1)
			}()
		}
		for i, p := range pipes {
			synctest.Wait()
			if n := ended.Load(); n != 0 {
				r.t.Fatalf("%d waits ended while %d watchers were pending", n, watchers-i)
			}
			if recv(r.t, p).GetDelta() == nil {
				r.t.Fatal("no delta")
			}
			send(r.t, p, &pb.WatchRequest{Message: &pb.WatchRequest_Ack{Ack: &pb.Ack{Revision: uint64(rev)}}})
		}
		synctest.Wait()
		if n := ended.Load(); n != waits {
			r.t.Errorf("%d of %d waits ended with the last acknowledgement", n, waits)
		}

		// When time is up, everybody is named and not only who is looked at.
		rev = r.src.commit(sessionRecord("y"))
		ctx, cancel := context.WithTimeout(r.ctx, time.Second)
		defer cancel()
		if o, err := r.up.Await(ctx, rev); !errors.Is(err, context.DeadlineExceeded) || len(o.Pending) != watchers {
			r.t.Errorf("pending %q, %v; want all %d", o.Pending, err, watchers)
		}
	})
}

func send(t *testing.T, p clientPipe, m *pb.WatchRequest) {
	t.Helper()
	if err := p.Send(proto.Clone(m).(*pb.WatchRequest)); err != nil {
		t.Fatal(err)
	}
}
