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
	"google.golang.org/protobuf/proto"
)

// rig is an Upstream in a bubble, with raw clients and real watchers.
type rig struct {
	t   *testing.T
	src *memory
	up  *Upstream
	ctx context.Context
}

// bubble runs f against an Upstream in virtual time.
func bubble(t *testing.T, c UpstreamConfig, f func(r *rig)) {
	t.Parallel()
	alone(t, c, f)
}

// alone is bubble for who measures what all tests have in common.
func alone(t *testing.T, c UpstreamConfig, f func(r *rig)) {
	synctest.Test(t, func(t *testing.T) {
		src := newMemory("e")
		c.Source, c.Authorize, c.NewStore = src, anyone, true
		u, err := NewUpstream(c)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		ran := make(chan error, 1)
		go func() { ran <- u.Run(ctx) }()
		defer func() { cancel(); <-ran }()
		f(&rig{t: t, src: src, up: u, ctx: ctx})
	})
}

func newLink() *link { return &link{change: make(chan struct{})} }

// raw opens a stream by hand.
func (r *rig) raw(name string, o *pb.Open) clientPipe {
	if o.OnStale == 0 {
		o.OnStale = pb.OnStale_ON_STALE_DENY
	}
	p := connect(r.ctx, r.up, newLink(), Identity{Name: name})
	if err := p.Send(&pb.WatchRequest{Message: &pb.WatchRequest_Open{Open: o}}); err != nil {
		r.t.Fatal(err)
	}
	return p
}

func (r *rig) watcher(name string, onStale string) *Watcher {
	l := newLink()
	w, err := newWatcher(WatcherConfig{Set: revocation.NewSet(), Node: name, OnStale: onStale},
		func(ctx context.Context) (clientPipe, error) {
			return connect(ctx, r.up, l, Identity{Name: name}), nil
		})
	if err != nil {
		r.t.Fatal(err)
	}
	go func() { _ = w.Run(r.ctx) }()
	<-w.Synced()
	synctest.Wait()
	return w
}

// recv returns the next message that is not a heartbeat.
func recv(t *testing.T, p clientPipe) *pb.WatchResponse {
	t.Helper()
	for {
		m, err := p.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if m.GetHeartbeat() == nil {
			return m
		}
	}
}

func TestNothingIsLostUnderStarvation(t *testing.T) {
	bubble(t, UpstreamConfig{}, func(r *rig) {
		slow := r.raw("slow", &pb.Open{})
		if !recv(r.t, slow).GetOpened().GetSnapshot() || recv(r.t, slow).GetSnapshotEnd() == nil {
			r.t.Fatal("no snapshot")
		}
		quick := r.watcher("quick", deny)
		const n = 3 * ringRecords
		for i := 0; i < n; i += 64 {
			var batch []revocation.Record
			for k := range 64 {
				batch = append(batch, sessionRecord(fmt.Sprint(i+k)))
			}
			r.src.commit(batch...)
			synctest.Wait()
			if got := quick.c.Set.Revision(); got != revocation.Revision(i+64) {
				r.t.Fatalf("the quick watcher is at %d behind a slow one, want %d", got, i+64)
			}
		}
		if r.up.ring.base == 0 || len(r.up.ring.batches) > ringBatches {
			r.t.Fatal("the ring is not bounded")
		}
		at, seen := uint64(0), 0
		for at < n {
			d := recv(r.t, slow).GetDelta()
			if d == nil || d.GetPrevious() != at {
				r.t.Fatalf("at %d, then %v", at, d.GetPrevious())
			}
			at = d.GetRevision()
			seen += len(d.GetRecords())
		}
		if seen != n {
			r.t.Errorf("%d records came, %d were committed", seen, n)
		}
	})
}

func TestFutureRevisionGetsNoOldEvents(t *testing.T) {
	bubble(t, UpstreamConfig{}, func(r *rig) {
		r.src.commit(sessionRecord("1"), sessionRecord("2"), sessionRecord("3"))
		synctest.Wait()
		p := r.raw("n", &pb.Open{Epoch: "e", Revision: 2})
		if recv(r.t, p).GetOpened().GetSnapshot() {
			r.t.Fatal("snapshot where deltas serve")
		}
		d := recv(r.t, p).GetDelta()
		if d.GetPrevious() != 2 || d.GetRevision() != 3 || len(d.GetRecords()) != 1 {
			r.t.Errorf("got %v", d)
		}
	})
}

func TestWatcherAheadOfTheStoreIsRefused(t *testing.T) {
	bubble(t, UpstreamConfig{}, func(r *rig) {
		o := &pb.Open{Epoch: "e", Revision: 1, OnStale: pb.OnStale_ON_STALE_DENY}
		synctest.Wait()
		_, err := r.up.open(r.ctx, func(error) {}, Identity{}, o)
		if !errors.Is(err, errAhead) {
			r.t.Errorf("error = %v", err)
		}
	})
}

func TestCompactionDropsNothingThatCouldMatch(t *testing.T) {
	bubble(t, UpstreamConfig{}, func(r *rig) {
		for i := range 10 {
			rec := sessionRecord(fmt.Sprint(i))
			if i%2 == 0 {
				rec.ExpiresAt = time.Now().Add(time.Minute)
			}
			r.src.commit(rec)
		}
		time.Sleep(2 * time.Minute)
		r.src.compact(time.Now())
		r.up.mu.Lock()
		r.up.ring.reset(r.up.ring.head) // as after a restart
		r.up.mu.Unlock()
		p := r.raw("n", &pb.Open{Epoch: "e", Revision: 3})
		recv(r.t, p)
		d := recv(r.t, p).GetDelta()
		var ids []string
		for _, x := range d.GetRecords() {
			ids = append(ids, x.GetId())
		}
		if d.GetPrevious() != 3 || d.GetRevision() != 10 || !slices.Equal(ids, []string{"3", "5", "7", "9"}) {
			r.t.Errorf("got %d → %d with %v", d.GetPrevious(), d.GetRevision(), ids)
		}
	})
}

func TestHeartbeatIsNeverAheadOfData(t *testing.T) {
	bubble(t, UpstreamConfig{Lease: 200 * time.Millisecond}, func(r *rig) {
		p := r.raw("n", &pb.Open{Epoch: "e"})
		recv(r.t, p)
		at, beats := uint64(0), 0
		for i := 0; beats < 200; i++ {
			r.src.commit(sessionRecord(fmt.Sprint(i)))
			time.Sleep(7 * time.Millisecond)
			for range 2 {
				m, err := p.Recv()
				if err != nil {
					r.t.Fatal(err)
				}
				if d := m.GetDelta(); d != nil {
					at = d.GetRevision()
					break
				}
				beats++
				if m.GetHeartbeat().GetRevision() != at {
					r.t.Fatalf("heartbeat at %d, data at %d", m.GetHeartbeat().GetRevision(), at)
				}
			}
		}
	})
}

func TestNoLeaseWhileBehind(t *testing.T) {
	bubble(t, UpstreamConfig{}, func(r *rig) {
		p := r.raw("n", &pb.Open{Epoch: "e"})
		recv(r.t, p)
		r.src.commit(sessionRecord("1"))
		synctest.Wait()
		send := func(m *pb.WatchRequest) {
			if err := p.Send(m); err != nil {
				r.t.Fatal(err)
			}
			synctest.Wait()
		}
		send(&pb.WatchRequest{Message: &pb.WatchRequest_Renew{Renew: &pb.Renew{Nonce: 7}}})
		if recv(r.t, p).GetDelta() == nil {
			r.t.Fatal("no delta")
		}
		time.Sleep(time.Second)
		if n := r.up.stats().leased; n != 0 {
			r.t.Fatal("a lease, and the head is not acknowledged")
		}
		send(&pb.WatchRequest{Message: &pb.WatchRequest_Ack{Ack: &pb.Ack{Revision: 1}}})
		l := recv(r.t, p).GetLease()
		if l.GetNonce() != 7 || l.GetRevision() != 1 || l.GetDurationMillis() > 5000 || l.GetDurationMillis() < 4700 {
			r.t.Errorf("lease = %v", l)
		}
	})
}

func TestLeasesRunOutWhileTheLogIsUnreadable(t *testing.T) {
	bubble(t, UpstreamConfig{Lease: time.Second}, func(r *rig) {
		w := r.watcher("n", deny)
		if w.Trust() != revocation.Fresh {
			r.t.Fatal("no lease at first")
		}
		r.src.breakDown(true)
		time.Sleep(1100 * time.Millisecond)
		if w.Trust() != revocation.Stale {
			r.t.Error("trusted, and nobody can know the log")
		}
		r.src.breakDown(false)
		time.Sleep(time.Second)
		if w.Trust() != revocation.Fresh {
			r.t.Error("did not recover")
		}
	})
}

func TestNewEpochAtRunTimeStartsOver(t *testing.T) {
	bubble(t, UpstreamConfig{Lease: time.Second}, func(r *rig) {
		w := r.watcher("n", deny)
		r.src.commit(sessionRecord("1"), sessionRecord("2"))
		synctest.Wait()
		r.src.restore("e2", 0)
		rev := r.src.commit(sessionRecord("after"))
		began := time.Now()
		if _, err := r.up.Await(r.ctx, rev); err != nil {
			r.t.Fatal(err)
		}
		if took := time.Since(began); !revoked(w.c.Set, "after") || took > time.Second {
			r.t.Errorf("applied = %t after %s", revoked(w.c.Set, "after"), took)
		}
		if s := w.Status(); s.Epoch != "e2" || s.Revision != rev || !revoked(w.c.Set, "2") {
			r.t.Errorf("status = %+v", s)
		}
	})
}

func TestAwaitWaitsForALeaseAtMostAndNamesWhom(t *testing.T) {
	bubble(t, UpstreamConfig{Lease: time.Second}, func(r *rig) {
		w := r.watcher("gateway", deny)
		r.watcher("lax", serve)
		hold := w.c.Set.Begin() // a decision that does not end
		rev := r.src.commit(sessionRecord("1"))
		ctx, cancel := context.WithTimeout(r.ctx, 100*time.Millisecond)
		defer cancel()
		p, err := r.up.Await(ctx, rev)
		if !errors.Is(err, context.DeadlineExceeded) || !slices.Equal(p.Pending, []string{"gateway/gateway"}) {
			r.t.Errorf("Await = %+v, %v", p, err)
		}
		if _, err := r.up.Await(r.ctx, rev); err != nil {
			r.t.Error(err)
		}
		if w.Trust() != revocation.Stale {
			r.t.Error("answered, and the watcher trusts what it has not applied")
		}
		hold.End()
	})
}

func TestServingWatchersAreReported(t *testing.T) {
	bubble(t, UpstreamConfig{Lease: time.Second}, func(r *rig) {
		w := r.watcher("lax", serve)
		hold := w.c.Set.Begin()
		defer hold.End()
		p, err := r.up.Await(r.ctx, r.src.commit(sessionRecord("1")))
		if err != nil || !slices.Equal(p.Unbounded, []string{"lax/lax"}) {
			r.t.Errorf("Await = %+v, %v", p, err)
		}
	})
}

func TestWatcherSeesOnlyItsIssuers(t *testing.T) {
	bubble(t, UpstreamConfig{}, func(r *rig) {
		other := sessionRecord("theirs")
		other.Issuer = "https://other.test"
		r.src.commit(sessionRecord("mine"), other)
		synctest.Wait()
		p := connect(r.ctx, r.up, newLink(), Identity{Name: "n", Issuers: []string{other.Issuer}})
		_ = p.Send(&pb.WatchRequest{Message: &pb.WatchRequest_Open{Open: &pb.Open{OnStale: pb.OnStale_ON_STALE_DENY}}})
		recv(r.t, p)
		if c := recv(r.t, p).GetSnapshotChunk(); len(c.GetRecords()) != 1 || c.GetRecords()[0].GetId() != "theirs" {
			r.t.Errorf("snapshot = %v", c)
		}
		recv(r.t, p)
		r.src.commit(sessionRecord("mine too"))
		if d := recv(r.t, p).GetDelta(); len(d.GetRecords()) != 0 || d.GetRevision() != 3 {
			r.t.Errorf("delta = %v", d)
		}
	})
}

func TestSecondStreamOfAnInstanceReplacesTheFirst(t *testing.T) {
	bubble(t, UpstreamConfig{}, func(r *rig) {
		first := r.raw("n", &pb.Open{Epoch: "e", Instance: []byte("i")})
		recv(r.t, first)
		second := r.raw("n", &pb.Open{Epoch: "e", Instance: []byte("i")})
		recv(r.t, second)
		synctest.Wait()
		if n := r.up.stats().open; n != 1 {
			r.t.Errorf("%d streams", n)
		}
		if _, err := first.Recv(); err == nil {
			r.t.Error("the first stream lives")
		}
	})
}

func TestBrokenRequestsEndTheStream(t *testing.T) {
	deny := pb.OnStale_ON_STALE_DENY
	tests := []struct {
		name string
		msgs []*pb.WatchRequest
	}{
		{"no open", []*pb.WatchRequest{{Message: &pb.WatchRequest_Ack{Ack: &pb.Ack{}}}}},
		{"empty", []*pb.WatchRequest{{}}},
		{"no on_stale", []*pb.WatchRequest{{Message: &pb.WatchRequest_Open{Open: &pb.Open{}}}}},
		{"open twice", []*pb.WatchRequest{
			{Message: &pb.WatchRequest_Open{Open: &pb.Open{OnStale: deny, Epoch: "e"}}},
			{Message: &pb.WatchRequest_Open{Open: &pb.Open{OnStale: deny, Epoch: "e"}}},
		}},
		{"ack of what was not sent", []*pb.WatchRequest{
			{Message: &pb.WatchRequest_Open{Open: &pb.Open{OnStale: deny, Epoch: "e"}}},
			{Message: &pb.WatchRequest_Ack{Ack: &pb.Ack{Revision: 1}}},
		}},
		{"long node", []*pb.WatchRequest{{Message: &pb.WatchRequest_Open{Open: &pb.Open{OnStale: deny, Node: string(make([]byte, 300))}}}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, UpstreamConfig{}, func(r *rig) {
				p := &script{in: tt.msgs, ctx: r.ctx}
				if err := r.up.serve(r.ctx, Identity{}, p); !errors.Is(err, errBroken) {
					r.t.Errorf("serve = %v", err)
				}
			})
		})
	}
}

// script is a watcher that says what it was told to and then nothing.
type script struct {
	in  []*pb.WatchRequest
	ctx context.Context
}

func (s *script) Recv() (*pb.WatchRequest, error) {
	if len(s.in) == 0 {
		<-s.ctx.Done()
		return nil, s.ctx.Err()
	}
	m := s.in[0]
	s.in = s.in[1:]
	return m, nil
}

func (s *script) Send(*pb.WatchResponse) error { return nil }

// FuzzHostileOpen opens with anything: an error or a stream that is within
// limits, never a panic.
func FuzzHostileOpen(f *testing.F) {
	for _, o := range []*pb.Open{
		{},
		{OnStale: 1, Node: "n", Instance: []byte("i"), Issuers: []string{"https://a"}, Epoch: "e", Revision: 1 << 63},
		{OnStale: -1},
		{OnStale: 3, Issuers: []string{""}},
	} {
		raw, err := proto.Marshal(o)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var o pb.Open
		if proto.Unmarshal(raw, &o) != nil {
			t.Skip()
		}
		u, err := NewUpstream(UpstreamConfig{Source: newMemory("e"), Authorize: anyone})
		if err != nil {
			t.Fatal(err)
		}
		if err := u.poll(t.Context()); err != nil {
			t.Fatal(err)
		}
		st, err := u.open(t.Context(), func(error) {}, Identity{Issuers: []string{"https://a"}}, &o)
		if err != nil {
			return
		}
		if len(st.filter) != 1 || !st.filter["https://a"] {
			t.Errorf("sees %v", st.filter)
		}
		if st.whole != (o.GetEpoch() == "e") || st.cursor != 0 {
			t.Errorf("resumed in %q at %d", o.GetEpoch(), st.cursor)
		}
	})
}
