package watch

import (
	"context"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/tegata/tegata/revocation"
	pb "github.com/tegata/tegata/revocation/revocationpb"
)

// ObserverConfig configures an Observer. Its functions are called one at a
// time, and hold up the stream; nil for what is of no interest.
type ObserverConfig struct {
	Conns   []grpc.ClientConnInterface // as in WatcherConfig
	Node    string                     // name shown to operators
	Issuers []string                   // wanted; empty means all

	Opened func(Opening)             // a stream is followed
	Record func(r revocation.Record) // in the order of revisions, each once in an epoch
	Lost   func(err error)           // the stream ended; another is tried
	Held   func([]revocation.Record) // parts of a snapshot: what was in force before
}

// Opening is where a stream begins.
type Opening struct {
	Epoch    revocation.Epoch
	Revision revocation.Revision
	Resumed  bool // nothing was missed since the stream before
	InForce  int  // records in the snapshot, if not resumed
}

// Observer follows the records of an Upstream and enforces nothing: it has no
// lease, and no revocation waits for it. It keeps no record.
type Observer struct {
	c     ObserverConfig
	dials []dial
	f     follower
}

// NewObserver checks the configuration.
func NewObserver(c ObserverConfig) (*Observer, error) {
	if len(c.Conns) == 0 {
		return nil, errors.New("watch: Conns is required")
	}
	dials := make([]dial, len(c.Conns))
	for i, conn := range c.Conns {
		dials[i] = dialer(conn)
	}
	return newObserver(c, dials...)
}

func newObserver(c ObserverConfig, dials ...dial) (*Observer, error) {
	if len(c.Node) > maxName || len(c.Issuers) > maxIssuers {
		return nil, errors.New("watch: node name or issuers too long")
	}
	if c.Opened == nil {
		c.Opened = func(Opening) {}
	}
	if c.Record == nil {
		c.Record = func(revocation.Record) {}
	}
	if c.Lost == nil {
		c.Lost = func(error) {}
	}
	if c.Held == nil {
		c.Held = func([]revocation.Record) {}
	}
	return &Observer{c: c, dials: dials, f: follower{set: revocation.NewSet()}}, nil
}

// Run follows, one upstream at a time, until ctx ends. It returns nil then.
func (o *Observer) Run(ctx context.Context) error {
	pause := backoffFirst
	for n := 0; ; n++ {
		good, err := o.follow(ctx, o.dials[n%len(o.dials)])
		if ctx.Err() != nil {
			return nil
		}
		o.c.Lost(err)
		if good {
			pause = backoffFirst
		}
		if sleep(ctx, pause/2+mathrand.N(pause/2)) != nil {
			return nil
		}
		pause = min(2*pause, backoffLast)
	}
}

// follow follows one stream; good says that it came to records.
func (o *Observer) follow(ctx context.Context, to dial) (good bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel(nil)
	impatient := time.AfterFunc(openPatience, func() { cancel(errSilent) })
	defer impatient.Stop()
	p, err := to(ctx)
	if err != nil {
		return false, err
	}
	o.f.reset()
	if err := p.Send(o.open()); err != nil {
		return false, fmt.Errorf("opening: %w", err)
	}
	in := make(chan *pb.WatchResponse)
	wg.Go(func() { cancel(receiveAll(ctx, p, in)) })
	for {
		select {
		case m := <-in:
			if err := o.receive(p, m); err != nil {
				return good, err
			}
			good = good || o.f.state == following
			impatient.Reset(max(o.f.every/2, openPatience))
		case <-ctx.Done():
			return good, context.Cause(ctx)
		}
	}
}

func (o *Observer) open() *pb.WatchRequest {
	open := &pb.Open{
		Node: o.c.Node, OnStale: pb.OnStale_ON_STALE_DENY, Issuers: o.c.Issuers,
		Epoch: string(o.f.epoch), Revision: uint64(o.f.revision), Observer: true,
	}
	if o.f.startNew {
		open.Epoch, open.Revision = "", 0
	}
	return &pb.WatchRequest{Message: &pb.WatchRequest_Open{Open: open}}
}

// receive shows what a message brings, once it has been found to fit.
func (o *Observer) receive(p clientPipe, m *pb.WatchResponse) error {
	before, loaded := o.f.state, o.f.loaded
	ev, err := o.f.receive(m)
	if err != nil {
		return err
	}
	if before != following && o.f.state == following {
		o.c.Opened(o.opening(m, loaded))
	}
	if err := o.show(m); err != nil || !ev.applied {
		return err
	}
	o.f.set = revocation.NewSet() // nothing is decided by it
	return p.Send(&pb.WatchRequest{Message: &pb.WatchRequest_Ack{Ack: &pb.Ack{Revision: uint64(o.f.revision)}}})
}

func (o *Observer) opening(m *pb.WatchResponse, loaded int) Opening {
	at := Opening{Epoch: o.f.epoch, Revision: o.f.revision, Resumed: m.GetOpened() != nil}
	if !at.Resumed {
		at.InForce = loaded
	}
	return at
}

func (o *Observer) show(m *pb.WatchResponse) error {
	held, err := decode(m.GetSnapshotChunk().GetRecords())
	if err != nil {
		return err
	}
	if len(held) > 0 {
		o.c.Held(held)
	}
	records, err := decode(m.GetDelta().GetRecords())
	if err != nil {
		return err
	}
	sortRecords(records)
	for _, r := range records {
		o.c.Record(r)
	}
	return nil
}
