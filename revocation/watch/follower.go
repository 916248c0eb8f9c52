package watch

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tegata/tegata/revocation"
	pb "github.com/tegata/tegata/revocation/revocationpb"
)

// follower is the watcher's side of the contract: what it holds, and what each
// message does to that. It is a pure state machine; the goroutine of
// Watcher.Run that receives owns it.
//
//	opening ──Opened{snapshot}──► loading ──SnapshotEnd──► following
//	   └──────Opened{resume}───────────────────────────────────┘
//
// Any message that does not fit ends the stream; the next one resumes from
// what was applied.
type follower struct {
	set   *revocation.Set
	log   *relayLog // the records themselves, for a relay; nil for others
	state followerState

	epoch    revocation.Epoch // of what is applied; empty before the first snapshot
	revision revocation.Revision

	loader  *revocation.Loader // while loading
	loaded  int
	highest revocation.Revision // in the snapshot so far
	loading revocation.Epoch    // the stream's epoch

	issuers  []string // that what is applied is made of; empty means all
	offered  []string // that the stream carries
	startNew bool     // what is applied is of other issuers than the stream: ask for a snapshot

	every time.Duration // the longest lease the upstream grants
	nonce uint64
	sent  []sentRenew
}

type followerState uint8

const (
	opening followerState = iota
	loading
	following
)

type sentRenew struct {
	nonce uint64
	at    time.Time
}

// lease is until when the applied state may be trusted: by the monotonic
// clock, and by the wall clock too, since the monotonic one stands still while
// a machine is suspended.
type lease struct {
	end      time.Time
	wall     time.Time
	epoch    revocation.Epoch
	revision revocation.Revision // good only for who has applied it
}

func (l *lease) valid(now time.Time) bool {
	return l != nil && now.Before(l.end) && now.Round(0).Before(l.wall)
}

// left is what is left of it at a moment, by both clocks.
func (l *lease) left(at time.Time) time.Duration {
	return min(l.end.Sub(at), l.wall.Sub(at.Round(0)))
}

// event says what a message did.
type event struct {
	applied bool      // acknowledge revision
	renew   bool      // now is a good moment to ask for a lease
	lease   *lease    // granted
	server  time.Time // the upstream's clock
}

// Errors of the contract as the watcher sees it.
var (
	errGap      = errors.New("gap in the stream")
	errBackward = errors.New("upstream went back in time")
	errProtocol = errors.New("upstream broke the contract")
	errIncluded = errors.New("upstream tells of other issuers than what is held is made of: starting over")
)

const maxSnapshot = 50_000_000 // records; about 1.6 GB

// driftMargin is taken off each lease for clocks that run at different rates.
const driftMargin = 100 // a hundredth

// reset readies the follower for a new stream.
func (f *follower) reset() {
	f.state, f.loader, f.sent, f.every = opening, nil, nil, 0
}

// renew makes the next renewal; now is before it is sent.
func (f *follower) renew(now time.Time) *pb.WatchRequest {
	f.nonce++
	if len(f.sent) == maxRenews {
		f.sent = f.sent[1:]
	}
	f.sent = append(f.sent, sentRenew{nonce: f.nonce, at: now})
	return &pb.WatchRequest{Message: &pb.WatchRequest_Renew{Renew: &pb.Renew{Nonce: f.nonce}}}
}

// receive does what a message says. After an error the stream is to be ended.
func (f *follower) receive(m *pb.WatchResponse) (event, error) {
	switch m := m.GetMessage().(type) {
	case *pb.WatchResponse_Opened:
		return f.opened(m.Opened)
	case *pb.WatchResponse_SnapshotChunk:
		return event{}, f.chunk(m.SnapshotChunk)
	case *pb.WatchResponse_SnapshotEnd:
		return f.end(m.SnapshotEnd)
	case *pb.WatchResponse_Delta:
		return f.delta(m.Delta)
	case *pb.WatchResponse_Lease:
		return f.granted(m.Lease)
	case *pb.WatchResponse_Heartbeat:
		if f.state != following {
			return event{}, fmt.Errorf("%w: heartbeat before the state is whole", errProtocol)
		}
		return event{}, f.at(m.Heartbeat.GetRevision())
	default:
		return event{}, fmt.Errorf("%w: unknown message: this watcher is too old for its upstream", errProtocol)
	}
}

func (f *follower) opened(o *pb.Opened) (event, error) {
	f.every = time.Duration(min(o.GetLeaseMillis(), maxLease.Milliseconds())) * time.Millisecond
	f.log.opened(f.every)
	switch epoch := revocation.Epoch(o.GetEpoch()); {
	case f.state != opening:
		return event{}, fmt.Errorf("%w: opened twice", errProtocol)
	case epoch == "" || len(epoch) > maxEpoch || f.every <= 0:
		return event{}, fmt.Errorf("%w: opened without epoch or lease", errProtocol)
	case len(o.GetIssuers()) > maxIssuers:
		return event{}, fmt.Errorf("%w: %d issuers", errProtocol, len(o.GetIssuers()))
	case o.GetSnapshot():
		f.offered = o.GetIssuers()
		f.state, f.loading, f.loader, f.loaded, f.highest = loading, epoch, f.set.Load(), 0, 0
		return event{}, nil
	case epoch != f.epoch:
		return event{}, fmt.Errorf("%w: resumed in another epoch", errProtocol)
	case !slices.Equal(o.GetIssuers(), f.issuers):
		f.startNew = true
		return event{}, errIncluded
	default:
		f.state = following
		return event{renew: true}, nil
	}
}

func (f *follower) chunk(c *pb.SnapshotChunk) error {
	if f.state != loading {
		return fmt.Errorf("%w: chunk outside a snapshot", errProtocol)
	}
	records, err := decode(c.GetRecords())
	if err != nil {
		return fmt.Errorf("%w: %w", errProtocol, err)
	}
	if f.loaded += len(records); f.loaded > maxSnapshot {
		return fmt.Errorf("%w: snapshot of more than %d records", errProtocol, maxSnapshot)
	}
	for i := range records {
		f.highest = max(f.highest, records[i].Revision)
	}
	f.loader.Add(records)
	f.log.load(records)
	return nil
}

func (f *follower) end(e *pb.SnapshotEnd) (event, error) {
	rev := revocation.Revision(e.GetRevision())
	switch {
	case f.state != loading:
		return event{}, fmt.Errorf("%w: end outside a snapshot", errProtocol)
	case e.GetEpoch() != string(f.loading) || f.highest > rev:
		return event{}, fmt.Errorf("%w: snapshot does not fit its end", errProtocol)
	case f.loading == f.epoch && rev < f.revision:
		return event{}, fmt.Errorf("%w: snapshot at %d, already at %d", errBackward, rev, f.revision)
	}
	f.loader.CommitOver(rev)
	f.log.begin(f.loading, rev, f.offered)
	f.state, f.loader = following, nil
	f.epoch, f.revision = f.loading, rev
	f.issuers, f.startNew = f.offered, false
	return event{applied: true, renew: true}, nil
}

func (f *follower) delta(d *pb.Delta) (event, error) {
	rev := revocation.Revision(d.GetRevision())
	switch {
	case f.state != following:
		return event{}, fmt.Errorf("%w: delta before the state is whole", errProtocol)
	case revocation.Revision(d.GetPrevious()) != f.revision:
		return event{}, fmt.Errorf("%w: at %d, delta from %d", errGap, f.revision, d.GetPrevious())
	case rev <= f.revision:
		return event{}, fmt.Errorf("%w: delta from %d to %d", errBackward, f.revision, rev)
	}
	records, err := decode(d.GetRecords())
	if err != nil {
		return event{}, fmt.Errorf("%w: %w", errProtocol, err)
	}
	for i := range records {
		if r := records[i].Revision; r <= f.revision || r > rev {
			return event{}, fmt.Errorf("%w: record %d in a delta from %d to %d", errProtocol, r, f.revision, rev)
		}
	}
	f.set.Apply(records, rev)
	f.log.append(records, rev)
	f.revision = rev
	return event{applied: true}, nil
}

// granted takes a lease only for a state that has all the lease names, and
// only for a renewal of this stream.
func (f *follower) granted(l *pb.Lease) (event, error) {
	if f.state != following {
		return event{}, fmt.Errorf("%w: lease before the state is whole", errProtocol)
	}
	if err := f.at(l.GetRevision()); err != nil {
		return event{}, err
	}
	for i, s := range f.sent {
		if s.nonce != l.GetNonce() {
			continue
		}
		f.sent = f.sent[i+1:]
		ms := min(l.GetDurationMillis(), maxLease.Milliseconds())
		if ms <= 0 {
			return event{}, fmt.Errorf("%w: lease of %d ms", errProtocol, l.GetDurationMillis())
		}
		d := time.Duration(ms) * time.Millisecond
		end := s.at.Add(d - d/driftMargin)
		granted := &lease{end: end, wall: end.Round(0), epoch: f.epoch, revision: f.revision}
		return event{lease: granted, server: fromMillis(l.GetNowMillis())}, nil
	}
	return event{}, nil // of a renewal forgotten since
}

// at makes sure that nothing is missing before what the upstream says now.
func (f *follower) at(rev uint64) error {
	switch {
	case rev > uint64(f.revision):
		return fmt.Errorf("%w: at %d, upstream at %d", errGap, f.revision, rev)
	case rev < uint64(f.revision):
		return fmt.Errorf("%w: at %d, upstream at %d", errBackward, f.revision, rev)
	}
	return nil
}
