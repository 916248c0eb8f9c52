package decisionlog

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	collectorv1 "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	commonv1 "go.opentelemetry.io/proto/otlp/common/v1"
	logsv1 "go.opentelemetry.io/proto/otlp/logs/v1"
	resourcev1 "go.opentelemetry.io/proto/otlp/resource/v1"
	"google.golang.org/protobuf/proto"
)

// Names of OpenTelemetry: those of its semantic conventions where it has them.
const (
	otlpScope     = "github.com/tegata/tegata/authz/decisionlog"
	otlpEventName = "tegata.decision"
	otlpService   = "tegata-authz"
)

// maxBodyDepth is how deep the body of a record nests before what is below is
// written as JSON text. A level of JSON is three of protobuf, and receivers in
// other languages than Go stop at a hundred.
const maxBodyDepth = 24

// otlpLogs is OTLP/HTTP in binary protobuf (OTLP 1.x, §OTLP/HTTP). The body of
// a record is the event in OPA's format; what one searches for is beside it,
// as attributes.
//
// Events are encoded here, when they leave, so that the buffers hold the same
// bytes whatever the protocol is. OpenTelemetry's own log SDK is not used: its
// queue drops without telling, and cannot be on disk.
func otlpLogs(labels map[string]string) protocol {
	resource := otlpResource(labels)
	pack := func(w io.Writer, events [][]byte) error {
		records := make([]*logsv1.LogRecord, len(events))
		for i, event := range events {
			records[i] = otlpRecord(event)
		}
		b, err := proto.Marshal(&collectorv1.ExportLogsServiceRequest{ResourceLogs: []*logsv1.ResourceLogs{{
			Resource:  resource,
			ScopeLogs: []*logsv1.ScopeLogs{{Scope: &commonv1.InstrumentationScope{Name: otlpScope}, LogRecords: records}},
		}}})
		if err != nil {
			return fmt.Errorf("encoding records: %w", err)
		}
		_, err = w.Write(b)
		return err
	}
	return protocol{name: "otlp", resource: "/v1/logs", kind: "application/x-protobuf", pack: pack, rejected: otlpRejected}
}

// otlpResource says who logs: the labels of the log, under OpenTelemetry's
// names if it has them.
func otlpResource(labels map[string]string) *resourcev1.Resource {
	named := map[string]string{"service.name": otlpService}
	for name, value := range labels {
		switch name {
		case "id":
			name = "service.instance.id"
		case "version":
			name = "service.version"
		}
		named[name] = value
	}
	resource := &resourcev1.Resource{}
	for _, name := range slices.Sorted(maps.Keys(named)) {
		resource.Attributes = append(resource.Attributes, otlpPair(name, named[name]))
	}
	return resource
}

// otlpRejected is how many records a success did not include (partial_success).
func otlpRejected(body []byte) int {
	var answer collectorv1.ExportLogsServiceResponse
	if err := proto.Unmarshal(body, &answer); err != nil {
		return 0 // 200 all the same, so they are there
	}
	return int(min(max(answer.GetPartialSuccess().GetRejectedLogRecords(), 0), math.MaxInt32))
}

// facts are what a record says beside its body.
type facts struct {
	DecisionID string            `json:"decision_id"`
	TraceID    string            `json:"trace_id"`
	SpanID     string            `json:"span_id"`
	Bundles    map[string]bundle `json:"bundles"`
	Path       string            `json:"path"`
	Timestamp  time.Time         `json:"timestamp"`
	Custom     custom            `json:"custom"`
}

// otlpRecord makes a record of an encoded event. One that does not read, which
// a buffer should not hold, goes as the text that it is: it must not stop those
// behind it.
func otlpRecord(event []byte) *logsv1.LogRecord {
	decoder := json.NewDecoder(bytes.NewReader(event))
	decoder.UseNumber()
	var body any
	var f facts
	if err := errors.Join(decoder.Decode(&body), json.Unmarshal(event, &f)); err != nil {
		body, f = string(event), facts{}
	}
	at := uint64(max(f.Timestamp.UnixNano(), 0))
	return &logsv1.LogRecord{
		TimeUnixNano: at, ObservedTimeUnixNano: at, EventName: otlpEventName,
		SeverityNumber: logsv1.SeverityNumber_SEVERITY_NUMBER_INFO, SeverityText: "INFO",
		Body: otlpValue(body, 0), Attributes: otlpAttributes(f),
		TraceId: otlpID(f.TraceID, 16), SpanId: otlpID(f.SpanID, 8),
	}
}

// otlpID is the binary form of an id of W3C; none if it is not one.
func otlpID(text string, size int) []byte {
	id, err := hex.DecodeString(text)
	if err != nil || len(id) != size {
		return nil
	}
	return id
}

// otlpAttributes are what one searches decisions by; empty ones are left out.
func otlpAttributes(f facts) []*commonv1.KeyValue {
	c := f.Custom
	list := []*commonv1.KeyValue{
		otlpPair("tegata.decision.id", f.DecisionID),
		otlpPair("tegata.decision.path", f.Path),
		otlpPair("tegata.decision.reason", c.Reason),
		otlpPair("tegata.policy.name", c.Policy),
		otlpPair("tegata.policy.revision", f.Bundles[c.Policy].Revision),
		otlpPair("http.route", c.Route),
		otlpPair("tegata.token.issuer", c.Issuer),
		otlpPair("tegata.token.subject", c.Subject),
		otlpPair("tegata.token.client", c.Client),
		otlpPair("tegata.token.session", c.Session),
	}
	list = slices.DeleteFunc(list, func(kv *commonv1.KeyValue) bool { return kv.GetValue().GetStringValue() == "" })
	list = append(list, otlpPair("tegata.decision.allowed", c.Allowed))
	if c.Shadowed {
		list = append(list, otlpPair("tegata.decision.shadowed", true))
	}
	if c.Status != 0 {
		list = append(list, otlpPair("http.response.status_code", json.Number(strconv.Itoa(c.Status))))
	}
	return list
}

func otlpPair(key string, value any) *commonv1.KeyValue {
	return &commonv1.KeyValue{Key: key, Value: otlpValue(value, 0)}
}

// otlpValue converts what encoding/json decodes to, with json.Number.
func otlpValue(v any, depth int) *commonv1.AnyValue {
	switch v := v.(type) {
	case string:
		return otlpString(v)
	case bool:
		return &commonv1.AnyValue{Value: &commonv1.AnyValue_BoolValue{BoolValue: v}}
	case json.Number:
		return otlpNumber(v)
	case nil:
		return &commonv1.AnyValue{} // OpenTelemetry's null
	}
	if depth >= maxBodyDepth {
		b, _ := json.Marshal(v) // was decoded, so it can be encoded
		return otlpString(string(b))
	}
	if list, ok := v.([]any); ok {
		values := make([]*commonv1.AnyValue, len(list))
		for i, e := range list {
			values[i] = otlpValue(e, depth+1)
		}
		return &commonv1.AnyValue{Value: &commonv1.AnyValue_ArrayValue{ArrayValue: &commonv1.ArrayValue{Values: values}}}
	}
	object, _ := v.(map[string]any) // nothing else is left
	members := make([]*commonv1.KeyValue, 0, len(object))
	for _, key := range slices.Sorted(maps.Keys(object)) {
		members = append(members, &commonv1.KeyValue{Key: key, Value: otlpValue(object[key], depth+1)})
	}
	return &commonv1.AnyValue{Value: &commonv1.AnyValue_KvlistValue{KvlistValue: &commonv1.KeyValueList{Values: members}}}
}

func otlpString(s string) *commonv1.AnyValue {
	return &commonv1.AnyValue{Value: &commonv1.AnyValue_StringValue{StringValue: strings.ToValidUTF8(s, "\uFFFD")}}
}

// otlpNumber keeps whole numbers of 64 bits and what has a fraction; the rest,
// which neither type can hold, becomes text.
func otlpNumber(n json.Number) *commonv1.AnyValue {
	if i, err := n.Int64(); err == nil {
		return &commonv1.AnyValue{Value: &commonv1.AnyValue_IntValue{IntValue: i}}
	}
	if f, err := n.Float64(); err == nil && strings.ContainsAny(n.String(), ".eE") {
		return &commonv1.AnyValue{Value: &commonv1.AnyValue_DoubleValue{DoubleValue: f}}
	}
	return otlpString(n.String())
}
