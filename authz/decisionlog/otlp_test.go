package decisionlog

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	collectorv1 "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	commonv1 "go.opentelemetry.io/proto/otlp/common/v1"
	logsv1 "go.opentelemetry.io/proto/otlp/logs/v1"
	"google.golang.org/protobuf/proto"
)

// collector is an OTLP/HTTP receiver in memory.
type collector struct {
	mu       sync.Mutex // guards what follows
	statuses []int      // of the next requests; then 200
	reject   int64      // records that a success says were not accepted
	got      []*collectorv1.ExportLogsServiceRequest
	requests []*http.Request
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	status, body := c.take(r)
	w.Header().Set("Content-Type", "application/x-protobuf")
	w.WriteHeader(status)
	_, _ = w.Write(body) // to ourselves
}

func (c *collector) RoundTrip(r *http.Request) (*http.Response, error) {
	status, body := c.take(r)
	return &http.Response{StatusCode: status, Body: io.NopCloser(bytes.NewReader(body)), Request: r}, nil
}

func (c *collector) take(r *http.Request) (status int, answer []byte) {
	var message collectorv1.ExportLogsServiceRequest
	z, err := gzip.NewReader(r.Body)
	if err != nil {
		return http.StatusTeapot, nil
	}
	body, err := io.ReadAll(z)
	if err != nil || proto.Unmarshal(body, &message) != nil {
		return http.StatusTeapot, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests = append(c.requests, r)
	if len(c.statuses) > 0 {
		status, c.statuses = c.statuses[0], c.statuses[1:]
		if status != http.StatusOK {
			return status, nil
		}
	}
	c.got = append(c.got, &message)
	answer, err = proto.Marshal(&collectorv1.ExportLogsServiceResponse{PartialSuccess: &collectorv1.ExportLogsPartialSuccess{RejectedLogRecords: c.reject}})
	if err != nil {
		return http.StatusTeapot, nil
	}
	return http.StatusOK, answer
}

func (c *collector) records() []*logsv1.LogRecord {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []*logsv1.LogRecord
	for _, message := range c.got {
		for _, resource := range message.GetResourceLogs() {
			for _, scope := range resource.GetScopeLogs() {
				list = append(list, scope.GetLogRecords()...)
			}
		}
	}
	return list
}

// ids are those of the decisions received, in order.
func (c *collector) ids() string {
	var list []string
	for _, r := range c.records() {
		list = append(list, attributes(r.GetAttributes())["tegata.decision.id"])
	}
	return strings.Join(list, " ")
}

func attributes(list []*commonv1.KeyValue) map[string]string {
	out := map[string]string{}
	for _, kv := range list {
		out[kv.GetKey()] = textOf(kv.GetValue())
	}
	return out
}

// textOf is a value as JSON text, a string as it is.
func textOf(v *commonv1.AnyValue) string {
	if s, ok := v.GetValue().(*commonv1.AnyValue_StringValue); ok {
		return s.StringValue
	}
	b, err := json.Marshal(plainValue(v))
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// plainValue is what encoding/json would decode to, with json.Number.
func plainValue(v *commonv1.AnyValue) any {
	switch v := v.GetValue().(type) {
	case *commonv1.AnyValue_StringValue:
		return v.StringValue
	case *commonv1.AnyValue_BoolValue:
		return v.BoolValue
	case *commonv1.AnyValue_IntValue:
		return json.Number(fmt.Sprint(v.IntValue))
	case *commonv1.AnyValue_DoubleValue:
		return v.DoubleValue
	case *commonv1.AnyValue_BytesValue:
		return base64.StdEncoding.EncodeToString(v.BytesValue)
	case *commonv1.AnyValue_ArrayValue:
		list := []any{}
		for _, e := range v.ArrayValue.GetValues() {
			list = append(list, plainValue(e))
		}
		return list
	case *commonv1.AnyValue_KvlistValue:
		object := map[string]any{}
		for _, kv := range v.KvlistValue.GetValues() {
			object[kv.GetKey()] = plainValue(kv.GetValue())
		}
		return object
	}
	return nil
}

// TestRecordIsTheEvent: over a real connection, the body is the event that the
// other outputs have, and what one searches by is beside it.
func TestRecordIsTheEvent(t *testing.T) {
	t.Parallel()
	c := &collector{}
	h := serve(t, c)
	h.Header = http.Header{"Authorization": {"Bearer log-writer"}}
	var console bytes.Buffer
	run(t, Config{OTLP: &h, Console: &console, Labels: map[string]string{"id": "node-1", "version": "v1", "zone": "a"}}, Event{
		ID: "d1", Time: when, Took: 1500 * time.Nanosecond, Path: "envoy/authz/allow",
		Input:  value(t, `{"route":"/a","n":1.5,"list":[1,null,true,{}],"attributes":{"request":{"http":{"headers":{"authorization":"Bearer secret"}}}}}`),
		Result: map[string]any{"allowed": false, "http_status": 403},
		Reason: "policy_denied", Detail: "no", Shadowed: true, Allowed: true, Status: 403, Route: "/a",
		Policy: "default", PolicyRevision: "r1", RevocationRevision: math.MaxUint64,
		Issuer: "https://id.example.com", Subject: "s", Client: "c", Session: "sid",
		TraceID: "4bf92f3577b34da6a3ce929d0e0e4736", SpanID: "00f067aa0ba902b7",
	})
	r := c.requests[0]
	got := []string{r.Method, r.URL.Path, r.Header.Get("Content-Type"), r.Header.Get("Content-Encoding"), r.Header.Get("Authorization")}
	if diff := cmp.Diff([]string{"POST", "/v1/logs", "application/x-protobuf", "gzip", "Bearer log-writer"}, got); diff != "" {
		t.Errorf("request, -want +got:\n%s", diff)
	}
	resource := attributes(c.got[0].GetResourceLogs()[0].GetResource().GetAttributes())
	want := map[string]string{"service.name": "tegata-authz", "service.instance.id": "node-1", "service.version": "v1", "zone": "a"}
	if diff := cmp.Diff(want, resource); diff != "" {
		t.Errorf("resource, -want +got:\n%s", diff)
	}
	record := c.records()[0]
	want = map[string]string{
		"tegata.decision.id": "d1", "tegata.decision.path": "envoy/authz/allow", "tegata.decision.reason": "policy_denied",
		"tegata.decision.allowed": "true", "tegata.decision.shadowed": "true", "http.response.status_code": "403", "http.route": "/a",
		"tegata.policy.name": "default", "tegata.policy.revision": "r1",
		"tegata.token.issuer": "https://id.example.com", "tegata.token.subject": "s", "tegata.token.client": "c", "tegata.token.session": "sid",
	}
	if diff := cmp.Diff(want, attributes(record.GetAttributes())); diff != "" {
		t.Errorf("attributes, -want +got:\n%s", diff)
	}
	event := strings.Replace(console.String(), consolePrefix, "{", 1)
	event = strings.Replace(event, "18446744073709551615", `"18446744073709551615"`, 1) // more than an int64
	if diff := cmp.Diff(indent(t, event), indent(t, textOf(record.GetBody()))); diff != "" {
		t.Errorf("body, -event +got:\n%s", diff)
	}
	if strings.Contains(textOf(record.GetBody()), "Bearer secret") {
		t.Error("the body has the token")
	}
	meta := []any{record.GetTimeUnixNano(), hex.EncodeToString(record.GetTraceId()), hex.EncodeToString(record.GetSpanId()), record.GetSeverityText(), record.GetEventName()}
	if diff := cmp.Diff([]any{uint64(when.UnixNano()), "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", "INFO", "tegata.decision"}, meta); diff != "" {
		t.Errorf("record, -want +got:\n%s", diff)
	}
}

// TestCollectorThatFails: what may be tried again is, in order; the rest is
// counted, and holds nothing up.
func TestCollectorThatFails(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		c       *collector
		want    string
		figures map[string]float64
	}{
		{"away for a while", &collector{statuses: []int{503, 429, 502, 401}}, "0 1 2", map[string]float64{"events_total logged": 3, "uploads_total ok": 1, "uploads_total failed": 4}},
		{"refuses the first", &collector{statuses: []int{400, 400, 200}}, "1 2", map[string]float64{"events_total logged": 3, "uploads_total ok": 2, "uploads_total refused": 2, "lost_total refused": 1}},
		{"takes a part of it (OTLP, partial success)", &collector{reject: 2}, "0 1 2", map[string]float64{"events_total logged": 3, "uploads_total ok": 1, "lost_total refused": 2}},
		{"counts what it was not sent", &collector{reject: math.MaxInt64}, "0 1 2", map[string]float64{"events_total logged": 3, "uploads_total ok": 1, "lost_total refused": 3}},
		{"counts backwards", &collector{reject: -1}, "0 1 2", map[string]float64{"events_total logged": 3, "uploads_total ok": 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := prometheus.NewRegistry()
			synctest.Test(t, func(t *testing.T) {
				h := HTTP{URL: "https://collector.example.com:4318", Client: &http.Client{Transport: tt.c}}
				l, end := start(t, Config{OTLP: &h, Metrics: r})
				record(l, numbered(0, 3)...)
				time.Sleep(time.Minute)
				end()
			})
			if got := tt.c.ids(); got != tt.want {
				t.Errorf("received %s, want %s", got, tt.want)
			}
			wantFigures(t, r, tt.figures)
		})
	}
}

// TestServicesDoNotWaitForEachOther: one that is away costs the other nothing,
// and what is on disk for it arrives after a restart.
func TestServicesDoNotWaitForEachOther(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		opa, away := &service{}, &collector{statuses: slices.Repeat([]int{503}, 1000)}
		first := bubble(opa)
		second := HTTP{URL: "https://collector.example.com", Client: &http.Client{Transport: away}, Disk: &Disk{Dir: dir}}
		run(t, Config{HTTP: &first, OTLP: &second}, numbered(0, 10)...)
		if got := opa.received(); got != "0 1 2 3 4 5 6 7 8 9" {
			t.Errorf("the one received %s", got)
		}
		back := &collector{}
		second.Client = &http.Client{Transport: back}
		run(t, Config{OTLP: &second}, numbered(10, 12)...)
		if got := back.ids(); got != "0 1 2 3 4 5 6 7 8 9 10 11" {
			t.Errorf("the other received %s", got)
		}
	})
}

// TestRecordsNestNoDeeperThanReceiversRead: below, there is JSON text.
func TestRecordsNestNoDeeperThanReceiversRead(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat(`{"a":`, 200) + `1` + strings.Repeat(`}`, 200)
	v := otlpRecord([]byte(deep)).GetBody()
	for range maxBodyDepth {
		v = v.GetKvlistValue().GetValues()[0].GetValue()
	}
	if got, want := v.GetStringValue(), deep[maxBodyDepth*5:len(deep)-maxBodyDepth]; got != want {
		t.Errorf("got %s", got)
	}
}

// FuzzRecord: whatever a buffer holds becomes a record that can be sent, with
// all of the event that its types can say.
func FuzzRecord(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"decision_id":"d","timestamp":"2026-11-23T01:00:00Z","custom":{"allowed":true,"status":403}}`, `{"trace_id":"zz"}`,
		`{"a":[1,-1.5e9,1e999,123456789012345678901,null,"\ud800"]}`, `{"custom":7}`, `[]`, `{`, "\xff",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, event []byte) {
		record := otlpRecord(event)
		b, err := proto.Marshal(record)
		if err != nil {
			t.Fatal(err)
		}
		var back logsv1.LogRecord
		if err := proto.Unmarshal(b, &back); err != nil || !proto.Equal(record, &back) {
			t.Fatalf("reads back as %v, %v", &back, err)
		}
		var want, got any
		if json.Unmarshal(event, &want) != nil || record.GetBody().GetStringValue() != "" {
			return // went as text
		}
		if err := json.Unmarshal([]byte(textOf(record.GetBody())), &got); err != nil {
			return // the body is a bare number or the like
		}
		if depth(want) < maxBodyDepth && !strings.Contains(string(event), "e") && len(event) < 1000 && !bigNumbers(want) && !cmp.Equal(want, got) {
			t.Errorf("%s became %s", event, textOf(record.GetBody()))
		}
	})
}

func depth(v any) int {
	most := 0
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			most = max(most, 1+depth(e))
		}
	case map[string]any:
		for _, e := range v {
			most = max(most, 1+depth(e))
		}
	}
	return most
}

// bigNumbers reports whether there is one that became text.
func bigNumbers(v any) bool {
	switch v := v.(type) {
	case float64:
		return math.Abs(v) >= 1<<53
	case []any:
		return slices.ContainsFunc(v, bigNumbers)
	case map[string]any:
		for _, e := range v {
			if bigNumbers(e) {
				return true
			}
		}
	}
	return false
}
