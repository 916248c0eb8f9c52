package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"

	"github.com/tegata/tegata/revocation"
)

func TestTheLogIsTheSameInPagesAndInOne(t *testing.T) {
	t.Parallel()
	log := revoked{issuer: "https://issuer.example", records: 25, expires: time.Unix(2_000_000_000, 0)}
	whole, at, err := log.Since(t.Context(), 0, 100)
	if err != nil || at != 25 || len(whole) != 25 {
		t.Fatalf("%d records up to %d, %v; want all 25", len(whole), at, err)
	}
	var pages []revocation.Record
	for at = 0; at < 25; {
		page, next, err := log.Since(t.Context(), at, 10)
		if err != nil || next <= at || len(page) > 10 {
			t.Fatalf("after %d: %d records up to %d, %v", at, len(page), next, err)
		}
		pages, at = append(pages, page...), next
	}
	if !slices.Equal(pages, whole) {
		t.Error("pages differ from the whole")
	}
	if rest, at, err := log.Since(t.Context(), 25, 10); len(rest) != 0 || at != 25 || err != nil {
		t.Errorf("after the head: %d records up to %d, %v", len(rest), at, err)
	}
	targets := map[revocation.Target]bool{}
	for _, r := range whole {
		targets[r.Target] = true
	}
	if len(targets) != len(whole) {
		t.Errorf("%d targets in %d records", len(targets), len(whole))
	}
}

// TestProbesStandInTheTable: a path without a route would be refused.
func TestProbesStandInTheTable(t *testing.T) {
	t.Parallel()
	for _, routes := range []int{10, 25, 10_000} {
		all := map[string]bool{}
		for i := range routes {
			all[routePath(i)] = true
		}
		seen := map[string]bool{}
		for _, p := range probePaths(routes) {
			if !all[p] {
				t.Errorf("%d routes: no route for %s", routes, p)
			}
			seen[p] = true
		}
		if len(seen) != probes {
			t.Errorf("%d routes: %d different paths, want %d", routes, len(seen), probes)
		}
	}
}

// TestATouchedPolicyIsAnother: else nothing is reloaded.
func TestATouchedPolicyIsAnother(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := writePolicy(dir, 10); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for n := range 3 {
		b, err := os.ReadFile(filepath.Join(dir, "tegata", "scope", "scope.rego"))
		if err != nil {
			t.Fatal(err)
		}
		seen[string(b)] = true
		if err := touchPolicy(dir, n); err != nil {
			t.Fatal(err)
		}
	}
	if len(seen) != 3 {
		t.Errorf("%d contents, want 3", len(seen))
	}
}

func TestOnceGivesEachRequestOnce(t *testing.T) {
	t.Parallel()
	requests := checkRequests([]string{"a", "b"}, "/1", "/2")
	next := once(requests)
	var got []*auth.CheckRequest
	for r := next(); r != nil; r = next() {
		got = append(got, r)
	}
	if !slices.Equal(got, requests) || next() != nil {
		t.Errorf("%d requests, want the 4", len(got))
	}
}

func TestABareSignatureIsChecked(t *testing.T) {
	t.Parallel()
	s, err := newSignature(1000)
	if err != nil {
		t.Fatal(err)
	}
	if !s.good() {
		t.Error("a good signature is refused")
	}
	s.text[500] ^= 1
	if s.good() {
		t.Error("a changed text is believed")
	}
}

func TestRowsAreJudged(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		row  moreRow
		want bool
	}{
		{moreRow{Ratio: 1.05, Target: 1.05}, true},
		{moreRow{Ratio: 1.06, Target: 1.05}, false},
		{moreRow{MiB: 84, AgainstMiB: 20, TargetMiB: 64}, true},
		{moreRow{MiB: 85, AgainstMiB: 20, TargetMiB: 64}, false},
	} {
		if got := c.row.judge().OK; got != c.want {
			t.Errorf("%+v: %v, want %v", c.row, got, c.want)
		}
	}
}

// TestSumsGoRoundByRound: a round that one of them lacks does not count.
func TestSumsGoRoundByRound(t *testing.T) {
	t.Parallel()
	s := series{
		key{"a", 0}: {{authzCPU: 1}, {authzCPU: 2}, {authzCPU: 3}},
		key{"b", 0}: {{authzCPU: 10}, {authzCPU: 20}},
	}
	got := s.sums([]key{{"a", 0}, {"b", 0}}, func(m measurement) float64 { return m.authzCPU })
	if !slices.Equal(got, []float64{11, 22}) {
		t.Errorf("got %v", got)
	}
}

func TestFiguresAreSummed(t *testing.T) {
	t.Parallel()
	const text = "# HELP x_total of x\nx_total{a=\"1\"} 2\nx_total{a=\"2\"} 3e+00\nx_total_other 9\n"
	if got, err := sumSamples(text, "x_total{"); err != nil || got != 5 {
		t.Errorf("%v, %v; want 5", got, err)
	}
	if _, err := sumSamples(text, "y"); err == nil {
		t.Error("a figure that is not there is no error")
	}
}
