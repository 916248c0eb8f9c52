package decisionlog

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// when is the time of every decision here.
var when = time.Date(2026, 11, 23, 10, 0, 0, 123456789, time.FixedZone("JST", 9*3600))

// value reads JSON as what a door would build.
func value(t testing.TB, text string) func() (any, error) {
	t.Helper()
	v, err := ast.ValueFromReader(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return func() (any, error) { return v, nil }
}

// logged runs a log over events and returns what it writes to the console,
// without the members that only the console has.
func logged(t testing.TB, c Config, events ...Event) []string {
	t.Helper()
	var out bytes.Buffer
	c.Console = &out
	run(t, c, events...)
	var lines []string
	for line := range strings.Lines(out.String()) {
		rest, ok := strings.CutPrefix(line, consolePrefix)
		if !ok {
			t.Fatalf("console line %q", line)
		}
		lines = append(lines, "{"+strings.TrimSuffix(rest, "\n"))
	}
	return lines
}

// run records events and ends the log.
func run(t testing.TB, c Config, events ...Event) *Log {
	t.Helper()
	l, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		l.Record(e)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Run(ctx); err != nil {
		t.Fatal(err)
	}
	return l
}

// indent makes two JSON texts comparable: members sorted, a line each.
func indent(t testing.TB, text string) string {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestEventHasTheFormatOfOPA(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		c     Config
		event Event
		want  string
	}{
		{
			name: "everything",
			c:    Config{Labels: map[string]string{"id": "node-1", "version": "v1"}},
			event: Event{
				ID: "d1", Time: when, Took: 1500 * time.Nanosecond, Path: "envoy/authz/allow",
				Input:  value(t, `{"route":"/a","n":1e2,"s":"<&>","list":[1,null,true]}`),
				Result: map[string]any{"allowed": false, "http_status": 403},
				Reason: "policy_denied", Detail: "no", Shadowed: true, Allowed: true, Status: 403, Route: "/a",
				Policy: "default", PolicyRevision: "r1", RevocationRevision: math.MaxUint64,
				Issuer: "https://id.example.com", Subject: "s", Client: "c", Session: "sid",
				TraceID: "4bf92f3577b34da6a3ce929d0e0e4736", SpanID: "00f067aa0ba902b7", RequestedBy: "10.0.0.1:4711", RequestID: 7,
			},
			want: `{
				"labels": {"id": "node-1", "version": "v1"},
				"decision_id": "d1",
				"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "span_id": "00f067aa0ba902b7",
				"bundles": {"default": {"revision": "r1"}},
				"path": "envoy/authz/allow",
				"input": {"route":"/a","n":1e2,"s":"<&>","list":[1,null,true]},
				"result": {"allowed": false, "http_status": 403},
				"requested_by": "10.0.0.1:4711",
				"timestamp": "2026-11-23T01:00:00.123456789Z",
				"metrics": {"timer_server_handler_ns": 1500},
				"req_id": 7,
				"custom": {"allowed": true, "shadowed": true, "reason": "policy_denied", "detail": "no", "status": 403, "route": "/a",
					"policy": "default", "revocation_revision": 18446744073709551615,
					"issuer": "https://id.example.com", "subject": "s", "client": "c", "session": "sid"}}`,
		},
		{
			name:  "nothing",
			event: Event{ID: "d2", Time: when},
			want:  `{"labels":{},"decision_id":"d2","timestamp":"2026-11-23T01:00:00.123456789Z","custom":{"allowed":false,"reason":"refused"}}`,
		},
		{
			name:  "a boolean",
			event: Event{ID: "d3", Time: when, Allowed: true, Result: true, Input: func() (any, error) { return map[string]int64{"a": 1<<62 + 1}, nil }},
			want: `{"labels":{},"decision_id":"d3","timestamp":"2026-11-23T01:00:00.123456789Z",
				"input":{"a":4611686018427387905},"result":true,"custom":{"allowed":true,"reason":"allowed"}}`,
		},
		{
			name:  "a set, null and numbers of any size",
			event: Event{ID: "d4", Time: when, Result: ast.NewSet(ast.StringTerm("b"), ast.StringTerm("a")), Input: value(t, `{"n":123456789012345678901234567890,"x":null}`)},
			want: `{"labels":{},"decision_id":"d4","timestamp":"2026-11-23T01:00:00.123456789Z",
				"input":{"n":123456789012345678901234567890,"x":null},"result":["a","b"],"custom":{"allowed":false,"reason":"refused"}}`,
		},
		{
			name:  "no input to be had",
			event: Event{ID: "d5", Time: when, Result: false, Input: func() (any, error) { return nil, errors.New("secret detail") }},
			want: `{"labels":{},"decision_id":"d5","timestamp":"2026-11-23T01:00:00.123456789Z","result":false,
				"error":{"message":"input or result could not be encoded"},"custom":{"allowed":false,"reason":"refused"}}`,
		},
		{
			name:  "no JSON",
			event: Event{ID: "d6", Time: when, Result: math.Inf(1), Input: func() (any, error) { return func() {}, nil }},
			want: `{"labels":{},"decision_id":"d6","timestamp":"2026-11-23T01:00:00.123456789Z",
				"error":{"message":"input or result could not be encoded"},"custom":{"allowed":false,"reason":"refused"}}`,
		},
		{
			name:  "too large",
			c:     Config{MaxEvent: 500},
			event: Event{ID: "d7", Time: when, Result: true, Input: value(t, `"`+strings.Repeat("x", 500)+`"`)},
			want: `{"labels":{},"decision_id":"d7","timestamp":"2026-11-23T01:00:00.123456789Z","result":true,
				"erased":["/input"],"custom":{"allowed":false,"reason":"refused"}}`,
		},
		{
			name:  "far too large",
			c:     Config{MaxEvent: 500},
			event: Event{ID: "d8", Time: when, Result: strings.Repeat("x", 500), Input: value(t, `"`+strings.Repeat("x", 500)+`"`)},
			want: `{"labels":{},"decision_id":"d8","timestamp":"2026-11-23T01:00:00.123456789Z",
				"erased":["/input","/result"],"custom":{"allowed":false,"reason":"refused"}}`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			lines := logged(t, tt.c, tt.event)
			if len(lines) != 1 {
				t.Fatalf("%d events, want 1", len(lines))
			}
			if diff := cmp.Diff(indent(t, tt.want), indent(t, lines[0])); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// figures gathers every counter by name and label value.
func figures(t testing.TB, r *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := strings.TrimPrefix(f.GetName(), "tegata_decision_log_")
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			if v := m.GetCounter().GetValue() + m.GetGauge().GetValue(); v != 0 {
				out[name] = v
			}
		}
	}
	return out
}

func wantFigures(t testing.TB, r *prometheus.Registry, want map[string]float64) {
	t.Helper()
	if diff := cmp.Diff(want, figures(t, r)); diff != "" {
		t.Errorf("figures, -want +got:\n%s", diff)
	}
}

// TestWhatCannotBeLoggedIsCounted: nor does it stop what comes after.
func TestWhatCannotBeLoggedIsCounted(t *testing.T) {
	t.Parallel()
	r := prometheus.NewRegistry()
	lines := logged(
		t, Config{Metrics: r, MaxEvent: 300},
		Event{ID: "1", Input: func() (any, error) { panic("a bug") }},
		Event{ID: "2", Detail: strings.Repeat("x", 300)},
		Event{ID: "3", Input: func() (any, error) { return nil, errors.New("no") }},
		Event{ID: "4"},
	)
	if len(lines) != 2 {
		t.Errorf("%d events, want 2: %s", len(lines), lines)
	}
	wantFigures(t, r, map[string]float64{"lost_total encoding": 2, "incomplete_total": 1, "events_total logged": 2})
}

// TestRecordNeverWaits: with nobody behind the queue, events are lost and
// counted, by number and by weight.
func TestRecordNeverWaits(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		c    Config
		size int
		kept float64
	}{
		{"too many", Config{Queue: 3}, 0, 3},
		{"too heavy", Config{QueueBytes: 10 << 10}, 4 << 10, 2},
		{"too many, each light", Config{QueueBytes: 4 << 10}, 0, 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := prometheus.NewRegistry()
			tt.c.Metrics = r
			tt.c.Console = io.Discard
			l, err := New(tt.c)
			if err != nil {
				t.Fatal(err)
			}
			for range 10 {
				l.Record(Event{Size: tt.size})
			}
			wantFigures(t, r, map[string]float64{"lost_total queue_full": 10 - tt.kept, "queue_events": tt.kept})
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if err := l.Run(ctx); err != nil {
				t.Fatal(err)
			}
			l.Record(Event{})
			wantFigures(t, r, map[string]float64{"lost_total queue_full": 10 - tt.kept, "events_total logged": tt.kept, "lost_total end": 1})
			if left := l.queued.Load(); left != 0 {
				t.Errorf("%d bytes counted in an empty queue", left)
			}
		})
	}
}

// TestConcurrentRecordersLoseNothing while there is room.
func TestConcurrentRecordersLoseNothing(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	l, err := New(Config{Console: &out})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- l.Run(ctx) }()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 100 {
				l.Record(Event{ID: fmt.Sprint(i, ".", j, ";")})
			}
		})
	}
	wg.Wait()
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for i := range 8 {
		for j := range 100 {
			if id := fmt.Sprint(i, ".", j, ";"); strings.Count(out.String(), `"`+id+`"`) != 1 {
				t.Errorf("%s is not there once", id)
			}
		}
	}
}

// TestTheEndIsBoundedByTime, whatever input takes.
func TestTheEndIsBoundedByTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := prometheus.NewRegistry()
		slow := Event{Input: func() (any, error) { time.Sleep(time.Second); return 1, nil }}
		start := time.Now()
		run(t, Config{Metrics: r, Console: io.Discard, Flush: 3500 * time.Millisecond}, slow, slow, slow, slow, slow, slow)
		if took := time.Since(start); took != 4*time.Second {
			t.Errorf("took %s", took)
		}
		wantFigures(t, r, map[string]float64{"events_total logged": 4, "lost_total end": 2})
	})
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestConsoleThatFailsIsCounted(t *testing.T) {
	t.Parallel()
	r := prometheus.NewRegistry()
	var log bytes.Buffer
	run(t, Config{Metrics: r, Console: brokenWriter{}, Logger: slog.New(slog.NewTextHandler(&log, nil))}, Event{}, Event{})
	wantFigures(t, r, map[string]float64{"lost_total console": 2, "events_total logged": 2})
	if !strings.Contains(log.String(), "broken pipe") {
		t.Errorf("log says %q", log.String())
	}
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	registered := prometheus.NewRegistry()
	if _, err := New(Config{Console: io.Discard, Metrics: registered}); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]Config{
		"nowhere to write":    {},
		"sample above 1":      {Console: io.Discard, Sample: map[string]float64{"allowed": 1.1}},
		"sample below 0":      {Console: io.Discard, Sample: map[string]float64{"allowed": -0.1}},
		"sample no number":    {Console: io.Discard, Sample: map[string]float64{"allowed": math.NaN()}},
		"events too large":    {Console: io.Discard, MaxEvent: 1 << 30},
		"mask of labels":      {Console: io.Discard, Masks: []Mask{{Path: "/labels/id"}}},
		"mask without slash":  {Console: io.Discard, Masks: []Mask{{Path: "input"}}},
		"mask op":             {Console: io.Discard, Masks: []Mask{{Path: "/input", Op: "replace"}}},
		"mask escape":         {Console: io.Discard, Masks: []Mask{{Path: "/input/%zz"}}},
		"mask value":          {Console: io.Discard, Masks: []Mask{{Op: Upsert, Path: "/input/a", Value: func() {}}}},
		"metrics twice":       {Console: io.Discard, Metrics: registered},
		"file without path":   {File: &File{}},
		"file in no folder":   {File: &File{Path: dir + "/no/such/file"}},
		"no url":              {HTTP: &HTTP{}},
		"another scheme":      {HTTP: &HTTP{URL: "ftp://localhost"}},
		"plaintext":           {HTTP: &HTTP{URL: "http://logs.example.com"}},
		"password in url":     {HTTP: &HTTP{URL: "https://u:p@logs.example.com"}},
		"unreadable url":      {HTTP: &HTTP{URL: "https://logs.example.com:x"}},
		"partition, resource": {HTTP: &HTTP{URL: "https://logs.example.com", Partition: "p", Resource: "/r"}},
		"otlp in plaintext":   {OTLP: &HTTP{URL: "http://collector.example.com:4318"}},
		"otlp in partitions":  {OTLP: &HTTP{URL: "https://collector.example.com", Partition: "p"}},
		"limit below 0":       {HTTP: &HTTP{URL: "https://logs.example.com", BatchBytes: -1}},
		"disk too small":      {HTTP: &HTTP{URL: "https://logs.example.com", Disk: &Disk{Dir: dir, MaxBytes: 1 << 20}}},
		"disk without folder": {HTTP: &HTTP{URL: "https://logs.example.com", Disk: &Disk{}}},
	} {
		if l, err := New(c); err == nil {
			t.Errorf("%s: no error", name)
			_ = l.close()
		}
	}
}
