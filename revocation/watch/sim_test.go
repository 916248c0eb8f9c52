package watch

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tegata/tegata/revocation"
	pb "github.com/tegata/tegata/revocation/revocationpb"
)

var seeds = flag.Int("seeds", 60, "how many histories the simulation plays")

// TestSimulation plays histories of partitions, delays, crashes, restarts,
// restores, an unreadable log and drifting clocks against the real Upstream
// and Watchers, in virtual time, and asserts the invariants of the contract.
// A seed fixes what goes wrong and when; the order in which goroutines run at
// one moment is the scheduler's.
func TestSimulation(t *testing.T) {
	t.Parallel()
	n := *seeds
	if testing.Short() {
		n = 20
	}
	sum := tally{}
	for seed := range n {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { sum.add(simulate(t, uint64(seed), 20*time.Second)) })
		})
	}
	t.Logf("%d histories: %+v", n, sum)
	if sum.allowed == 0 || sum.refused == 0 || sum.applied == 0 || sum.stale == 0 {
		t.Error("the simulation does not reach what it is to judge")
	}
}

type tally struct{ commits, applied, allowed, refused, stale int }

func (t *tally) add(o tally) {
	t.commits += o.commits
	t.applied += o.applied
	t.allowed += o.allowed
	t.refused += o.refused
	t.stale += o.stale
}

const (
	simLease = time.Second
	simDrift = 0.004
	simBound = simLease + simLease/100 // 2: commit + lease + drift
)

// world is everything in one history.
type world struct {
	t    *testing.T
	seed uint64
	src  *memory

	mu    sync.Mutex
	rnd   *rand.Rand
	up    *Upstream // nil while it is down
	stop  func()
	nodes []*node
	dead  map[string]*death
	ids   []string // of dead, in the order of their commits
	tally tally
}

// death is one revoked session.
type death struct {
	rev                revocation.Revision
	committed, applied time.Time
	lost               bool // by a restored backup
}

// node is one watcher, with the link to its upstream.
type node struct {
	w    *Watcher
	stop func()
	link *link
	kept map[string]time.Time // dead here when a backup that lacks them was restored
}

func (w *world) float() float64 { w.mu.Lock(); defer w.mu.Unlock(); return w.rnd.Float64() }

func (w *world) between(a, b time.Duration) time.Duration {
	return a + time.Duration(w.float()*float64(b-a))
}

func (w *world) clock() func() time.Time {
	start, rate := time.Now(), 1+simDrift*(2*w.float()-1)
	return func() time.Time { return start.Add(time.Duration(float64(time.Since(start)) * rate)) }
}

func simulate(t *testing.T, seed uint64, length time.Duration) tally {
	w := &world{t: t, seed: seed, src: newMemory("e0"), rnd: rand.New(rand.NewPCG(seed, 42)), dead: map[string]*death{}}
	ctx, cancel := context.WithTimeout(t.Context(), length)
	defer cancel()
	w.startUpstream()
	for i := range 3 {
		n := &node{link: &link{change: make(chan struct{}), delay: w.between(0, 5*time.Millisecond)}}
		w.nodes = append(w.nodes, n)
		w.startNode(i)
	}
	var wg sync.WaitGroup
	wg.Go(func() { w.revoke(ctx, &wg) })
	wg.Go(func() { w.trouble(ctx) })
	for i := range w.nodes {
		wg.Go(func() { w.check(ctx, i) })
	}
	wg.Wait()
	for i := range w.nodes {
		w.stopNode(i)
	}
	w.stopUpstream()
	return w.tally
}

func (w *world) startUpstream() {
	u, err := NewUpstream(UpstreamConfig{Source: w.src, Authorize: anyone, Lease: simLease, Now: w.clock()})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = u.Run(ctx) })
	w.mu.Lock()
	defer w.mu.Unlock()
	w.up, w.stop = u, func() { cancel(); wg.Wait() }
}

func (w *world) stopUpstream() {
	w.mu.Lock()
	stop := w.stop
	w.up, w.stop = nil, nil
	w.mu.Unlock()
	if stop != nil {
		stop()
	}
}

func (w *world) startNode(i int) {
	w.mu.Lock()
	n := w.nodes[i]
	w.mu.Unlock()
	x, err := newWatcher(WatcherConfig{Set: revocation.NewSet(), Node: fmt.Sprint("n", i), Now: w.clock()}, w.dialer(n.link, i))
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = x.Run(ctx) })
	w.mu.Lock()
	defer w.mu.Unlock()
	n.w, n.stop, n.kept = x, func() { cancel(); wg.Wait() }, map[string]time.Time{}
}

func (w *world) stopNode(i int) {
	w.mu.Lock()
	n := w.nodes[i]
	stop := n.stop
	n.w, n.stop = nil, nil
	w.mu.Unlock()
	if stop != nil {
		stop()
	}
}

// revoke commits revocations, and asks after most of them whether they are
// applied.
func (w *world) revoke(ctx context.Context, wg *sync.WaitGroup) {
	for i := 0; sleep(ctx, w.between(0, 250*time.Millisecond)) == nil; i++ {
		var batch []revocation.Record
		var ids []string
		for k := range 1 + int(3*w.float()*w.float()) {
			id := fmt.Sprint(i, "-", k)
			ids = append(ids, id)
			batch = append(batch, sessionRecord(id))
		}
		w.mu.Lock()
		up := w.up
		if up == nil {
			w.mu.Unlock()
			continue // whoever revokes is in the issuer's process
		}
		rev := w.src.commit(batch...)
		d := &death{rev: rev, committed: time.Now()}
		for _, id := range ids {
			w.dead[id] = d
			w.ids = append(w.ids, id)
		}
		w.tally.commits++
		w.mu.Unlock()
		if w.float() < 0.8 {
			wg.Go(func() { w.await(ctx, up, d) })
		}
	}
}

func (w *world) await(ctx context.Context, up *Upstream, d *death) {
	p, err := up.Await(ctx, d.rev)
	if err != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(p.Pending) > 0 {
		w.t.Errorf("seed %d: applied, and pending: %v", w.seed, p.Pending)
	}
	if !d.lost {
		d.applied = time.Now()
		w.tally.applied++
	}
}

// trouble makes one thing go wrong after the other, at times several at once.
func (w *world) trouble(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	epoch := 0
	for sleep(ctx, w.between(50*time.Millisecond, 900*time.Millisecond)) == nil {
		i := int(w.float() * float64(len(w.nodes)))
		l := w.nodes[i].link
		switch x := w.float(); {
		case x < 0.25:
			l.set(func() { l.down = true })
			wg.Go(func() { _ = sleep(ctx, w.between(0, 3*time.Second)); l.set(func() { l.down = false }) })
		case x < 0.40:
			l.set(func() { l.resets++ })
		case x < 0.55:
			l.set(func() { l.delay = w.between(0, 400*time.Millisecond) })
			wg.Go(func() {
				_ = sleep(ctx, w.between(0, 2*time.Second))
				l.set(func() { l.delay = time.Millisecond })
			})
		case x < 0.70:
			w.stopUpstream()
			_ = sleep(ctx, w.between(0, 1500*time.Millisecond))
			w.startUpstream()
		case x < 0.80:
			w.stopNode(i)
			_ = sleep(ctx, w.between(0, 500*time.Millisecond))
			w.startNode(i)
		case x < 0.88:
			w.src.breakDown(true)
			_ = sleep(ctx, w.between(0, 2*time.Second))
			w.src.breakDown(false)
		case x < 0.94:
			w.src.compact(time.Now())
		default:
			epoch++
			w.restore(fmt.Sprint("e", epoch), x < 0.97)
		}
	}
}

// restore puts back a backup; an operator does that while the issuer is down.
func (w *world) restore(epoch string, lossy bool) {
	w.stopUpstream()
	w.mu.Lock()
	_, head, err := w.src.Head(context.Background())
	if err == nil {
		if lossy && head > 3 {
			head -= 3
		}
		w.src.restore(revocation.Epoch(epoch), head)
		for id, d := range w.dead {
			if d.rev <= head || d.lost {
				continue
			}
			d.lost, d.applied = true, time.Time{}
			for _, n := range w.nodes {
				if n.w != nil && revoked(n.w.c.Set, id) {
					n.kept[id] = time.Now()
				}
			}
		}
	}
	w.mu.Unlock()
	w.startUpstream()
}

// check is an enforcement point in deny mode with a deadline for decisions.
func (w *world) check(ctx context.Context, i int) {
	for sleep(ctx, w.between(time.Millisecond, 25*time.Millisecond)) == nil {
		w.mu.Lock()
		x := w.nodes[i].w
		ids := slices.Clone(w.ids[max(0, len(w.ids)-40):])
		if len(w.ids) > 0 {
			for range 5 { // and some that are long dead
				ids = append(ids, w.ids[w.rnd.IntN(len(w.ids))])
			}
		}
		w.mu.Unlock()
		if x != nil {
			w.decide(ctx, i, x, ids)
		}
	}
}

func (w *world) decide(ctx context.Context, i int, x *Watcher, ids []string) {
	begin := time.Now()
	v := x.c.Set.Begin()
	trust := x.Trust()
	lease := x.lease.Load()
	if w.float() < 0.1 {
		_ = sleep(ctx, w.between(0, 30*time.Millisecond))
	}
	allowed := map[string]bool{}
	for _, id := range ids {
		_, dead := v.Revoked(sessionToken(id))
		allowed[id] = !dead && trust == revocation.Fresh
	}
	_, refused := v.Revoked(sessionToken("alive"))
	end := time.Now()
	one := lease.valid(x.c.Now()) // the whole decision lies in one lease

	w.mu.Lock()
	defer w.mu.Unlock()
	v.End()
	if refused {
		w.t.Errorf("seed %d: 5: refused and no record matches", w.seed)
	}
	if trust != revocation.Fresh {
		w.tally.stale++
		return
	}
	for _, id := range ids {
		d := w.dead[id]
		if !allowed[id] {
			w.tally.refused++
			continue
		}
		w.tally.allowed++
		answered := !d.applied.IsZero()
		switch {
		case answered && !d.applied.After(begin):
			w.t.Errorf("seed %d: 1: node %d allows %s (revision %d) %s after it was answered as applied", w.seed, i, id, d.rev, begin.Sub(d.applied))
		case answered && one && d.applied.Before(end):
			w.t.Errorf("seed %d: 1: node %d still decides on an older state when revision %d was answered as applied", w.seed, i, d.rev)
		case !d.lost && begin.Sub(d.committed) > simBound:
			w.t.Errorf("seed %d: 2: node %d allows %s (revision %d) %s after the commit", w.seed, i, id, d.rev, begin.Sub(d.committed))
		case w.nodes[i].w == x && keptBefore(w.nodes[i].kept[id], begin):
			w.t.Errorf("seed %d: 4: node %d brings %s back after a restore", w.seed, i, id)
		}
	}
}

// keptBefore leaves out decisions that began before the record was there.
func keptBefore(kept, begin time.Time) bool { return !kept.IsZero() && !begin.Before(kept) }

// link is the network between one node and the upstream: while it is down
// nothing arrives, as under TCP what was sent then arrives later, if the
// connection lives.
type link struct {
	mu     sync.Mutex
	down   bool
	delay  time.Duration
	resets int
	change chan struct{}
}

func (l *link) set(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
	close(l.change)
	l.change = make(chan struct{})
}

func (l *link) see() (down bool, delay time.Duration, resets int, change <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.down, l.delay, l.resets, l.change
}

var errReset = errors.New("connection reset")

// dialer connects a node with the upstream that runs at that moment.
func (w *world) dialer(l *link, i int) func(context.Context) (clientPipe, error) {
	return func(ctx context.Context) (clientPipe, error) {
		w.mu.Lock()
		up := w.up
		w.mu.Unlock()
		if down, _, _, _ := l.see(); down || up == nil {
			return nil, errReset
		}
		return connect(ctx, up, l, Identity{Name: fmt.Sprint("node", i)}), nil
	}
}

// connect serves one stream over the link.
func connect(client context.Context, up *Upstream, l *link, id Identity) clientPipe {
	_, _, resets, _ := l.see()
	server, cancel := context.WithCancel(context.Background())
	requests := &wire[pb.WatchRequest]{link: l, resets: resets, items: make(chan item[pb.WatchRequest], 4)}
	responses := &wire[pb.WatchResponse]{link: l, resets: resets, items: make(chan item[pb.WatchResponse], 4)}
	over := make(chan struct{})
	go func() {
		_ = up.serve(server, id, serverEnd{server, requests, responses})
		cancel()
		close(over)
	}()
	// The server notices that the client is gone, at the latest when its
	// transport gives up; while the link is down it does not.
	go func() {
		select {
		case <-client.Done():
			for {
				down, _, _, change := l.see()
				if !down {
					break
				}
				select {
				case <-change:
				case <-over:
				}
				select {
				case <-over:
					return
				default:
				}
			}
			cancel()
		case <-over:
		}
	}()
	return clientEnd{client, over, requests, responses}
}

type item[M any] struct {
	m  *M
	at time.Time
}

// wire is one direction of one stream: ordered, delayed, bounded.
type wire[M any] struct {
	link   *link
	resets int
	items  chan item[M]
}

func (x *wire[M]) send(ctx context.Context, over <-chan struct{}, m *M) error {
	_, delay, resets, _ := x.link.see()
	if resets != x.resets {
		return errReset
	}
	select {
	case x.items <- item[M]{m, time.Now().Add(delay)}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-over:
		return errReset
	}
}

func (x *wire[M]) recv(ctx context.Context, over <-chan struct{}) (*M, error) {
	var it item[M]
	var due <-chan time.Time
	items := x.items
	for {
		down, _, resets, change := x.link.see()
		if resets != x.resets {
			return nil, errReset
		}
		if it.m != nil && !down && due == nil {
			due = time.After(time.Until(it.at))
		}
		select {
		case it = <-items:
			items = nil
		case <-due:
			if down, _, _, _ := x.link.see(); !down {
				return it.m, nil
			}
			due = nil
		case <-change:
		case <-over:
			if it.m == nil || down {
				return nil, errReset
			}
			over = nil // what is under way still arrives
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

type clientEnd struct {
	ctx  context.Context
	over <-chan struct{}
	out  *wire[pb.WatchRequest]
	in   *wire[pb.WatchResponse]
}

func (c clientEnd) Send(m *pb.WatchRequest) error    { return c.out.send(c.ctx, c.over, m) }
func (c clientEnd) Recv() (*pb.WatchResponse, error) { return c.in.recv(c.ctx, c.over) }

type serverEnd struct {
	ctx context.Context
	in  *wire[pb.WatchRequest]
	out *wire[pb.WatchResponse]
}

func (s serverEnd) Send(m *pb.WatchResponse) error  { return s.out.send(s.ctx, nil, m) }
func (s serverEnd) Recv() (*pb.WatchRequest, error) { return s.in.recv(s.ctx, nil) }
