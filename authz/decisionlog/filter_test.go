package decisionlog

import (
	"fmt"
	"math"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func TestSimpleRulesDropBeforeTheQueue(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		c     Config
		event Event
		kept  bool
	}{
		{"allowed", Config{DropAllowed: true}, Event{Allowed: true}, false},
		{"allowed by name", Config{DropAllowed: true}, Event{Allowed: true, Reason: "allowed"}, false},
		{"refused", Config{DropAllowed: true}, Event{Reason: "revoked"}, true},
		{"shadowed", Config{DropAllowed: true}, Event{Allowed: true, Shadowed: true, Reason: "revoked"}, true},
		{"route", Config{DropRoutes: []string{"/a", "/b"}}, Event{Route: "/b"}, false},
		{"another route", Config{DropRoutes: []string{"/a", "/b"}}, Event{Route: "/c"}, true},
		{"no route", Config{DropRoutes: []string{"/a"}}, Event{}, true},
		{"not listed in sample", Config{Sample: map[string]float64{"refused": 0}}, Event{Allowed: true}, true},
		{"none of the allowed", Config{Sample: map[string]float64{"allowed": 0}}, Event{Allowed: true}, false},
		{"all of the allowed", Config{Sample: map[string]float64{"allowed": 1}}, Event{Allowed: true}, true},
		{"any refusal", Config{Sample: map[string]float64{"refused": 0}}, Event{Reason: "revoked"}, false},
		{"one refusal", Config{Sample: map[string]float64{"refused": 0, "revoked": 1}}, Event{Reason: "revoked"}, true},
		{"another refusal", Config{Sample: map[string]float64{"revoked": 0}}, Event{Reason: "not_ready"}, true},
		{"refused is not allowed", Config{Sample: map[string]float64{"allowed": 0}}, Event{Reason: "revoked"}, true},
		{"shadowed is its reason", Config{Sample: map[string]float64{"allowed": 0}}, Event{Allowed: true, Shadowed: true}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if kept := len(logged(t, tt.c, tt.event)) == 1; kept != tt.kept {
				t.Errorf("kept: %t, want %t", kept, tt.kept)
			}
		})
	}
}

// TestSampleIsTheSameOnEveryServer: the ids below were sampled by the first
// version; should one change, servers of two versions would log two halves.
func TestSampleIsTheSameOnEveryServer(t *testing.T) {
	t.Parallel()
	f, err := newFilter(Config{Sample: map[string]float64{"allowed": 0.3}})
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	for i := range 24 {
		if f.sampled(&Event{ID: fmt.Sprint(i), Allowed: true}) {
			got += fmt.Sprint(i, " ")
		}
	}
	if want := "8 9 10 14 15 18 23 "; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestSampleIsOfTheSizeAskedFor, of ids that hardly differ.
func TestSampleIsOfTheSizeAskedFor(t *testing.T) {
	t.Parallel()
	for _, share := range []float64{0.001, 0.01, 0.5, 0.99} {
		r := prometheus.NewRegistry()
		f, err := newFilter(Config{Sample: map[string]float64{"refused": share}, Metrics: r})
		if err != nil {
			t.Fatal(err)
		}
		const n = 100_000
		kept := 0
		for i := range n {
			if f.sampled(&Event{ID: fmt.Sprintf("%032x", i)}) {
				kept++
			}
		}
		deviation := math.Sqrt(n * share * (1 - share))
		if math.Abs(float64(kept)-n*share) > 4*deviation {
			t.Errorf("%d of %d kept for %v", kept, n, share)
		}
	}
}

func TestSampledOutIsCounted(t *testing.T) {
	t.Parallel()
	r := prometheus.NewRegistry()
	c := Config{Metrics: r, Sample: map[string]float64{"allowed": 0}, DropRoutes: []string{"/health"}}
	logged(t, c, Event{Allowed: true}, Event{Route: "/health"}, Event{Route: "/health"}, Event{})
	wantFigures(t, r, map[string]float64{"events_total logged": 1, "events_total sampled_out": 1, "events_total dropped": 2})
}
