package watch

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/tegata/tegata/revocation"
	pb "github.com/tegata/tegata/revocation/revocationpb"
)

var (
	schedules = flag.Int("schedules", 1000, "how many schedules are played")
	oneSeed   = flag.Int64("seed", -1, "play this schedule alone, and say what happens in it")
)

// TestSchedules plays, single-threaded and in virtual time, whole systems of the
// real Upstreams, Relays and Watchers: their state machines and everything of
// them but their goroutines, in whose place a seeded schedule says who does
// what next. Replicas on one store, relays in one or two levels, leaves with
// several upstreams; messages late, streams cut, partitions in one direction,
// processes that stop, are suspended, crash and come back, stores that cannot
// be reached or are restored under a new epoch, clocks that drift by 1 % and are
// set. After every step the invariants of the contract are asserted. A seed
// that fails, fails again: -args -seed N.
func TestSchedules(t *testing.T) {
	t.Parallel()
	if *oneSeed >= 0 {
		if err := play(uint64(*oneSeed), t.Logf, new(reached)); err != nil {
			t.Fatal(err)
		}
		return
	}
	n := int64(*schedules)
	if testing.Short() || raced {
		n = min(n, 300)
	}
	var next, failures atomic.Int64
	var all [64]reached
	var wg sync.WaitGroup
	for worker := range min(runtime.GOMAXPROCS(0), len(all)) {
		wg.Go(func() {
			for failures.Load() < 5 {
				seed := next.Add(1) - 1
				if seed >= n {
					return
				}
				if err := play(uint64(seed), nil, &all[worker]); err != nil {
					failures.Add(1)
					t.Errorf("%v (again: -args -seed %d)", err, seed)
				}
			}
		})
	}
	wg.Wait()
	var sum reached
	for _, r := range all {
		sum.add(r)
	}
	t.Logf("%d schedules: %+v", n, sum)
	if n >= 300 && (sum.Answered == 0 || sum.Allowed == 0 || sum.Refused == 0 || sum.Stale == 0 || sum.Restores == 0 || sum.Moves == 0) {
		t.Error("the schedules do not reach what they are to judge")
	}
}

// reached counts what happened, lest nothing does.
type reached struct{ Steps, Commits, Answered, Allowed, Refused, Stale, Restores, Moves, Crashes int }

func (r *reached) add(o reached) {
	r.Steps += o.Steps
	r.Commits += o.Commits
	r.Answered += o.Answered
	r.Allowed += o.Allowed
	r.Refused += o.Refused
	r.Stale += o.Stale
	r.Restores += o.Restores
	r.Moves += o.Moves
	r.Crashes += o.Crashes
}

const (
	ms       = int64(time.Millisecond)
	shLease  = 400 * time.Millisecond
	shDrift  = 0.00495 // each way: two clocks differ by 1 %
	shBound  = int64(shLease) * 1006 / 1000
	shRounds = 150
	shHeal   = 60
	patient  = 8 // so many wait for an answer at once
)

// reading is the layout of time.Time, which has no constructor for a monotonic
// clock that differs from the wall clock.
type reading struct {
	wall uint64
	ext  int64
	loc  *time.Location
}

// readClocks is what time.Now returns when these are the clocks.
func readClocks(wall, mono int64) time.Time {
	const since1885 = 2682288000
	sec, ns := wall/1e9+since1885, wall%1e9
	r := reading{wall: 1<<63 | uint64(sec)<<30 | uint64(ns), ext: mono}
	return *(*time.Time)(unsafe.Pointer(&r))
}

func TestReadClocks(t *testing.T) {
	t.Parallel()
	a, b := readClocks(1_800_000_000e9, 5e9), readClocks(1_700_000_000e9+7, 6e9)
	if got := b.Sub(a); got != time.Second {
		t.Errorf("by the monotonic clock: %s", got)
	}
	if got := b.Round(0); !got.Equal(time.Unix(1_700_000_000, 7)) {
		t.Errorf("by the wall clock: %s", got)
	}
}

// machine is a process with its clocks.
type machine struct {
	h      *history
	name   string
	rate   float64
	start  int64
	asleep int64 // suspended so far, which the monotonic clock does not count
	set    int64 // by how much the wall clock was set
	until  int64 // stopped or suspended until then
	since  int64 // suspended since then; 0: not
}

func (h *history) machine(name string) machine {
	return machine{h: h, name: name, rate: 1 + shDrift*(2*h.rnd.Float64()-1), start: h.now - int64(h.rnd.IntN(1e9)), set: int64(h.rnd.IntN(1e9))}
}

func (m *machine) now() time.Time {
	mono := int64(float64(m.h.now-m.start)*m.rate) - m.asleep
	return readClocks(1_800_000_000e9+mono+m.asleep+m.set, 1e9+mono)
}

// runs says whether the process can do something now.
func (m *machine) runs() bool {
	if m.h.now < m.until {
		return false
	}
	if m.since != 0 {
		m.asleep += int64(float64(m.h.now-m.since) * m.rate)
		m.since = 0
	}
	return true
}

// wake is a process that starts: whatever held the one before up.
func (m *machine) wake() {
	m.until = min(m.until, m.h.now)
	m.runs()
}

// origin is an issuer's replica.
type origin struct {
	machine
	up   *Upstream // nil while it is down
	way  *way
	beat int64
}

// point is an enforcement point or a relay.
type point struct {
	machine
	level   int
	w       *Watcher
	relay   *Relay
	targets []func() (*Upstream, *machine)
	at      int
	line    *line
	heard   int64 // when something came
	renewal int64
	held    position
	since   time.Time
	told    *pb.Ack
	open    *decision
	kept    map[string]int64
	knows   map[string]bool // found dead before: that it stays so, decisions see
}

// dead says whether a session is dead here.
func (n *point) dead(id string) bool {
	if !n.knows[id] && revoked(n.w.c.Set, id) {
		n.knows[id] = true
	}
	return n.knows[id]
}

// line is one stream and the connection under it.
type line struct {
	up           *Upstream
	server       *machine
	client       *point
	st           *stream
	toServer     []*pb.WatchRequest
	toClient     []*pb.WatchResponse
	stuckUp      bool // nothing gets through to the server
	stuckDown    bool
	serverGone   bool
	clientGone   bool
	heartbeat    int64
	lost, opened bool
}

// Send implements pipe: what the server sends waits to be delivered.
func (l *line) Send(m *pb.WatchResponse) error {
	if l.serverGone {
		return errReset
	}
	l.toClient = append(l.toClient, m)
	return nil
}

func (l *line) Recv() (*pb.WatchRequest, error) { return nil, errReset }

// decision is one that runs.
type decision struct {
	view    revocation.View
	begun   int64
	looked  bool
	fresh   bool
	lease   *lease
	allowed []*fate
}

// fate is one revoked session.
type fate struct {
	id                  string
	rev                 revocation.Revision
	committed, answered int64
	lost                bool
}

// asking is somebody who waits for an answer.
type asking struct {
	of   *origin
	up   *Upstream
	w    *wait
	fate *fate
}

type history struct {
	seed    uint64
	rnd     *rand.Rand
	now     int64
	src     *memory
	rows    *table
	origins []*origin
	points  []*point // relays first, the highest level first
	lines   []*line
	fates   []*fate
	asks    []*asking
	epochs  int
	reached *reached
	log     func(string, ...any)
	err     error
	calm    bool
	alone   bool // one origin, which knows of no replicas
}

func (h *history) p(x float64) bool { return h.rnd.Float64() < x }

func (h *history) say(format string, args ...any) {
	if h.log != nil {
		h.log("%7.1f ms  "+format, append([]any{float64(h.now-ms) / float64(ms)}, args...)...)
	}
}

func (h *history) fail(format string, args ...any) {
	if h.err == nil {
		h.err = fmt.Errorf("seed %d, after %.1f ms: %s", h.seed, float64(h.now)/float64(ms), fmt.Sprintf(format, args...))
		h.say("FAILED: %v", h.err)
	}
}

// seeded is a reader of random bytes.
type seeded struct{ *rand.Rand }

func (s seeded) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(s.Uint32())
	}
	return len(b), nil
}

// play plays one schedule and returns what broke.
func play(seed uint64, log func(string, ...any), r *reached) error {
	h := &history{seed: seed, rnd: rand.New(rand.NewPCG(seed, 7)), now: ms, src: newMemory("e0"), rows: newTable(), reached: r, log: log}
	h.build()
	for range shRounds {
		h.round()
		if h.err != nil {
			return h.err
		}
	}
	h.heal()
	return h.err
}

// build makes a system: replicas, relays on one or two levels, leaves.
func (h *history) build() {
	n := 1 + h.rnd.IntN(3)
	h.alone = n == 1 && h.p(0.7)
	for i := range n {
		o := &origin{machine: h.machine(fmt.Sprint("replica", i)), way: &way{table: h.rows}}
		h.origins = append(h.origins, o)
		h.startOrigin(o, true)
	}
	var above []func() (*Upstream, *machine)
	for _, o := range h.origins {
		above = append(above, func() (*Upstream, *machine) { return o.up, &o.machine })
	}
	for level := range h.rnd.IntN(3) {
		var here []func() (*Upstream, *machine)
		for i := range 1 + h.rnd.IntN(2) {
			n := h.point(fmt.Sprint("relay", level, i), level+1, above)
			here = append(here, func() (*Upstream, *machine) {
				if n.relay == nil {
					return nil, &n.machine
				}
				return n.relay.up, &n.machine
			})
		}
		if h.p(0.5) {
			here = append(here, above[h.rnd.IntN(len(above))])
		}
		above = here
	}
	for i := range 1 + h.rnd.IntN(3) {
		h.point(fmt.Sprint("leaf", i), 0, above)
	}
}

func (h *history) point(name string, level int, above []func() (*Upstream, *machine)) *point {
	n := &point{machine: h.machine(name), level: level, targets: slices.Clone(above)}
	h.rnd.Shuffle(len(n.targets), func(i, j int) { n.targets[i], n.targets[j] = n.targets[j], n.targets[i] })
	h.points = append(h.points, n)
	h.startPoint(n)
	return n
}

func (h *history) startOrigin(o *origin, first bool) {
	o.wake()
	c := UpstreamConfig{Source: view{h.src, o.way, nil}, Authorize: anyone, Lease: shLease, Now: o.now, NewStore: first}
	if !h.alone {
		c.Replicas, c.Name, c.Random = o.way, o.name, seeded{h.rnd}
	}
	u, err := NewUpstream(c)
	if err != nil {
		panic(err)
	}
	o.up, o.beat = u, 0
}

func (h *history) startPoint(n *point) {
	n.wake()
	w, err := newWatcher(WatcherConfig{Set: revocation.NewSet(), Node: n.name, Now: n.now, Random: seeded{h.rnd}},
		func(context.Context) (clientPipe, error) { return nil, errReset })
	if err != nil {
		panic(err)
	}
	n.w, n.relay, n.line, n.open, n.told = w, nil, nil, nil, nil
	n.held, n.kept, n.knows = position{}, map[string]int64{}, map[string]bool{}
	if n.level > 0 {
		if n.relay, err = newRelay(w, RelayConfig{Authorize: anyone, Lease: time.Minute}); err != nil {
			panic(err)
		}
	}
}

// round lets some time pass and everybody do something, in any order.
func (h *history) round() {
	h.now += ms/4 + int64(h.rnd.ExpFloat64()*6*float64(ms))
	h.reached.Steps++
	var todo []func()
	for _, o := range h.origins {
		todo = append(todo, func() { h.work(o) })
	}
	for _, n := range h.points {
		todo = append(todo, func() { h.act(n) }, func() { h.decide(n) })
	}
	for _, l := range h.lines {
		todo = append(todo, func() { h.carry(l) }, func() { h.serve(l) }, func() { h.carry(l) })
	}
	if !h.calm {
		todo = append(todo, h.trouble, h.commit, h.commit)
	}
	h.rnd.Shuffle(len(todo), func(i, j int) { todo[i], todo[j] = todo[j], todo[i] })
	for i, f := range todo {
		f()
		if i%3 == 0 || i == len(todo)-1 {
			h.answers()
		}
		h.assert(5)
		if h.err != nil {
			return
		}
	}
	h.assert(24)
	h.lines = slices.DeleteFunc(h.lines, func(l *line) bool { return l.serverGone && l.clientGone })
}

// work is what an origin's goroutines do.
func (h *history) work(o *origin) {
	if o.up == nil || !o.runs() {
		return
	}
	if h.p(0.4) {
		_ = o.up.poll(context.Background())
	}
	if h.alone {
		return
	}
	if h.now-o.beat > int64(shLease)/beatsPerLease || h.p(0.2) {
		next, _ := o.up.row()
		h.now += int64(h.rnd.IntN(int(3 * ms))) // the store takes its time
		if o.up.beat(context.Background(), next) == nil {
			o.beat = h.now
		}
	}
	if h.p(0.4) {
		_ = o.up.survey(context.Background())
	}
}

// act is what a point's goroutines do.
func (h *history) act(n *point) {
	if n.w == nil || !n.runs() {
		return
	}
	if n.relay != nil && h.p(0.7) {
		_ = n.relay.up.poll(context.Background())
	}
	if n.line == nil {
		if h.p(0.5) {
			h.dial(n)
		}
		return
	}
	if h.now-n.heard > int64(shLease)/2 || (n.line.serverGone && !n.line.stuckDown && h.p(0.5)) {
		h.hangUp(n)
		return
	}
	if n.w.f.state != following {
		return
	}
	if h.now-n.renewal >= int64(n.w.f.every/n.w.renewals()) {
		n.renewal = h.now
		n.line.toServer = append(n.line.toServer, n.w.f.renew(n.now()))
	}
	if len(n.targets) > 1 && n.w.Trust() != revocation.Fresh && h.now-n.heard > 0 && h.p(0.02) {
		h.hangUp(n) // starved
		return
	}
	h.acknowledge(n)
}

// acknowledge is Watcher.acknowledge and Relay.acknowledge.
func (h *history) acknowledge(n *point) {
	at := position{n.w.f.epoch, n.w.f.revision}
	if at != n.held && n.open == nil && h.p(0.8) {
		if err := n.w.settle(context.Background(), position{n.w.f.epoch, n.w.f.revision}); err != nil {
			panic(err)
		}
		n.held, n.since = at, n.now()
	}
	var ack *pb.Ack
	switch {
	case n.held != at && n.relay == nil, n.held.epoch == "":
		return
	case n.relay != nil:
		ack, _ = n.relay.report(n.held, n.since)
		if n.told != nil && ack.GetRevision() == n.told.GetRevision() && ack.GetHeld() == n.told.GetHeld() && !h.p(0.1) {
			return
		}
	case n.told != nil && n.told.GetRevision() == uint64(at.revision):
		return
	default:
		ack = &pb.Ack{Revision: uint64(at.revision)}
	}
	n.told = ack
	n.line.toServer = append(n.line.toServer, &pb.WatchRequest{Message: &pb.WatchRequest_Ack{Ack: ack}})
}

// dial opens a stream, if somebody answers.
func (h *history) dial(n *point) {
	up, server := n.targets[n.at%len(n.targets)]()
	if n.open != nil { // Open claims what it says: follow settles first
		return
	}
	if err := n.w.settle(context.Background(), position{n.w.f.epoch, n.w.f.revision}); err != nil {
		panic(err)
	}
	if up == nil {
		n.at++
		return
	}
	n.w.f.reset()
	n.told, n.held = nil, position{}
	n.since, n.heard = n.now(), h.now
	n.line = &line{up: up, server: server, client: n, toServer: []*pb.WatchRequest{n.w.open()}}
	h.lines = append(h.lines, n.line)
	h.say("%s opens a stream with %s at %d", n.name, server.name, n.w.f.revision)
}

// hangUp ends a stream at the client, which then tries the next upstream.
func (h *history) hangUp(n *point) {
	h.say("%s gives up its stream with %s", n.name, n.line.server.name)
	n.line.clientGone = true
	n.line = nil
	if len(n.targets) > 1 {
		n.at++
		h.reached.Moves++
	}
}

// carry delivers what is under way.
func (h *history) carry(l *line) {
	for len(l.toServer) > 0 && !l.stuckUp && !l.serverGone && h.alive(l) && l.server.runs() && h.p(0.8) {
		m := l.toServer[0]
		l.toServer = l.toServer[1:]
		h.receive(l, m)
	}
	n := l.client
	for len(l.toClient) > 0 && !l.stuckDown && !l.clientGone && n.line == l && n.runs() && h.p(0.8) {
		m := l.toClient[0]
		l.toClient = l.toClient[1:]
		ev, err := n.w.f.receive(m)
		if err != nil {
			h.say("%s: %v", n.name, err)
			h.hangUp(n)
			return
		}
		n.heard = h.now
		n.w.note(ev)
		if ev.renew {
			n.renewal = 0
		}
	}
	if l.clientGone && !l.stuckUp && !l.serverGone && l.server.runs() && h.p(0.3) {
		h.closeServer(l) // its transport has noticed
	}
}

// alive says whether the upstream that a line leads to still runs.
func (h *history) alive(l *line) bool {
	for _, o := range h.origins {
		if o.up == l.up {
			return true
		}
	}
	for _, n := range h.points {
		if n.relay != nil && n.relay.up == l.up {
			return true
		}
	}
	return false
}

// receive is the server's reader.
func (h *history) receive(l *line, m *pb.WatchRequest) {
	if l.opened {
		if err := l.up.receive(l.st, m); err != nil {
			if errors.Is(err, errBroken) {
				h.fail("%s broke the contract: %v", l.client.name, err)
			}
			h.closeServer(l)
		}
		return
	}
	select {
	case <-l.up.ready:
	default:
		h.closeServer(l)
		return
	}
	ctx := context.Background()
	st, err := l.up.open(ctx, func(error) { l.lost = true }, Identity{Name: l.client.name}, m.GetOpen())
	if err != nil {
		h.say("%s refuses %s: %v", l.server.name, l.client.name, err)
		h.closeServer(l)
		return
	}
	l.st, l.opened = st, true
	if err := l.up.greet(ctx, l, st); err != nil {
		h.closeServer(l)
	}
}

// serve is the server's writer.
func (h *history) serve(l *line) {
	if !l.opened || l.serverGone || !l.server.runs() || !h.alive(l) {
		return
	}
	if l.lost {
		h.closeServer(l)
		return
	}
	if !h.p(0.7) {
		return
	}
	if err := l.up.flush(context.Background(), l, l.st); err != nil {
		h.closeServer(l)
		return
	}
	if h.now-l.heartbeat > int64(shLease)/4 {
		l.heartbeat = h.now
		_ = l.Send(heartbeat(l.st.cursor))
	}
}

func (h *history) closeServer(l *line) {
	l.serverGone = true
	if l.st != nil && h.alive(l) {
		l.up.close(l.st)
	}
}

// commit revokes a session at some replica, and asks how far it has reached.
func (h *history) commit() {
	o := h.origins[h.rnd.IntN(len(h.origins))]
	if o.up == nil || !o.runs() || o.way.err() != nil || !h.p(0.12) {
		return
	}
	h.revoke(o)
}

func (h *history) revoke(o *origin) *fate {
	f := &fate{id: fmt.Sprint("s", len(h.fates)), committed: h.now}
	f.rev = h.src.commit(sessionRecord(f.id))
	h.fates = append(h.fates, f)
	h.reached.Commits++
	h.say("%s commits %s as %d", o.name, f.id, f.rev)
	h.asks = append(h.asks, &asking{of: o, up: o.up, w: o.up.wait(f.rev), fate: f})
	h.asks = h.asks[max(0, len(h.asks)-patient):] // the others have gone
	return f
}

// answers gives those that are due.
func (h *history) answers() {
	h.asks = slices.DeleteFunc(h.asks, func(a *asking) bool {
		if a.of.up != a.up {
			return true // it crashed: whoever asked got no answer
		}
		if h.now < a.of.until {
			return false
		}
		o, _ := a.up.look(a.w, false)
		if len(o.Pending) > 0 {
			return false
		}
		if !a.fate.lost {
			a.fate.answered = h.now
			h.reached.Answered++
			h.say("%s answers %d: applied %d, expired %d", a.of.name, a.fate.rev, o.Applied, o.Expired)
		}
		return true
	})
}

// assert asserts the invariants at this moment, in every process that runs, for
// so many of the newest revocations.
func (h *history) assert(newest int) {
	for _, n := range h.points {
		if n.w == nil || h.now < n.until || n.machine.since != 0 || n.w.Trust() != revocation.Fresh {
			continue
		}
		for _, f := range h.fates[max(0, len(h.fates)-newest):] {
			late := h.now - f.committed
			if f.lost || (f.answered == 0 && late <= shBound) || n.dead(f.id) {
				continue
			}
			if f.answered != 0 {
				h.fail("1: %s trusts a state without %s (revision %d), %.1f ms after it was answered as applied", n.name, f.id, f.rev, float64(h.now-f.answered)/float64(ms))
				return
			}
			h.fail("2: %s trusts a state without %s (revision %d), %.1f ms after the commit", n.name, f.id, f.rev, float64(late)/float64(ms))
			return
		}
	}
}

// decide lets decisions begin, look at trust, and end, each at its time.
func (h *history) decide(n *point) {
	if n.w == nil || !n.runs() {
		return
	}
	switch d := n.open; {
	case d == nil:
		if h.p(0.35) {
			n.open = &decision{view: n.w.c.Set.Begin(), begun: h.now}
		}
	case !d.looked:
		d.looked, d.fresh, d.lease = true, n.w.Trust() == revocation.Fresh, n.w.lease.Load()
		for _, f := range h.fates[max(0, len(h.fates)-24):] {
			if _, dead := d.view.Revoked(sessionToken(f.id)); !dead && d.fresh {
				d.allowed = append(d.allowed, f)
			} else {
				h.reached.Refused++
			}
		}
		if _, dead := d.view.Revoked(sessionToken("alive")); dead {
			h.fail("5: %s refuses what no record matches", n.name)
		}
		if !d.fresh {
			h.reached.Stale++
		}
	case h.p(0.7):
		h.judge(n, d)
		d.view.End()
		n.open = nil
	}
}

// judge judges a decision at its end.
func (h *history) judge(n *point, d *decision) {
	one := d.lease.valid(n.now()) // a deadline keeps decisions within a lease
	for _, f := range d.allowed {
		h.reached.Allowed++
		kept, was := n.kept[f.id]
		switch {
		case f.answered != 0 && !f.lost && f.answered < d.begun:
			h.fail("1: %s allows %s, answered as applied before it was asked", n.name, f.id)
		case f.answered != 0 && !f.lost && one && f.answered < h.now:
			h.fail("1: %s still decided on a state without %s when that was answered as applied", n.name, f.id)
		case !f.lost && d.begun-f.committed > shBound:
			h.fail("2: %s allows %s, %.1f ms after the commit", n.name, f.id, float64(d.begun-f.committed)/float64(ms))
		case was && kept < d.begun:
			h.fail("4: %s brings %s back", n.name, f.id)
		}
	}
}

// trouble makes something go wrong.
func (h *history) trouble() {
	if !h.p(0.2) {
		return
	}
	o, n := h.origins[h.rnd.IntN(len(h.origins))], h.points[h.rnd.IntN(len(h.points))]
	long := h.now + int64(h.rnd.IntN(int(700*ms)))
	switch x := h.rnd.IntN(100); {
	case x < 25 && len(h.lines) > 0:
		l := h.lines[h.rnd.IntN(len(h.lines))]
		l.stuckUp, l.stuckDown = h.p(0.5), h.p(0.5)
		h.say("between %s and %s: up stuck %t, down stuck %t", l.client.name, l.server.name, l.stuckUp, l.stuckDown)
	case x < 35 && len(h.lines) > 0:
		l := h.lines[h.rnd.IntN(len(h.lines))]
		h.say("between %s and %s: reset", l.client.name, l.server.name)
		if l.client.line == l {
			h.hangUp(l.client)
		}
	case x < 45:
		h.say("%s is stopped", n.name)
		n.until = max(n.until, long)
	case x < 50 && h.seed%4 != 0:
		h.say("%s is suspended", n.name)
		n.runs()
		if h.now >= n.until {
			n.until, n.machine.since = long, h.now
		}
	case x < 55:
		h.say("%s is stopped", o.name)
		o.until = max(o.until, long)
	case x < 64 && h.seed%4 != 0:
		h.say("%s is suspended", o.name)
		o.runs()
		if h.now >= o.until {
			o.until, o.since = long, h.now
		}
	case x < 72:
		h.crash(n)
	case x < 80:
		if o.up != nil {
			h.say("%s crashes", o.name)
			h.reached.Crashes++
			o.up = nil
		} else {
			h.say("%s starts", o.name)
			h.startOrigin(o, false)
		}
	case x < 88:
		down := o.way.err() == nil
		h.say("%s cut off from the store: %t", o.name, down)
		o.way.set(down)
	case x < 94:
		// Backward only where no suspension can hide behind it: against both at
		// once there is no defence.
		step := int64(h.rnd.IntN(int(2000 * ms)))
		if h.seed%4 == 0 {
			step = -step
		}
		n.set += step
		o.set += step / 2
		h.say("clocks of %s and %s are set by %.1f ms", n.name, o.name, float64(step)/float64(ms))
	case x < 97:
		h.restore()
	}
}

// crash kills a point, or brings it back.
func (h *history) crash(n *point) {
	if n.w == nil {
		h.say("%s starts", n.name)
		h.startPoint(n)
		return
	}
	h.say("%s crashes", n.name)
	h.reached.Crashes++
	if n.line != nil {
		n.line.clientGone = true
	}
	n.w, n.relay, n.line, n.open = nil, nil, nil, nil
}

// restore puts back a backup, with every replica down.
func (h *history) restore() {
	h.reached.Restores++
	h.epochs++
	running := h.p(0.3) // an operator who does not stop them first
	for _, o := range h.origins {
		if !running {
			o.up = nil
		}
	}
	h.asks = nil
	_, head, _ := h.src.Head(context.Background())
	head -= min(head, revocation.Revision(h.rnd.IntN(4)))
	h.src.restore(revocation.Epoch(fmt.Sprint("e", h.epochs)), head)
	if h.p(0.5) {
		h.rows.rows = map[string]revocation.Replica{}
	}
	h.say("the store is restored to %d", head)
	for _, f := range h.fates {
		if f.rev <= head || f.lost {
			continue
		}
		f.lost = true
		for _, n := range h.points {
			if n.w != nil && revoked(n.w.c.Set, f.id) {
				n.kept[f.id] = h.now
			}
		}
	}
	for _, o := range h.origins {
		if o.up == nil && h.p(0.8) {
			h.startOrigin(o, false)
		}
	}
}

// heal ends all trouble and sees that everything comes back: everybody trusts,
// and the next revocation is applied by all.
func (h *history) heal() {
	h.say("all is well again")
	h.calm = true
	for _, o := range h.origins {
		o.way.set(false)
		o.until = min(o.until, h.now)
		if o.up == nil {
			h.startOrigin(o, false)
		}
	}
	for _, n := range h.points {
		n.until = min(n.until, h.now)
		if n.w == nil {
			h.startPoint(n)
		}
	}
	for _, l := range h.lines {
		l.stuckUp, l.stuckDown = false, false
	}
	for i := 0; i < 8*shHeal && h.err == nil; i++ {
		h.round()
		if i > shHeal && h.well() {
			break
		}
	}
	if h.err != nil {
		return
	}
	if !h.well() {
		for _, n := range h.points {
			h.say("%s: %+v", n.name, n.w.Status())
		}
		h.fail("3: not everybody has come back")
		return
	}
	f := h.revoke(h.origins[0])
	// Longer than a lease: a watcher that has moved may still have one of whom
	// it has left.
	for i := 0; i < 2*shHeal && f.answered == 0 && h.err == nil; i++ {
		h.round()
	}
	if f.answered == 0 && h.err == nil {
		for _, a := range h.asks {
			o, _ := a.up.look(a.w, true)
			h.say("%s waits for %+v", a.of.name, o)
		}
		h.fail("3: not answered though all is well")
	}
}

func (h *history) well() bool {
	for _, n := range h.points {
		if n.w.Trust() != revocation.Fresh || n.w.c.Set.Revision() != h.src.head {
			return false
		}
	}
	return true
}
