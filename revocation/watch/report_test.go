package watch

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tegata/tegata/revocation"
)

// watcherIn returns the report's one watcher of that name.
func watcherIn(t *testing.T, r Report, name string) WatcherReport {
	t.Helper()
	for _, w := range r.Watchers {
		if w.Name == name {
			return w
		}
	}
	t.Fatalf("%s is not in %+v", name, r)
	return WatcherReport{}
}

// TestTheReportSaysWhoIsBehindAndForHowLong.
func TestTheReportSaysWhoIsBehindAndForHowLong(t *testing.T) {
	bubble(t, UpstreamConfig{Lease: 2 * time.Second}, func(r *rig) {
		w := r.watcher("gateway", deny)
		time.Sleep(3 * time.Second)
		if rep := r.up.Report(); !rep.Well() || rep.Epoch != "e" || rep.Head != 0 {
			r.t.Errorf("all is well: %+v", rep)
		}
		hold := w.c.Set.Begin() // a decision that does not end
		at := time.Now()
		for _, id := range []string{"1", "2"} {
			record := sessionRecord(id)
			record.CommittedAt = at
			r.src.commit(record)
			time.Sleep(100 * time.Millisecond)
		}
		got := watcherIn(r.t, r.up.Report(), "gateway/gateway")
		if got.State != StateOK || got.Lag != 2 || got.LagTime != 0.2 || got.Acknowledged != 0 || got.Lease <= 0 || got.OnStale != deny || len(got.Instance) != 32 {
			r.t.Errorf("on its way: %+v", got)
		}
		time.Sleep(1300 * time.Millisecond)
		if got = watcherIn(r.t, r.up.Report(), "gateway/gateway"); got.State != StateBehind || got.LagTime != 1.5 || r.up.Report().Well() {
			r.t.Errorf("behind: %+v", got)
		}
		hold.End()
		time.Sleep(time.Second)
		if rep := r.up.Report(); !rep.Well() {
			r.t.Errorf("all is well again: %+v", rep)
		}
	})
}

// TestTheReportRemembersWhoWasLost, as long as it may trust and a while longer.
func TestTheReportRemembersWhoWasLost(t *testing.T) {
	bubble(t, UpstreamConfig{Lease: 2 * time.Second}, func(r *rig) {
		l := newLink()
		_ = r.below("gateway", deny, dials(r.up, l, "gateway"))
		time.Sleep(3 * time.Second)
		l.set(func() { l.down = true; l.resets++ })
		time.Sleep(100 * time.Millisecond)
		got := watcherIn(r.t, r.up.Report(), "gateway/gateway")
		if got.State != StateLost || got.Lease <= 0 || got.Gone <= 0 {
			r.t.Errorf("cut off: %+v", got)
		}
		time.Sleep(3 * time.Second)
		if got = watcherIn(r.t, r.up.Report(), "gateway/gateway"); got.State != StateLost || got.Lease != 0 || r.up.Report().Well() {
			r.t.Errorf("its lease has ended: %+v", got)
		}
		time.Sleep(2 * expiredMemory)
		if rep := r.up.Report(); len(rep.Watchers) != 0 || !rep.Well() {
			r.t.Errorf("long gone: %+v", rep)
		}
	})
}

// TestTheReportOfARelaySaysWhoIsBelow, and that of a log that cannot be read
// is not well.
func TestTheReportOfARelaySaysWhoIsBelow(t *testing.T) {
	bubble(t, UpstreamConfig{Lease: 2 * time.Second}, func(r *rig) {
		y, _ := r.relay("relay", dials(r.up, newLink(), "relay"))
		leaf := r.below("leaf", deny, dials(y.up, newLink(), "leaf"))
		<-leaf.Synced()
		time.Sleep(3 * time.Second)
		if _, err := r.up.Await(r.ctx, r.src.commit(sessionRecord("1"))); err != nil {
			r.t.Fatal(err)
		}
		time.Sleep(time.Second)
		got := watcherIn(r.t, r.up.Report(), "relay/relay")
		if !got.Relay || got.Held != 1 || got.Below == nil || got.Below.Applied != 1 || got.State != StateOK {
			r.t.Errorf("relay: %+v", got)
		}
		if below := watcherIn(r.t, y.up.Report(), "leaf/leaf"); below.State != StateOK || below.Acknowledged != 1 {
			r.t.Errorf("below it: %+v", below)
		}
		r.src.breakDown(true)
		time.Sleep(3 * time.Second)
		if rep := r.up.Report(); rep.Well() || rep.LogAge < 2 {
			r.t.Errorf("the log is broken: %+v", rep)
		}
	})
}

// TestTheReportNamesReplicas, and says which of them is gone.
func TestTheReportNamesReplicas(t *testing.T) {
	replicas(t, func(t *testing.T, src *memory, _ *table, start func(string) replica) {
		a, b := start("a"), start("b")
		w, stop := leafOf(t, "leaf", dials(b.Upstream, newLink(), "leaf"))
		defer stop()
		time.Sleep(2 * time.Second)
		if _, err := a.Await(t.Context(), src.commit(sessionRecord("1"))); err != nil || w.Trust() != revocation.Fresh {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		rep := a.Report()
		if len(rep.Replicas) != 2 || !rep.Well() || !rep.Replicas[0].Self || rep.Replicas[0].Name != "a" {
			t.Fatalf("report = %+v", rep)
		}
		if other := rep.Replicas[1]; other.Name != "b" || other.State != StateOK || other.Acknowledged != 1 || other.Below.Applied != 1 || other.Lease <= 0 {
			t.Errorf("the other: %+v", other)
		}
		b.stop()
		time.Sleep(1500 * time.Millisecond)
		if rep := a.Report(); rep.Replicas[1].State != StateEnded || rep.Well() {
			t.Errorf("it has stopped: %+v", rep)
		}
		synctest.Wait()
	})
}

// TestPastTellsOfWhatIsNew: of a revision above, or of another epoch.
func TestPastTellsOfWhatIsNew(t *testing.T) {
	bubble(t, UpstreamConfig{}, func(r *rig) {
		r.src.commit(sessionRecord("1"))
		epoch, head, err := r.up.Past(r.ctx, "e", 0)
		if err != nil || epoch != "e" || head != 1 {
			r.t.Errorf("past 0: %q, %d, %v", epoch, head, err)
		}
		ctx, cancel := context.WithTimeout(r.ctx, time.Minute)
		defer cancel()
		if _, _, err := r.up.Past(ctx, "e", 1); !errors.Is(err, context.DeadlineExceeded) {
			r.t.Errorf("nothing is past 1: %v", err)
		}
		r.src.restore("f", 0)
		if epoch, head, err = r.up.Past(r.ctx, "e", 1); err != nil || epoch != "f" || head != 0 {
			r.t.Errorf("another epoch: %q, %d, %v", epoch, head, err)
		}
	})
}
