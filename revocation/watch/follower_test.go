package watch

import (
	"errors"
	"testing"
	"time"

	"github.com/tegata/tegata/revocation"
	pb "github.com/tegata/tegata/revocation/revocationpb"
	"google.golang.org/protobuf/proto"
)

func msg(m any) *pb.WatchResponse {
	switch m := m.(type) {
	case *pb.Opened:
		return &pb.WatchResponse{Message: &pb.WatchResponse_Opened{Opened: m}}
	case *pb.SnapshotChunk:
		return &pb.WatchResponse{Message: &pb.WatchResponse_SnapshotChunk{SnapshotChunk: m}}
	case *pb.SnapshotEnd:
		return &pb.WatchResponse{Message: &pb.WatchResponse_SnapshotEnd{SnapshotEnd: m}}
	case *pb.Delta:
		return &pb.WatchResponse{Message: &pb.WatchResponse_Delta{Delta: m}}
	case *pb.Lease:
		return &pb.WatchResponse{Message: &pb.WatchResponse_Lease{Lease: m}}
	case *pb.Heartbeat:
		return &pb.WatchResponse{Message: &pb.WatchResponse_Heartbeat{Heartbeat: m}}
	default:
		return &pb.WatchResponse{}
	}
}

func wireRecord(rev revocation.Revision, id string) *pb.Record {
	r := sessionRecord(id)
	r.Revision = rev
	return encode([]revocation.Record{r})[0]
}

// atFive returns a follower that holds epoch e at revision 5.
func atFive(t testing.TB) *follower {
	f := &follower{set: revocation.NewSet()}
	for _, m := range []any{
		&pb.Opened{Epoch: "e", Snapshot: true, LeaseMillis: 1000},
		&pb.SnapshotChunk{Records: []*pb.Record{wireRecord(3, "three"), wireRecord(5, "five")}},
		&pb.SnapshotEnd{Epoch: "e", Revision: 5},
	} {
		if _, err := f.receive(msg(m)); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// Each row that names etcd is a bug once found in its watches
// (tests/robustness/README.md there).
func TestFollowerTakesOnlyWhatFits(t *testing.T) {
	t.Parallel()
	now := time.Now()
	resumed := &pb.Opened{Epoch: "e", LeaseMillis: 1000}
	anew := &pb.Opened{Epoch: "e2", Snapshot: true, LeaseMillis: 1000}
	unknown := wireRecord(6, "x")
	unknown.Kind = 8
	noID := wireRecord(6, "")
	tests := []struct {
		name string
		msgs []any // on a new stream
		want error
		rev  revocation.Revision
		dead string
	}{
		{"resume", []any{resumed, &pb.Delta{Previous: 5, Revision: 6, Records: []*pb.Record{wireRecord(6, "six")}}}, nil, 6, "six"},
		{"delta without records moves on", []any{resumed, &pb.Delta{Previous: 5, Revision: 9}}, nil, 9, "five"},
		{"lost under starvation (etcd): a hole", []any{resumed, &pb.Delta{Previous: 6, Revision: 7, Records: []*pb.Record{wireRecord(7, "x")}}}, errGap, 5, "five"},
		{"a delta again", []any{resumed, &pb.Delta{Previous: 4, Revision: 5}}, errGap, 5, "five"},
		{"back in time after a partition (etcd): delta", []any{resumed, &pb.Delta{Previous: 5, Revision: 4}}, errBackward, 5, "five"},
		{"back in time after a partition (etcd): snapshot", []any{&pb.Opened{Epoch: "e", Snapshot: true, LeaseMillis: 1}, &pb.SnapshotEnd{Epoch: "e", Revision: 4}}, errBackward, 5, "five"},
		{"back in time after a partition (etcd): heartbeat", []any{resumed, &pb.Heartbeat{Revision: 4}}, errBackward, 5, "five"},
		{"old events on a future revision (etcd)", []any{resumed, &pb.Delta{Previous: 5, Revision: 6, Records: []*pb.Record{wireRecord(4, "x")}}}, errProtocol, 5, "five"},
		{"record beyond its delta", []any{resumed, &pb.Delta{Previous: 5, Revision: 6, Records: []*pb.Record{wireRecord(7, "x")}}}, errProtocol, 5, "five"},
		{"heartbeat ahead of data (etcd)", []any{resumed, &pb.Heartbeat{Revision: 6}}, errGap, 5, "five"},
		{"lease ahead of data", []any{resumed, &pb.Lease{Nonce: 1, DurationMillis: 1000, Revision: 6}}, errGap, 5, "five"},
		{"lease of no length", []any{resumed, &pb.Lease{Nonce: 1, DurationMillis: 0, Revision: 5}}, errProtocol, 5, "five"},
		{"resumed in another epoch", []any{&pb.Opened{Epoch: "e2", LeaseMillis: 1000}}, errProtocol, 5, "five"},
		{"opened twice", []any{resumed, resumed}, errProtocol, 5, "five"},
		{"opened without lease", []any{&pb.Opened{Epoch: "e"}}, errProtocol, 5, "five"},
		{"delta before opened", []any{&pb.Delta{Previous: 5, Revision: 6}}, errProtocol, 5, "five"},
		{"delta within a snapshot", []any{anew, &pb.Delta{Previous: 5, Revision: 6}}, errProtocol, 5, "five"},
		{"lease within a snapshot", []any{anew, &pb.Lease{Nonce: 1, DurationMillis: 1000, Revision: 5}}, errProtocol, 5, "five"},
		{"chunk after resume", []any{resumed, &pb.SnapshotChunk{}}, errProtocol, 5, "five"},
		{"snapshot ends in another epoch", []any{anew, &pb.SnapshotEnd{Epoch: "e", Revision: 9}}, errProtocol, 5, "five"},
		{"snapshot with more than its end", []any{anew, &pb.SnapshotChunk{Records: []*pb.Record{wireRecord(9, "x")}}, &pb.SnapshotEnd{Epoch: "e2", Revision: 8}}, errProtocol, 5, "five"},
		{"half a snapshot changes nothing", []any{anew, &pb.SnapshotChunk{Records: []*pb.Record{wireRecord(1, "x")}}}, nil, 5, "five"},
		{"new epoch, lower revision", []any{anew, &pb.SnapshotChunk{Records: []*pb.Record{wireRecord(1, "one")}}, &pb.SnapshotEnd{Epoch: "e2", Revision: 2}}, nil, 2, "one"},
		{"unknown kind is not skipped", []any{resumed, &pb.Delta{Previous: 5, Revision: 6, Records: []*pb.Record{unknown}}}, errProtocol, 5, "five"},
		{"record without target", []any{resumed, &pb.Delta{Previous: 5, Revision: 6, Records: []*pb.Record{noID}}}, errProtocol, 5, "five"},
		{"unknown message", []any{resumed, nil}, errProtocol, 5, "five"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := atFive(t)
			f.reset()
			f.renew(now)
			var err error
			for i, m := range tt.msgs {
				if err != nil {
					t.Fatalf("message %d: %v", i-1, err)
				}
				_, err = f.receive(msg(m))
			}
			if !errors.Is(err, tt.want) {
				t.Errorf("error = %v, want %v", err, tt.want)
			}
			if f.revision != tt.rev || f.set.Revision() != tt.rev {
				t.Errorf("at revision %d, set %d, want %d", f.revision, f.set.Revision(), tt.rev)
			}
			for _, id := range []string{"three", "five", tt.dead} {
				if !revoked(f.set, id) {
					t.Errorf("%s lives", id)
				}
			}
			if revoked(f.set, "x") {
				t.Error("a refused message changed the set")
			}
		})
	}
}

func TestLeaseCountsFromItsOwnRenewal(t *testing.T) {
	t.Parallel()
	f := atFive(t)
	f.nonce = 10
	t0 := time.Now()
	f.renew(t0)                      // 11
	f.renew(t0.Add(time.Second))     // 12
	f.renew(t0.Add(2 * time.Second)) // 13
	grant := func(nonce uint64) *lease {
		ev, err := f.receive(msg(&pb.Lease{Nonce: nonce, DurationMillis: 1000, Revision: 5}))
		if err != nil {
			t.Fatal(err)
		}
		return ev.lease
	}
	if got, want := grant(12), t0.Add(1990*time.Millisecond); got == nil || !got.end.Equal(want) {
		t.Errorf("lease = %+v, want end %s", got, want)
	}
	for _, nonce := range []uint64{11, 12, 99} {
		if grant(nonce) != nil {
			t.Errorf("nonce %d grants a lease, and was not asked for since", nonce)
		}
	}
	f.reset()
	f.state = following
	if grant(13) != nil {
		t.Error("a renewal of an earlier stream grants a lease")
	}
}

func TestLeaseEndsWhenEitherClockSaysSo(t *testing.T) {
	t.Parallel()
	now := time.Now()
	l := &lease{end: now.Add(time.Second), wall: now.Add(time.Second).Round(0)}
	if !l.valid(now) || l.valid(now.Add(time.Second)) {
		t.Error("the monotonic clock does not end the lease")
	}
	l.wall = now.Add(-time.Minute).Round(0) // as after a suspended hour
	if l.valid(now) {
		t.Error("the wall clock does not end the lease")
	}
	if (*lease)(nil).valid(now) {
		t.Error("no lease is valid")
	}
}

// FuzzHostileUpstream feeds a follower any sequence of messages: it must
// neither panic, nor lose a record, nor step back, nor take a lease longer
// than allowed.
func FuzzHostileUpstream(f *testing.F) {
	add := func(ms ...any) {
		var raw []byte
		for _, m := range ms {
			b, err := proto.Marshal(msg(m))
			if err != nil || len(b) > 255 {
				f.Fatal(err, len(b))
			}
			raw = append(append(raw, byte(len(b))), b...)
		}
		f.Add(raw)
	}
	add(&pb.Opened{Epoch: "e", LeaseMillis: 1}, &pb.Delta{Previous: 5, Revision: 6, Records: []*pb.Record{wireRecord(6, "x")}}, &pb.Lease{Nonce: 1, DurationMillis: 1 << 60, Revision: 6})
	add(&pb.Opened{Epoch: "f", LeaseMillis: 1, Snapshot: true}, &pb.SnapshotChunk{Records: []*pb.Record{wireRecord(1, "x")}}, &pb.SnapshotEnd{Epoch: "f", Revision: 1}, &pb.Heartbeat{Revision: 1})
	add(&pb.Opened{Epoch: "e", LeaseMillis: 1}, &pb.Delta{Previous: 5, Revision: 1 << 63, Records: []*pb.Record{nil, {Kind: -1}}})
	f.Fuzz(func(t *testing.T, raw []byte) {
		fo := atFive(t)
		fo.reset()
		now := time.Now()
		fo.renew(now)
		for len(raw) > 0 {
			n := min(int(raw[0]), len(raw)-1)
			var m pb.WatchResponse
			err := proto.Unmarshal(raw[1:1+n], &m)
			raw = raw[1+n:]
			if err != nil {
				continue
			}
			before, epoch := fo.revision, fo.epoch
			ev, err := fo.receive(&m)
			if fo.epoch == epoch && fo.revision < before {
				t.Fatalf("stepped back from %d to %d", before, fo.revision)
			}
			if ev.lease != nil && ev.lease.end.Sub(now) > maxLease {
				t.Fatalf("lease of %s", ev.lease.end.Sub(now))
			}
			if err != nil {
				break
			}
		}
		if !revoked(fo.set, "five") {
			t.Fatal("a dead token lives")
		}
	})
}
