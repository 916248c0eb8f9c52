package watch

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var mutants = flag.Bool("mutants", false, "break each rule of the contract once, and see TestSchedules find it")

// TestEachRuleIsNeeded builds the package with one rule broken at a time, and
// sees that the schedules find it: else a rule is not needed, or not tested.
// It takes minutes, and runs with -args -mutants only.
func TestEachRuleIsNeeded(t *testing.T) {
	if !*mutants {
		t.Skip("without -mutants")
	}
	for _, m := range []struct{ rule, file, is, broken string }{
		{"a lease counts from when its renewal was sent, less what clocks differ by", "follower.go", "s.at.Add(d - d/driftMargin)", "s.at.Add(d + d/driftMargin)"},
		{"a lease ends by the wall clock too", "follower.go", "now.Before(l.end) && now.Round(0).Before(l.wall)", "now.Before(l.end)"},
		{"a lease is taken when what it names is in force", "watcher.go", "l.epoch != w.inForce.epoch || l.revision > w.inForce.revision", "false"},
		{"the old state stays in force in a new epoch", "follower.go", "f.loader.CommitOver(rev)", "f.loader.Commit(rev)"},
		{"a member stays in the books until its lease has ended", "ledger.go", "m.stream, m.left = nil, now", "delete(l.members, m.key)"},
		{"what was granted is in the books", "stream.go", "s.member.leaseEnd = end", "_ = end"},
		{"the age of the last look at the log is taken off", "stream.go", "g.lease - max(0, age)", "g.lease - 0*age"},
		{"and that by the wall clock too", "stream.go", "max(received.Sub(g.polled), received.Round(0).Sub(g.polled.Round(0)))", "received.Sub(g.polled)"},
		{"acknowledgements of another epoch do not count", "upstream.go", "\t\tu.ledger.forget()\n", ""},
		{"what is said on a stream of another epoch does not count", "call.go", "return open && st.epoch == u.epoch", "return open"},
		{"a relay acknowledges what all below it have", "relay.go", "min(s.floor, held.revision)", "held.revision"},
		{"a relay acknowledges in its epoch only", "relay.go", "if u.epoch == at.epoch {", "if true {"},
		{"a relay grants no lease beyond its own", "stream.go", "min(g.lease, g.own.lease.left(received))", "g.lease"},
		{"a relay's lease counts below when what it names was sent", "relay.go", "b.lease.epoch == epoch && b.lease.revision <= head", "true"},
		{"what a relay resumes with is not acknowledged below it", "call.go", "if o.GetRelay() {", "if false {"},
		{"the other replicas are waited for", "replicas.go", "case r.Epoch == epoch && r.Acked >= o.Revision:", "case true:"},
		{"and asked after the commit", "upstream.go", "if asked.done <= w.survey {", "if false {"},
		{"a replica grants no lease beyond its beat", "stream.go", "d = min(d, g.limit.left(received))", "_ = d"},
		{"and reads the log again when its beats were broken", "call.go", "|| !u.polled.After(u.peers.since)", ""},
		{"a restored store may lack a replica that has given leases", "upstream.go", "\t\t\tu.startOver()\n", ""},
		{"a beat counts for its whole lease", "replicas.go", "p.seen.Add(p.Lease)", "p.seen.Add(p.Lease * 3 / 4)"},
		{"a replica's own lease counts from before it began to write", "replicas.go", "began.Add(r.Lease - r.Lease/driftMargin)", "ended.Add(r.Lease)"},
		{"after a start the leases of the run before are waited out", "upstream.go", "if !c.NewStore {", "if false {"},
	} {
		t.Run(m.rule, func(t *testing.T) {
			text, err := os.ReadFile(m.file)
			if err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(string(text), m.is); n != 1 {
				t.Fatalf("%s: %q is there %d times", m.file, m.is, n)
			}
			out, err := schedulesOf(t, m.file, strings.Replace(string(text), m.is, m.broken, 1))
			if err == nil || !strings.Contains(out, "FAIL: TestSchedules") {
				t.Errorf("not found: %v\n%s", err, out)
			}
		})
	}
}

// schedulesOf runs TestSchedules with another text of one file.
func schedulesOf(t *testing.T, file, text string) (string, error) {
	t.Helper()
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	mutant, overlay := filepath.Join(dir, "mutant.go"), filepath.Join(dir, "overlay.json")
	instead, err := json.Marshal(map[string]map[string]string{"Replace": {filepath.Join(here, file): mutant}})
	if err != nil {
		t.Fatal(err)
	}
	for name, body := range map[string]string{mutant: text, overlay: string(instead)} {
		if err := os.WriteFile(name, []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-overlay", overlay, "-run", "^TestSchedules$", ".", "-args", "-schedules", fmt.Sprint(max(*schedules, 20_000)))
	out, err := cmd.CombinedOutput()
	return string(out), err
}
