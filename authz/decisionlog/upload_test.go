package decisionlog

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

// service is a decision log service in memory.
type service struct {
	mu       sync.Mutex // guards what follows
	answers  []answer   // of the next requests; then 200
	limit    int        // events accepted in one request; 0: any number
	poison   string     // id of an event that is not accepted
	got      []string   // ids in order
	batches  []int      // events in each request, accepted or not
	at       []time.Time
	requests []*http.Request
}

type answer struct {
	status int
	header http.Header
	err    error
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	events, err := unpack(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusTeapot)
		return
	}
	a := s.take(r, events)
	for name, values := range a.header {
		w.Header()[name] = values
	}
	w.WriteHeader(a.status)
}

// RoundTrip makes the service a transport without a network, for synctest.
func (s *service) RoundTrip(r *http.Request) (*http.Response, error) {
	events, err := unpack(r.Body)
	if err != nil {
		return nil, err
	}
	a := s.take(r, events)
	if a.err != nil {
		return nil, a.err
	}
	return &http.Response{StatusCode: a.status, Header: a.header, Body: http.NoBody, Request: r}, nil
}

func (s *service) take(r *http.Request, events []string) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, r)
	s.at = append(s.at, time.Now())
	s.batches = append(s.batches, len(events))
	a := answer{status: http.StatusOK}
	if len(s.answers) > 0 {
		a, s.answers = s.answers[0], s.answers[1:]
	}
	if s.limit > 0 && len(events) > s.limit {
		a.status = http.StatusRequestEntityTooLarge
	}
	if s.poison != "" && slices.Contains(events, s.poison) {
		a.status = http.StatusBadRequest
	}
	if a.err == nil && a.status < 300 {
		s.got = append(s.got, events...)
	}
	return a
}

// received is the ids so far.
func (s *service) received() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.got, " ")
}

// fail sets the next answer.
func (s *service) fail(a answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers = []answer{a}
}

// sizes is the number of events in each request so far.
func (s *service) sizes() []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.batches)
}

// unpack reads a gzipped array of events and returns their ids.
func unpack(body io.Reader) ([]string, error) {
	z, err := gzip.NewReader(body)
	if err != nil {
		return nil, err
	}
	var events []struct {
		ID string `json:"decision_id"`
	}
	if err := json.NewDecoder(z).Decode(&events); err != nil {
		return nil, err
	}
	var list []string
	for _, e := range events {
		list = append(list, e.ID)
	}
	return list, nil
}

// serve starts the service and returns a client for it.
func serve(t testing.TB, h http.Handler) HTTP {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return HTTP{URL: server.URL, Client: server.Client()}
}

// bubble is a configuration for a test under synctest: no network.
func bubble(s *service) HTTP {
	return HTTP{URL: "https://logs.example.com", Client: &http.Client{Transport: s}}
}

// start runs a log until the returned function is called.
func start(t testing.TB, c Config) (l *Log, end func()) {
	t.Helper()
	l, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- l.Run(ctx) }()
	return l, func() {
		t.Helper()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func record(l *Log, events ...Event) {
	for _, e := range events {
		l.Record(e)
	}
}

func TestUploadIsThatOfOPA(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, base string
		change     func(*HTTP)
		path       string
	}{
		{"plain", "", func(*HTTP) {}, "/logs"},
		{"partition", "", func(h *HTTP) { h.Partition = "team a" }, "/logs/team%20a"},
		{"partition with a slash", "", func(h *HTTP) { h.Partition = "../a" }, "/logs/..%2Fa"},
		{"resource", "", func(h *HTTP) { h.Resource = "/v1/decisions/" }, "/v1/decisions"},
		{"below a path", "/opa/", func(*HTTP) {}, "/opa/logs"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := &service{}
			c := serve(t, s)
			c.URL += tt.base
			c.Header = http.Header{"authorization": {"Bearer log-writer"}}
			tt.change(&c)
			run(t, Config{HTTP: &c}, numbered(0, 3)...)
			if got := s.received(); got != "0 1 2" {
				t.Errorf("received %s", got)
			}
			r := s.requests[0]
			got := []string{r.Method, r.URL.EscapedPath(), r.Header.Get("Content-Type"), r.Header.Get("Content-Encoding"), r.Header.Get("Authorization")}
			if diff := cmp.Diff([]string{"POST", tt.path, "application/json", "gzip", "Bearer log-writer"}, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// TestEventsWaitForOthers: a request holds what came within Delay, or a batch.
func TestEventsWaitForOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &service{}
		c := bubble(s)
		c.BatchBytes = 1000
		l, end := start(t, Config{HTTP: &c})
		record(l, numbered(0, 2)...)
		time.Sleep(900 * time.Millisecond)
		record(l, numbered(2, 3)...)
		synctest.Wait()
		if sent := s.sizes(); len(sent) != 0 {
			t.Errorf("sent %v too soon", sent)
		}
		time.Sleep(200 * time.Millisecond)
		synctest.Wait()
		if diff := cmp.Diff([]int{3}, s.sizes()); diff != "" {
			t.Errorf("batches, -want +got:\n%s", diff)
		}
		record(l, numbered(3, 13)...) // more than a batch: at once, and the rest when its time comes
		synctest.Wait()
		if sent := s.sizes(); len(sent) < 2 || slices.Max(sent) > 5 {
			t.Errorf("batches %v", sent)
		}
		end()
		if got := s.received(); got != "0 1 2 3 4 5 6 7 8 9 10 11 12" {
			t.Errorf("received %s", got)
		}
	})
}

// TestFailedUploadIsTriedAgain, later each time, with jitter, as the service
// asks, and nothing is lost or sent out of order.
func TestFailedUploadIsTriedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := prometheus.NewRegistry()
		s := &service{answers: []answer{
			{err: errors.New("connection refused")},
			{status: 500},
			{status: 401},
			{status: 302, header: http.Header{"Location": {"https://evil.example.com"}}},
			{status: 429, header: http.Header{"Retry-After": {"7"}}},
			{status: 503, header: http.Header{"Retry-After": {"100000"}}},
			{status: 503},
			{status: 204},
		}}
		c := bubble(s)
		c.Delay, c.MaxBackOff = time.Nanosecond, 10*time.Second
		var log bytes.Buffer
		l, end := start(t, Config{
			HTTP: &c, Metrics: r, Random: func() float64 { return 0.5 }, Logger: slog.New(slog.NewTextHandler(&log, nil)),
		})
		record(l, numbered(0, 2)...)
		time.Sleep(time.Minute)
		s.fail(answer{status: 500})
		record(l, numbered(2, 3)...)
		time.Sleep(time.Minute)
		end()
		if got := s.received(); got != "0 1 2" {
			t.Errorf("received %s", got)
		}
		if fails, works := strings.Count(log.String(), "upload fails"), strings.Count(log.String(), "upload works again"); fails != 2 || works != 2 {
			t.Errorf("the log says:\n%s", log.String())
		}
		var waits []time.Duration
		for i := range s.at[1:] {
			waits = append(waits, s.at[i+1].Sub(s.at[i]).Round(time.Millisecond))
		}
		const ms = time.Millisecond
		want := []time.Duration{188 * ms, 375 * ms, 750 * ms, 1500 * ms, 7000 * ms, 10000 * ms, 7500 * ms, 0, 188 * ms}
		waits[7] = 0 // until the next event
		if diff := cmp.Diff(want, waits); diff != "" {
			t.Errorf("waits, -want +got:\n%s", diff)
		}
		wantFigures(t, r, map[string]float64{"events_total logged": 3, "uploads_total failed": 8, "uploads_total ok": 2})
	})
}

// TestRefusedBatchIsSentByHalves, until what cannot be accepted is alone.
func TestRefusedBatchIsSentByHalves(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		s     *service
		want  string
		lost  float64
		sizes []int
	}{
		{"too many at once", &service{limit: 3}, "0 1 2 3 4 5 6 7 8 9", 0, []int{10, 5, 2, 4, 2, 4, 2, 4, 2, 2}},
		{"one that is poison", &service{poison: "6"}, "0 1 2 3 4 5 7 8 9", 1, []int{10, 5, 5, 2, 1, 2, 1, 1, 2}},
		{"none is accepted", &service{answers: slices.Repeat([]answer{{status: 422}}, 100)}, "", 10, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := prometheus.NewRegistry()
			synctest.Test(t, func(t *testing.T) {
				c := bubble(tt.s)
				l, end := start(t, Config{HTTP: &c, Metrics: r})
				record(l, numbered(0, 10)...)
				time.Sleep(1001 * time.Millisecond) // no more than the delay
				if got := tt.s.received(); got != tt.want {
					t.Errorf("received %s, want %s", got, tt.want)
				}
				end()
			})
			if got := figures(t, r)["lost_total refused"]; got != tt.lost {
				t.Errorf("%v lost, want %v", got, tt.lost)
			}
			if tt.sizes != nil && !slices.Equal(tt.s.sizes(), tt.sizes) {
				t.Errorf("sent %v, want %v", tt.s.sizes(), tt.sizes)
			}
		})
	}
}

// TestMemoryIsBounded: while the service is away, the oldest events go.
func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := prometheus.NewRegistry()
		s := &service{answers: slices.Repeat([]answer{{status: 503}}, 3)}
		c := bubble(s)
		size := int64(len(logged(t, Config{}, numbered(10, 11)...)[0]))
		c.MemoryBytes, c.BatchBytes = 5*size, int(2*size)
		l, end := start(t, Config{HTTP: &c, Metrics: r})
		record(l, numbered(10, 12)...)
		synctest.Wait() // the first two are under way, and stay
		record(l, numbered(12, 22)...)
		synctest.Wait()
		if got := figures(t, r)["buffer_bytes"]; got != float64(5*size) {
			t.Errorf("%v bytes kept, want %v", got, 5*size)
		}
		time.Sleep(time.Minute)
		end()
		if got := s.received(); got != "10 11 19 20 21" {
			t.Errorf("received %s", got)
		}
		wantFigures(t, r, map[string]float64{
			"events_total logged": 12, "lost_total buffer_full": 7, "uploads_total failed": 3, "uploads_total ok": 3,
		})
	})
}

// TestEndWaitsForTheService, for so long, then counts what is lost.
func TestEndWaitsForTheService(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		s    *service
		want string
		lost float64
	}{
		{"comes back", &service{answers: []answer{{status: 503}, {err: io.ErrUnexpectedEOF}}}, "0 1 2", 0},
		{"stays away", &service{answers: slices.Repeat([]answer{{status: 503}}, 100)}, "", 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := prometheus.NewRegistry()
				c := bubble(tt.s)
				start := time.Now()
				run(t, Config{HTTP: &c, Metrics: r, Flush: 3 * time.Second}, numbered(0, 3)...)
				if took := time.Since(start); took > 3*time.Second {
					t.Errorf("took %s", took)
				}
				if got := tt.s.received(); got != tt.want {
					t.Errorf("received %q, want %q", got, tt.want)
				}
				if got := figures(t, r)["lost_total end"]; got != tt.lost {
					t.Errorf("%v lost, want %v", got, tt.lost)
				}
			})
		})
	}
}

// TestEndCutsAPauseShort: what waits to be tried again is tried at once.
func TestEndCutsAPauseShort(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &service{answers: []answer{{status: 503, header: http.Header{"Retry-After": {"20"}}}}}
		c := bubble(s)
		l, end := start(t, Config{HTTP: &c})
		record(l, numbered(0, 1)...)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		start := time.Now()
		end()
		if got, took := s.received(), time.Since(start); got != "0" || took > 0 {
			t.Errorf("received %q after %s", got, took)
		}
	})
}

// TestRequestHasATimeout, after which it is tried again.
func TestRequestHasATimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := hanging{make(chan struct{}, 100)}
		c := bubble(&service{})
		c.Client.Transport, c.Timeout = h, 3*time.Second
		l, end := start(t, Config{HTTP: &c})
		record(l, numbered(0, 1)...)
		<-h.asked
		start := time.Now()
		<-h.asked
		if took := time.Since(start); took < 3*time.Second || took > 3500*time.Millisecond {
			t.Errorf("tried again after %s", took)
		}
		end()
	})
}

// hanging never answers.
type hanging struct{ asked chan struct{} }

func (h hanging) RoundTrip(r *http.Request) (*http.Response, error) {
	h.asked <- struct{}{}
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// TestServiceThatHangsHoldsNobodyUp: neither recorders nor the other outputs
// nor the end.
func TestServiceThatHangsHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := hanging{make(chan struct{}, 100)}
		c := bubble(&service{})
		c.Client.Transport = h
		var out bytes.Buffer
		l, end := start(t, Config{HTTP: &c, Console: &out, Flush: 3 * time.Second})
		record(l, numbered(0, 1)...)
		<-h.asked
		record(l, numbered(1, 100)...)
		synctest.Wait()
		if n := strings.Count(out.String(), "\n"); n != 100 {
			t.Errorf("%d lines on the console, want 100", n)
		}
		start := time.Now()
		end()
		if took := time.Since(start); took > 3*time.Second {
			t.Errorf("the end took %s", took)
		}
	})
}

// TestPackedBatchIsOneArray whatever the number of events.
func TestPackedBatchIsOneArray(t *testing.T) {
	t.Parallel()
	for n := 1; n < 4; n++ { // none is never sent
		var events [][]byte
		for i := range n {
			events = append(events, fmt.Appendf(nil, `{"decision_id":"%d"}`, i))
		}
		b, err := (&uploader{protocol: opaLogs()}).pack(events)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := unpack(bytes.NewReader(b)); err != nil || len(got) != n {
			t.Errorf("%d events: got %v, %v", n, got, err)
		}
	}
}
