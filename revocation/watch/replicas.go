package watch

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"reflect"
	"time"

	"github.com/tegata/tegata/revocation"
)

// Replicas is where upstreams that share a store say what each has done;
// sqlstore satisfies it.
type Replicas interface {
	// Beat writes a replica's row, whole, and returns when everybody can see
	// it.
	Beat(ctx context.Context, r revocation.Replica) error
	// Replicas returns all rows.
	Replicas(ctx context.Context) ([]revocation.Replica, error)
	// Forget removes a row, if its beat has not changed.
	Forget(ctx context.Context, id string, beat uint64) error
}

// peers is what an Upstream knows of itself and the others in the store. It is
// a pure state machine; the Upstream's mutex guards it.
//
// The same rule as between upstream and watcher holds between replicas: a
// replica relies on a beat from before it began to write it, and the others
// count the same duration from when they have read it, which is later. So it
// has stopped granting, and all that it granted has ended, before anybody stops
// waiting for it.
type peers struct {
	own     revocation.Replica // as last written
	lease   *lease             // what own is good for; nil before the first beat
	since   time.Time          // when the beats became unbroken
	others  map[string]other
	read    time.Time                           // when the rows were last read, at the latest
	surveys struct{ asked, begun, done uint64 } // of the rows: a result counts for who asked before it began
}

// other is another replica, and when its beat was first seen.
type other struct {
	revocation.Replica
	seen time.Time
}

func (p other) end() time.Time { return p.seen.Add(p.Lease) }

// beaten notes a beat whose writing began and ended then. A log that was read
// before the beats became unbroken may lack what others no longer waited for
// us to apply.
func (p *peers) beaten(r revocation.Replica, began, ended time.Time) {
	if !p.lease.valid(ended) {
		p.since = ended
	}
	end := began.Add(r.Lease - r.Lease/driftMargin)
	p.own, p.lease = r, &lease{end: end, wall: end.Round(0)}
}

// saw notes what was read by then.
func (p *peers) saw(rows []revocation.Replica, now time.Time) {
	read := make(map[string]bool, len(rows))
	for _, r := range rows {
		if r.ID == p.own.ID {
			continue
		}
		read[r.ID] = true
		old, known := p.others[r.ID]
		if !known || old.Beat != r.Beat {
			p.others[r.ID] = other{r, now}
		}
	}
	for id, o := range p.others {
		if !read[id] && !o.end().After(now) {
			delete(p.others, id)
		}
	}
}

// outcome adds to o what the others say of a revision.
func (p *peers) outcome(o *revocation.Outcome, epoch revocation.Epoch, since time.Time) (pending bool) {
	for _, r := range p.others {
		live := r.end().After(p.read) // who has not looked since cannot know
		if !live && !r.end().After(since) {
			continue // it had ended before
		}
		knows := r.Epoch == epoch && r.Below.Revision >= o.Revision
		if knows {
			o.Applied += r.Below.Applied
			o.Expired += r.Below.Expired
			o.Unbounded = append(o.Unbounded, r.Below.Unbounded...)
		}
		switch {
		case r.Epoch == epoch && r.Acked >= o.Revision:
		case !live:
			o.Expired++
		case knows && len(r.Below.Pending) > 0:
			o.Pending, pending = append(o.Pending, r.Below.Pending...), true
		default:
			o.Pending, pending = append(o.Pending, "(replica "+r.Name+")"), true
		}
	}
	return pending
}

// alone says that nobody else can be waiting for us.
func (p *peers) alone(now time.Time) bool {
	for _, o := range p.others {
		if o.end().After(now) {
			return false
		}
	}
	return true
}

// dead are those that have ended long ago.
func (p *peers) dead(now time.Time) []revocation.Replica {
	var list []revocation.Replica
	for _, o := range p.others {
		if now.Sub(o.end()) > 10*o.Lease {
			list = append(list, o.Replica)
		}
	}
	return list
}

// beatsPerLease is how often a replica says that it is there.
const beatsPerLease = 8

// surveyFirst and surveyLast are how soon who waits for another replica looks
// again.
const (
	surveyFirst = 4 * time.Millisecond
	surveyLast  = 128 * time.Millisecond
)

// nameReplica gives this run its row.
func nameReplica(random io.Reader) (string, error) {
	if random == nil {
		random = rand.Reader
	}
	id := make([]byte, 16)
	if _, err := io.ReadFull(random, id); err != nil {
		return "", fmt.Errorf("watch: naming this replica: %w", err)
	}
	return hex.EncodeToString(id), nil
}

// replicate says what we have done, and reads what others say, until ctx ends.
// The row stays: others wait until what it is good for has ended.
func (u *Upstream) replicate(ctx context.Context) {
	failing := false
	var beat time.Time // when one was last written
	pace := pacer{}
	for {
		if pace.wait(ctx) != nil {
			return
		}
		now := u.c.Now()
		changed, survey, alone := u.asked(now)
		due := now.Sub(beat) >= u.c.Lease/beatsPerLease
		var moved <-chan struct{}
		var err error
		if due || !alone {
			var next revocation.Replica
			if next, moved = u.row(); due || news(u.peers.own, next, now.Sub(beat)) {
				if err = u.beat(ctx, next); err == nil {
					beat = now
				}
			}
		}
		if err == nil && (due || survey) {
			err = u.survey(ctx)
		}
		if ctx.Err() != nil {
			return
		}
		if err != nil && !failing {
			u.c.Logger.Error("replicas cannot be told or asked: no leases beyond the last beat", "error", err)
		} else if err == nil && failing {
			u.c.Logger.Info("replicas are told and asked again")
		}
		failing = err != nil
		pause := min(tellEvery, u.c.Lease/beatsPerLease)
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-u.ask:
		case <-changed:
		case <-moved:
		case <-timer.C:
		}
		timer.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}

// news says whether the others should hear of it before the next beat is due.
func news(told, next revocation.Replica, ago time.Duration) bool {
	return next.Acked != told.Acked || next.Epoch != told.Epoch || next.Below.Revision != told.Below.Revision ||
		(ago >= tellEvery && !reflect.DeepEqual(next.Below, told.Below))
}

// asked says whether somebody waits for the others, or they may be waiting.
func (u *Upstream) asked(now time.Time) (changed <-chan struct{}, survey, alone bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.changed, u.peers.surveys.asked > u.peers.surveys.begun, u.peers.alone(now)
}

// row is ours as it is to be; moved says that it may have changed since.
func (u *Upstream) row() (next revocation.Replica, moved <-chan struct{}) {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := u.c.Now()
	next = u.peers.own
	next.Beat++
	next.Epoch = u.epoch
	var lowest *member
	next.Acked, lowest = u.ledger.floor(u.ring.head, now)
	next.Below, _ = u.ledger.outcome(u.ring.head, u.peers.since, now)
	next.Below = sorted(next.Below)
	next.Below.Pending, next.Below.Unbounded = fewNames(next.Below.Pending), fewNames(next.Below.Unbounded)
	return next, lowest.moves()
}

func (u *Upstream) isAlone(now time.Time) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.peers.alone(now)
}

func (u *Upstream) beat(ctx context.Context, r revocation.Replica) error {
	began := u.c.Now()
	if err := u.c.Replicas.Beat(ctx, r); err != nil {
		return fmt.Errorf("telling the other replicas: %w", err)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.peers.beaten(r, began, u.c.Now())
	select {
	case u.kick <- struct{}{}: // what is granted waits for a look at the log
	default:
	}
	for st := range u.streams {
		if len(st.renews) > 0 { // it may have waited for it
			st.poke()
		}
	}
	return nil
}

func (u *Upstream) survey(ctx context.Context) error {
	u.mu.Lock()
	u.peers.surveys.begun++
	round, began := u.peers.surveys.begun, u.c.Now()
	u.mu.Unlock()
	rows, err := u.c.Replicas.Replicas(ctx)
	if err != nil {
		return fmt.Errorf("asking for the other replicas: %w", err)
	}
	u.mu.Lock()
	u.peers.saw(rows, u.c.Now())
	u.peers.surveys.done, u.peers.read = round, began
	dead := u.peers.dead(u.c.Now())
	u.announce()
	u.mu.Unlock()
	var errs []error
	for _, r := range dead {
		errs = append(errs, u.c.Replicas.Forget(ctx, r.ID, r.Beat))
	}
	return errors.Join(errs...)
}
