package issuer

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tegata/tegata/revocation"
	"github.com/tegata/tegata/revocation/watch"
)

// trail writes down what became of each revocation, whoever committed it: one
// line when it is committed and one when nobody can accept its tokens any more.
// It follows the log by two cursors, as a watcher that is never too slow to be
// waited for, and holds back nobody.
type trail struct {
	source watch.Source
	up     *watch.Upstream
	log    *slog.Logger
	now    func() time.Time
	took   prometheus.Histogram

	mu      sync.Mutex // guards what follows
	settled map[revocation.Revision]Settled
	order   []revocation.Revision // of settled, the oldest first
}

// Settled is when a revocation had reached everybody, and how.
type Settled struct {
	At      time.Time          `json:"at"`
	Took    float64            `json:"took_seconds"` // since the commit
	Outcome revocation.Outcome `json:"outcome"`
}

// Trace is what is known of one revocation.
type Trace struct {
	Revision    revocation.Revision `json:"revision"`
	Issuer      string              `json:"issuer"`
	Kind        string              `json:"kind"`
	Target      string              `json:"target"`
	Client      string              `json:"client,omitempty"`
	Reason      revocation.Reason   `json:"reason"`
	Actor       revocation.Actor    `json:"actor"`
	CommittedAt time.Time           `json:"committed_at"`
	ExpiresAt   time.Time           `json:"expires_at,omitzero"`
	Outcome     revocation.Outcome  `json:"outcome"`           // of this moment
	Settled     *Settled            `json:"settled,omitempty"` // if it is, and not long ago
}

const (
	trailPage = 1000
	// trailMemory is how many revocations are remembered as settled.
	trailMemory = 10_000
	// trailPause is how long an unreadable log is left alone.
	trailPause = time.Second
	// outcomePatience is how long an Outcome of the moment may take: other
	// replicas have to be asked.
	outcomePatience = time.Second
)

func newTrail(source watch.Source, up *watch.Upstream, log *slog.Logger, now func() time.Time, r prometheus.Registerer) (*trail, error) {
	t := &trail{
		source: source, up: up, log: log, now: now, settled: make(map[revocation.Revision]Settled),
		took: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tegata_revocation_settled_seconds", Help: "From the commit of a revocation until nobody could accept its tokens any more.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 60, 600},
		}),
	}
	if r == nil {
		return t, nil
	}
	return t, r.Register(t.took)
}

// run follows the log until ctx ends. What was committed before it began is not
// written down again.
func (t *trail) run(ctx context.Context) error {
	epoch, head, err := t.source.Head(ctx)
	for err != nil && ctx.Err() == nil {
		t.rest(ctx)
		epoch, head, err = t.source.Head(ctx)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { t.follow(ctx, epoch, head, t.committed) })
	t.follow(ctx, epoch, head, t.settle)
	return nil
}

// follow hands over the records after a revision, page by page, as they come. A
// store that was restored is followed from where it is then.
func (t *trail) follow(ctx context.Context, in revocation.Epoch, at revocation.Revision, page func(context.Context, revocation.Epoch, []revocation.Record, revocation.Revision)) {
	for {
		epoch, head, err := t.up.Past(ctx, in, at)
		if ctx.Err() != nil || errors.Is(err, watch.ErrStopped) {
			return
		}
		if epoch != in {
			in, at = epoch, head
			continue
		}
		records, upto, err := t.source.Since(ctx, at, trailPage)
		if err != nil {
			if ctx.Err() == nil {
				t.log.ErrorContext(ctx, "revocation trail: log not read", "err", err)
			}
			t.rest(ctx)
			continue
		}
		page(ctx, epoch, records, upto)
		at = max(at, upto)
	}
}

func (t *trail) rest(ctx context.Context) {
	timer := time.NewTimer(trailPause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// committed writes the first line. Its names are an interface: see
// docs/operating.md.
func (t *trail) committed(ctx context.Context, epoch revocation.Epoch, records []revocation.Record, _ revocation.Revision) {
	for _, r := range records {
		var expires slog.Attr // of what never expires there is none
		if !r.ExpiresAt.IsZero() {
			expires = slog.Time("expires_at", r.ExpiresAt.UTC())
		}
		t.log.LogAttrs(ctx, slog.LevelInfo, "revocation committed", slog.String("audit", "revocation.committed"),
			slog.String("epoch", string(epoch)), slog.Uint64("revision", uint64(r.Revision)), slog.String("issuer", r.Issuer),
			slog.String("kind", r.Target.Kind.String()), slog.String("target", r.Target.ID), slog.String("client", r.Target.Client),
			slog.String("reason", string(r.Reason)), slog.String("actor", string(r.Actor)),
			slog.Time("committed_at", r.CommittedAt.UTC()), expires)
	}
}

// settle waits until the last of the records has reached everybody, and with it
// all before it, and writes the second line of each.
func (t *trail) settle(ctx context.Context, epoch revocation.Epoch, records []revocation.Record, upto revocation.Revision) {
	if len(records) == 0 {
		return
	}
	// No lease is longer. Each revocation is heard of, whatever goes wrong.
	limited, cancel := context.WithTimeout(ctx, maxRevokeWait)
	defer cancel()
	outcome, err := t.up.Await(limited, upto)
	if ctx.Err() != nil || errors.Is(err, watch.ErrStopped) {
		return
	}
	name, message, level := "revocation.settled", "revocation settled", slog.LevelInfo
	if err != nil {
		name, message, level = "revocation.unsettled", "revocation not settled", slog.LevelWarn
	}
	now := t.now()
	for _, r := range records {
		o := outcome
		o.Revision = r.Revision
		took := max(0, now.Sub(r.CommittedAt))
		t.log.LogAttrs(ctx, level, message, slog.String("audit", name),
			slog.String("epoch", string(epoch)), slog.Uint64("revision", uint64(r.Revision)),
			slog.Int("applied", o.Applied), slog.Int("expired", o.Expired), slog.Any("pending", o.Pending), slog.Any("unbounded", o.Unbounded),
			slog.Float64("took_seconds", took.Seconds()))
		if err == nil {
			t.took.Observe(took.Seconds())
			t.remember(r.Revision, Settled{At: now.UTC(), Took: took.Seconds(), Outcome: o})
		}
	}
}

func (t *trail) remember(rev revocation.Revision, s Settled) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.settled[rev] = s
	t.order = append(t.order, rev)
	if len(t.order) > trailMemory {
		delete(t.settled, t.order[0])
		t.order = t.order[1:]
	}
}

func (t *trail) settledAt(r revocation.Record) *Settled {
	t.mu.Lock()
	defer t.mu.Unlock()
	s, ok := t.settled[r.Revision]
	if !ok || s.At.Before(r.CommittedAt) { // of an epoch before
		return nil
	}
	return &s
}

// ErrNoRevocation is returned for a revision that is not in the log: it was
// never committed, or everything that it killed has expired by itself.
var ErrNoRevocation = errors.New("no such revocation is in the log")

// Revocation traces one revocation, for operators: who revoked what and why,
// and who has applied it. ErrNoRevocation if it is not in the log any more.
func (i *Issuer) Revocation(ctx context.Context, rev revocation.Revision) (Trace, error) {
	if rev == 0 {
		return Trace{}, ErrNoRevocation
	}
	records, _, err := i.c.WatchSource.Since(ctx, rev-1, 1)
	if err != nil {
		return Trace{}, err
	}
	if len(records) == 0 || records[0].Revision != rev {
		return Trace{}, ErrNoRevocation
	}
	r := records[0]
	now, cancel := context.WithTimeout(ctx, outcomePatience)
	defer cancel()
	outcome, _ := i.upstream.Await(now, rev) // what it says while somebody is pending
	return Trace{
		Revision: r.Revision, Issuer: r.Issuer, Kind: r.Target.Kind.String(), Target: r.Target.ID, Client: r.Target.Client,
		Reason: r.Reason, Actor: r.Actor, CommittedAt: r.CommittedAt.UTC(), ExpiresAt: r.ExpiresAt,
		Outcome: outcome, Settled: i.trail.settledAt(r),
	}, nil
}
