package decisionlog

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
)

// BenchmarkRecord is what a check pays.
func BenchmarkRecord(b *testing.B) {
	for name, c := range map[string]Config{
		"kept":        {},
		"sampled-out": {Sample: map[string]float64{"allowed": 0.000001}},
		"dropped":     {DropRoutes: []string{"/orders/{id}"}},
	} {
		b.Run(name, func(b *testing.B) {
			c.Console = io.Discard
			l, err := New(c)
			if err != nil {
				b.Fatal(err)
			}
			e := sample(b)
			b.ReportAllocs()
			for b.Loop() {
				l.Record(e)
				if name == "kept" { // a queue that somebody empties for nothing
					<-l.queue
					l.queued.Store(0)
				}
			}
		})
	}
}

// BenchmarkRecordFromAll is the same from every processor, with a log that runs.
func BenchmarkRecordFromAll(b *testing.B) {
	l, err := New(Config{Console: io.Discard})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error)
	go func() { done <- l.Run(ctx) }()
	e := sample(b)
	e.Input = nil
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			l.Record(e)
		}
	})
	cancel()
	if err := <-done; err != nil {
		b.Fatal(err)
	}
}

// BenchmarkEncode is what the log's own goroutine pays for an event.
func BenchmarkEncode(b *testing.B) {
	l, err := New(Config{Console: io.Discard, Masks: []Mask{{Path: "/input/parsed_query"}}})
	if err != nil {
		b.Fatal(err)
	}
	e := sample(b)
	b.ReportAllocs()
	for b.Loop() {
		if l.encoder.encode(b.Context(), &e) == nil {
			b.Fatal("lost")
		}
	}
}

// BenchmarkDisk is what a batch of 256 events costs until it is safe.
func BenchmarkDisk(b *testing.B) {
	d, _ := openDisk(b, b.TempDir(), 64<<20)
	events := make([][]byte, maxBatch)
	for i := range events {
		events[i] = []byte(strings.Repeat("x", 1000))
	}
	b.SetBytes(maxBatch * 1000)
	for b.Loop() {
		if _, err := d.add(events); err != nil {
			b.Fatal(err)
		}
	}
	crash(d)
}

func sample(b *testing.B) Event {
	b.Helper()
	input, err := ast.ValueFromReader(strings.NewReader(`{
		"attributes": {"source": {"address": {"socketAddress": {"address": "10.0.0.1", "portValue": 4711}}},
			"request": {"time": "2026-11-23T10:00:00.123456Z", "http": {"id": "1234567890", "method": "GET", "path": "/orders/5?a=b", "host": "api.example.com",
				"protocol": "HTTP/1.1", "scheme": "https", "headers": {":authority": "api.example.com", ":method": "GET", ":path": "/orders/5?a=b", ":scheme": "https",
					"accept": "*/*", "authorization": "Bearer x.y.z", "user-agent": "curl/8", "x-forwarded-proto": "https", "x-request-id": "f3b1c9a0-0000-4000-8000-000000000000"}}}},
		"parsed_path": ["orders", "5"], "parsed_query": {"a": ["b"]}, "truncated_body": false, "version": {"encoding": "protojson", "ext_authz": "v3"},
		"route": "/orders/{id}", "revocation": {"stale": false, "revision": 4711},
		"token": {"issuer": "https://id.example.com/realms/main", "subject": "u", "client": "c", "session": "s", "scopes": ["orders:read", "profile"],
			"claims": {"iss": "https://id.example.com/realms/main", "aud": "orders", "exp": 1764000000, "iat": 1763999700, "jti": "j", "sub": "u", "scope": "orders:read profile"}}}`))
	if err != nil {
		b.Fatal(err)
	}
	return Event{
		ID: "4bf92f3577b34da6a3ce929d0e0e4736", Time: time.Unix(1764000000, 0), Took: 12 * time.Microsecond, Path: "envoy/authz/allow",
		Input: func() (any, error) { return input, nil }, Result: true, Allowed: true, Reason: "allowed",
		Route: "/orders/{id}", Policy: "default", PolicyRevision: "3f2a", RevocationRevision: 4711,
		Issuer: "https://id.example.com/realms/main", Subject: "u", Client: "c", Session: "s",
	}
}
