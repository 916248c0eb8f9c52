package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/tegata/tegata/revocation"
	"github.com/tegata/tegata/revocation/watch"
)

// fleetCase is so many watchers of one upstream, on loopback in this process:
// real streams, and a Set in each.
type fleetCase struct {
	Watchers int
	Streams  int // a connection
	TLS      bool

	targetP50, targetP99 float64 // ms, of the answer; 0: none
}

// sharedStreams is how many watchers share a connection where they do.
const sharedStreams = 50

// fleetCases are the steps of the part "watch". Targets are what a prototype
// of the stream alone reached on a quiet machine of this size.
var fleetCases = []fleetCase{
	{1, 1, false, 0.23, 0.42},
	{10, 1, false, 0.42, 0.91},
	{100, 1, false, 2.0, 6.3},
	{1_000, 1, false, 36, 80},
	{1_000, sharedStreams, false, 8, 24},
	{10_000, sharedStreams, false, 103, 241},
	{1, 1, true, 0, 0},
	{10, 1, true, 0.56, 2.6},
	{100, 1, true, 2.8, 8.5},
	{1_000, 1, true, 82, 133},
	{1_000, sharedStreams, true, 0, 0},
	{10_000, sharedStreams, true, 0, 0},
}

// pushes is how many revocations are timed: more where one is quick.
func (c fleetCase) pushes(n int) int {
	switch {
	case c.Watchers <= 10:
		return 10 * n
	case c.Watchers <= 100:
		return 3 * n
	default:
		return n
	}
}

// fleet is the watchers of one case, and their upstream.
type fleet struct {
	log      *growing
	upstream *watch.Upstream
	watchers []*watch.Watcher
	current  atomic.Pointer[push]
	perEach  float64 // KiB of memory a watcher, both ends
}

// push is one revocation on its way.
type push struct {
	token   revocation.Token
	left    atomic.Int64  // watchers that do not refuse it yet
	refused time.Time     // when the last began to
	done    chan struct{} // closed then
}

// measureWatch measures every case, then the snapshot.
func (b *bench) measureWatch(ctx context.Context) (r watchReport, err error) {
	identity, err := mutualTLS()
	if err != nil {
		return r, err
	}
	for _, c := range fleetCases {
		if c.Watchers > b.options.watchers {
			continue
		}
		b.say("watch: %d watchers, %d streams a connection, TLS %v", c.Watchers, c.Streams, c.TLS)
		row, err := measureFleet(ctx, c, identity, c.pushes(b.options.revocations))
		if ctx.Err() != nil {
			return r, err
		}
		if err != nil { // a machine that is too busy for many is not for few
			row = c.failed(err)
		}
		r.Fleets = append(r.Fleets, row)
	}
	b.say("watch: a snapshot of %d", manyRevoked)
	r.Snapshot, err = measureSnapshot(ctx, identity)
	return r, err
}

func measureFleet(ctx context.Context, c fleetCase, identity *tls.Config, pushes int) (fleetRow, error) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	if !c.TLS {
		identity = nil
	}
	f := &fleet{log: newGrowing()}
	if err := f.start(ctx, &running, c, identity); err != nil {
		return fleetRow{}, err
	}
	for i := range pushes / 10 { // to warm up
		if _, _, err := f.push(ctx, fmt.Sprint("warm-", i)); err != nil {
			return fleetRow{}, err
		}
	}
	meter, err := startMeter(os.Getpid())
	if err != nil {
		return fleetRow{}, err
	}
	var answered, refused []time.Duration
	for i := range pushes {
		a, r, err := f.push(ctx, fmt.Sprint(i))
		if err != nil {
			return fleetRow{}, err
		}
		answered, refused = append(answered, a), append(refused, r)
	}
	used, err := meter.perCall(float64(pushes * c.Watchers))
	if err != nil {
		return fleetRow{}, err
	}
	return c.row(answered, refused, f.perEach, used[0]), nil
}

// wave is how many watchers open at once: a machine that runs both ends of
// ten thousand could not greet all before the first lose patience.
const wave = 100

// start returns when every watcher trusts what it has.
func (f *fleet) start(ctx context.Context, running *sync.WaitGroup, c fleetCase, identity *tls.Config) error {
	upstream, addr, err := serveLog(ctx, running, f.log, identity)
	if err != nil {
		return err
	}
	f.upstream = upstream
	before := inUse()
	var conn *grpc.ClientConn
	for i := range c.Watchers {
		if i%c.Streams == 0 {
			if conn, err = dialLog(ctx, addr, identity); err != nil {
				return err
			}
		}
		w, err := f.watcher(conn, i)
		if err != nil {
			return err
		}
		f.watchers = append(f.watchers, w)
		running.Go(func() { _ = w.Run(ctx) })
		if i%wave == wave-1 || i == c.Watchers-1 {
			if err := f.fresh(ctx); err != nil {
				return err
			}
		}
	}
	f.perEach = (inUse() - before) / 1024 / float64(c.Watchers)
	return nil
}

// watcher makes one that says when it refuses the push that is on its way.
func (f *fleet) watcher(conn *grpc.ClientConn, i int) (*watch.Watcher, error) {
	set := revocation.NewSet()
	var seen *push
	return watch.NewWatcher(watch.WatcherConfig{
		Conns: []grpc.ClientConnInterface{conn}, Set: set, Node: fmt.Sprint("watcher-", i),
		Applied: func(context.Context) {
			p := f.current.Load()
			if p == nil || p == seen || !refuses(set, p.token) {
				return
			}
			seen = p
			if now := time.Now(); p.left.Add(-1) == 0 {
				p.refused = now
				close(p.done)
			}
		},
	})
}

func refuses(set *revocation.Set, t revocation.Token) bool {
	v := set.Begin()
	defer v.End()
	_, dead := v.Revoked(t)
	return dead
}

// fresh waits until all watchers hold a lease.
func (f *fleet) fresh(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for _, w := range f.watchers {
		for w.Trust() != revocation.Fresh {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return fmt.Errorf("no lease: %+v", w.Status())
			}
		}
	}
	return nil
}

// push revokes a session and returns after how long the answer came that
// everybody has it, and after how long the last watcher refused it: an answer
// that comes first is an error.
func (f *fleet) push(ctx context.Context, id string) (answered, refused time.Duration, err error) {
	p := &push{token: revocation.Token{Issuer: growingIssuer, Session: id}, done: make(chan struct{})}
	p.left.Store(int64(len(f.watchers)))
	f.current.Store(p)
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	begun := time.Now()
	o, err := f.upstream.Await(ctx, f.log.commit(id))
	answered = time.Since(begun)
	if err != nil {
		return 0, 0, err
	}
	if o.Applied != len(f.watchers) {
		return 0, 0, fmt.Errorf("%d of %d have applied it: leases were lost, there is nothing to measure", o.Applied, len(f.watchers))
	}
	select {
	case <-p.done:
	default:
		return 0, 0, fmt.Errorf("answered while %d watchers did not refuse", p.left.Load())
	}
	return answered, p.refused.Sub(begun), nil
}

// fleetLease is long: ten thousand watchers with the usual one renew eight
// thousand times a second, and a machine that runs both ends does little else.
const fleetLease = time.Minute

// serveLog runs an upstream of the log until ctx ends.
func serveLog(ctx context.Context, running *sync.WaitGroup, source watch.Source, identity *tls.Config) (*watch.Upstream, string, error) {
	upstream, err := watch.NewUpstream(watch.UpstreamConfig{
		Source: source, Lease: fleetLease, NewStore: true,
		Authorize: func(context.Context) (watch.Identity, error) { return watch.Identity{Name: "authz"}, nil },
	})
	if err != nil {
		return nil, "", err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", err
	}
	options := watch.ServerOptions(fleetLease)
	if identity != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(identity)))
	}
	server := grpc.NewServer(options...)
	upstream.Register(server)
	running.Go(func() { _ = server.Serve(l) })
	running.Go(func() { _ = upstream.Run(ctx) })
	context.AfterFunc(ctx, server.Stop)
	return upstream, l.Addr().String(), nil
}

// dialLog opens a connection that is closed when ctx ends.
func dialLog(ctx context.Context, addr string, identity *tls.Config) (*grpc.ClientConn, error) {
	transport := insecure.NewCredentials()
	if identity != nil {
		transport = credentials.NewTLS(identity)
	}
	conn, err := grpc.NewClient(addr, append(watch.DialOptions(fleetLease), grpc.WithTransportCredentials(transport))...)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { _ = conn.Close() })
	return conn, nil
}

// inUse is the memory that this process needs, in bytes: heap and stacks.
func inUse() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc + m.StackInuse)
}

// measureSnapshot loads a watcher with many records, from nothing, with TLS.
func measureSnapshot(ctx context.Context, identity *tls.Config) (snapshotRow, error) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	log := newGrowing()
	log.fill(manyRevoked)
	_, addr, err := serveLog(ctx, &running, log, identity)
	if err != nil {
		return snapshotRow{}, err
	}
	var took []time.Duration
	var set *revocation.Set
	for range snapshotLoads {
		set = revocation.NewSet()
		conn, err := dialLog(ctx, addr, identity)
		if err != nil {
			return snapshotRow{}, err
		}
		w, err := watch.NewWatcher(watch.WatcherConfig{Conns: []grpc.ClientConnInterface{conn}, Set: set, Node: "snapshot"})
		if err != nil {
			return snapshotRow{}, err
		}
		begun := time.Now()
		running.Go(func() { _ = w.Run(ctx) })
		select {
		case <-w.Synced():
		case <-ctx.Done():
			return snapshotRow{}, ctx.Err()
		}
		took = append(took, time.Since(begun))
	}
	if set.Len() != manyRevoked {
		return snapshotRow{}, fmt.Errorf("%d records arrived, want %d", set.Len(), manyRevoked)
	}
	slices.Sort(took)
	return snapshotRow{Entries: manyRevoked, ResyncMS: round(ms(quantile(took, 0.5))), BytesPerEntry: round(float64(set.Bytes()) / manyRevoked)}, nil
}

// snapshotLoads is how often the snapshot is loaded; the median counts.
const snapshotLoads = 5
