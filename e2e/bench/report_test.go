package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// filled is a report of two rounds in which the machine slowed down.
func filled() report {
	s := series{
		key{"noop", 1}:      {{rps: 1000, p50: 1, p99: 2, authzCPU: 40, envoyCPU: 60}, {rps: 500, p50: 3, p99: 4, authzCPU: 80, envoyCPU: 120}},
		key{"tegata", 1}:    {{rps: 900, p50: 1, p99: 2, authzCPU: 20, envoyCPU: 60}, {rps: 450, p50: 3, p99: 4, authzCPU: 40, envoyCPU: 120}},
		key{"reference", 1}: {{rps: 300, p50: 1, p99: 2, authzCPU: 400, envoyCPU: 60}, {rps: 150, p50: 3, p99: 4, authzCPU: 800, envoyCPU: 120}},
	}
	return report{
		Rows: []row{s.row(key{"noop", 1}), s.row(key{"tegata", 1})}, Ratios: s.ratios(1),
		Revocation: revocationReport{P50: 0.5, P99: 1.5},
		Issuer:     issuerReport{TokensPerS: map[string]float64{"ES256": 5, "RS256": 1}, IntrospectionsPerS: 9},
		More: []moreRow{
			s.cpuRow("warm", "no-op", 0.8, []key{{"tegata", 1}}, []key{{"noop", 1}}),
			moreRow{Case: "memory", Against: "none", MiB: 30, AgainstMiB: 20, LoadMS: 5, Ratio: 1.5, TargetMiB: 64}.judge(),
			s.p99Row("reloads", "none", 2, key{"tegata", 1}, key{"noop", 1}),
		},
		Watch: watchReport{Fleets: []fleetRow{
			fleetCase{Watchers: 10, Streams: 1, targetP50: 1, targetP99: 2}.row([]time.Duration{time.Millisecond}, []time.Duration{time.Millisecond}, 50, 60),
		}},
		TokenBytes: 1000,
	}
}

// TestJSONHasTheMembersThatScriptsRead: no more and no fewer, down to the leaves.
func TestJSONHasTheMembersThatScriptsRead(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "b.json")
	if err := filled().write(path); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var document any
	if err := json.Unmarshal(b, &document); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"issuer.introspections_per_s", "issuer.tokens_per_s.ES256", "issuer.tokens_per_s.RS256",
		"more.against", "more.against_cpu_us", "more.against_p99_ms", "more.against_rss_mib", "more.case", "more.cpu_us",
		"more.load_ms", "more.ok", "more.p99_ms", "more.ratio", "more.rss_mib", "more.target", "more.target_mib",
		"ratios.cpu_vs_noop", "ratios.cpu_vs_reference", "ratios.rps_vs_noop",
		"revocation_ms.p50", "revocation_ms.p99",
		"rows.authz_cpu_us", "rows.case", "rows.envoy_cpu_us", "rows.p50_ms", "rows.p99_ms", "rows.rps", "rows.tokens",
		"watch.fleets.answered_p50_ms", "watch.fleets.answered_p99_ms", "watch.fleets.connections", "watch.fleets.cpu_us_each",
		"watch.fleets.kib_each", "watch.fleets.ok", "watch.fleets.refused_p50_ms", "watch.fleets.refused_p99_ms",
		"watch.fleets.target_p50_ms", "watch.fleets.target_p99_ms", "watch.fleets.tls", "watch.fleets.watchers",
		"watch.snapshot.bytes_per_entry", "watch.snapshot.entries", "watch.snapshot.resync_ms",
	}
	if got := leaves("", document); !slices.Equal(got, want) {
		t.Errorf("members\n got %v\nwant %v", got, want)
	}
}

// leaves are the sorted paths of what is no object or array; all items of an array are one.
func leaves(path string, v any) []string {
	var out []string
	switch v := v.(type) {
	case map[string]any:
		for name, member := range v {
			out = append(out, leaves(strings.TrimPrefix(path+"."+name, "."), member)...)
		}
	case []any:
		for _, item := range v {
			out = append(out, leaves(path, item)...)
		}
	default:
		out = []string{path}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func TestRowsAreMediansOverRounds(t *testing.T) {
	t.Parallel()
	want := row{Case: "noop", Tokens: 1, RPS: 750, P50: 2, P99: 3, AuthzCPU: 60, EnvoyCPU: 90}
	if got := filled().Rows[0]; got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestRatiosAreTakenWithinARound(t *testing.T) {
	t.Parallel()
	want := ratios{RPSVsNoop: 0.9, RPSVsReference: 3, CPUVsNoop: 0.5, CPUVsReference: 0.05}
	if got := filled().Ratios; got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestMedian(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		of   []float64
		want float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 2, 3}, 2.5}} {
		if got := median(slices.Clone(c.of)); got != c.want {
			t.Errorf("median of %v: %v, want %v", c.of, got, c.want)
		}
	}
}

// TestTheTableLeavesOutWhatWasNotMeasured: a zero would look like a result.
func TestTheTableLeavesOutWhatWasNotMeasured(t *testing.T) {
	t.Parallel()
	var all, none strings.Builder
	r := filled()
	r.Idle = idleReport{AuthzRSSMiB: 30}
	r.Watch.Fleets = append(r.Watch.Fleets, fleetCase{Watchers: 7777, Streams: 50}.failed(errors.New("too busy")))
	r.print(&all)
	report{Rows: r.Rows}.print(&none)
	for _, word := range []string{"too busy", "7777", "reference", "Revocation", "Issuer", "Idle", "More", "watcher"} {
		if !strings.Contains(all.String(), word) {
			t.Errorf("%q is not in the table", word)
		}
		if strings.Contains(none.String(), word) {
			t.Errorf("%q is in the table though it was not measured", word)
		}
	}
}

func TestOnlyNamesParts(t *testing.T) {
	t.Parallel()
	good := options{rounds: 1, many: 1, revocations: 1, duration: 1e9, withTegata: true}
	for _, c := range []struct {
		only string
		want []string // nil is an error
	}{
		{"", parts()},
		{"noop,issuer", []string{"noop", "issuer"}},
		{"revocation", []string{"tegata", "revocation"}},
		{"more", []string{"more"}},
		{"watch", []string{"watch"}},
		{"nope", nil},
		{"noop,", nil},
	} {
		o := good
		err := o.check(nil, c.only)
		var got []string
		for _, p := range parts() {
			if err == nil && o.wants(p) {
				got = append(got, p)
			}
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("-only %q measures %v, want %v (error %v)", c.only, got, c.want, err)
		}
	}
}

// TestAFleetMeetsBothItsTargets: half of them quick and one in a hundred slow
// is not fast.
func TestAFleetMeetsBothItsTargets(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		took []time.Duration // any order
		want bool
	}{
		{[]time.Duration{2e6, 1e6, 1e6}, true},
		{[]time.Duration{1e6, 3e6, 1e6}, false},
		{[]time.Duration{2e6, 1e6, 2e6}, false},
	} {
		c := fleetCase{Watchers: 100, Streams: 50, targetP50: 1, targetP99: 2}
		if got := c.row(slices.Clone(tt.took), slices.Clone(tt.took), 0, 0); got.OK != tt.want || got.Connections != 2 {
			t.Errorf("%v: %+v, want OK %v on 2 connections", tt.took, got, tt.want)
		}
	}
}

// TestFleetsAreMeasured: a small one, from end to end.
func TestFleetsAreMeasured(t *testing.T) {
	identity, err := mutualTLS()
	if err != nil {
		t.Fatal(err)
	}
	for _, secure := range []bool{false, true} {
		got, err := measureFleet(t.Context(), fleetCase{Watchers: 4, Streams: 2, TLS: secure}, identity, 5)
		if err != nil {
			t.Fatal(err)
		}
		if got.Answered50 <= 0 || got.Refused50 <= 0 || got.Refused99 > got.Answered99 || got.Connections != 2 {
			t.Errorf("TLS %v: %+v", secure, got)
		}
	}
}
