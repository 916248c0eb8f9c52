package watch

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/tegata/tegata/revocation"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

func anyone(context.Context) (Identity, error) { return Identity{Name: "gateway"}, nil }

// server runs an Upstream on a loopback address until the test or stop ends it.
func server(t testing.TB, c UpstreamConfig) (u *Upstream, addr string, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serverOn(t, c, l)
}

func serverOn(t testing.TB, c UpstreamConfig, l net.Listener) (u *Upstream, addr string, stop func()) {
	t.Helper()
	u, err := NewUpstream(c)
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(ServerOptions(c.Lease)...)
	u.Register(s)
	ctx, cancel := context.WithCancel(t.Context())
	ran, served := make(chan error, 1), make(chan error, 1)
	go func() { ran <- u.Run(ctx) }()
	go func() { served <- s.Serve(l) }()
	once := false
	stop = func() {
		if once {
			return
		}
		once = true
		cancel()
		s.Stop()
		if err := <-ran; err != nil {
			t.Errorf("Upstream.Run: %v", err)
		}
		<-served
	}
	t.Cleanup(stop)
	return u, l.Addr().String(), stop
}

// follow runs a Watcher of the address until the test ends.
func follow(t testing.TB, addr string, c WatcherConfig) *Watcher {
	t.Helper()
	conn, err := grpc.NewClient(addr, append(DialOptions(time.Second), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		t.Fatal(err)
	}
	c.Conns = []grpc.ClientConnInterface{conn}
	if c.Set == nil {
		c.Set = revocation.NewSet()
	}
	w, err := NewWatcher(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ran; err != nil {
			t.Errorf("Watcher.Run: %v", err)
		}
		_ = conn.Close()
	})
	return w
}

func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// fresh waits until the watcher holds a lease.
func fresh(t testing.TB, w *Watcher) {
	t.Helper()
	ctx := within(t, 20*time.Second)
	for w.Trust() != revocation.Fresh {
		if sleep(ctx, time.Millisecond) != nil {
			t.Fatalf("no lease: %+v", w.Status())
		}
	}
}

func TestRevocationIsAppliedWhereAnsweredOverGRPC(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	t.Run("", func(t *testing.T) {
		src := newMemory("e1")
		src.commit(sessionRecord("before"))
		u, addr, _ := server(t, UpstreamConfig{Source: src, Authorize: anyone, Lease: 2 * time.Second, NewStore: true})
		w := follow(t, addr, WatcherConfig{Node: "n1"})
		fresh(t, w)
		if !revoked(w.c.Set, "before") {
			t.Error("snapshot lacks a record")
		}
		for i := range 50 {
			id := fmt.Sprint("s", i)
			rev := src.commit(sessionRecord(id))
			p, err := u.Await(within(t, 5*time.Second), rev)
			if err != nil || len(p.Pending) > 0 {
				t.Fatalf("Await = %+v, %v", p, err)
			}
			if !revoked(w.c.Set, id) {
				t.Fatal("answered as applied, and a token still lives")
			}
		}
	})
}

func TestWatcherSurvivesRestartOfUpstream(t *testing.T) {
	src := newMemory("e1")
	c := UpstreamConfig{Source: src, Authorize: anyone, Lease: time.Second}
	_, addr, stop := server(t, c)
	w := follow(t, addr, WatcherConfig{Node: "n1"})
	fresh(t, w)
	stop()
	rev := src.commit(sessionRecord("while down"))
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Skip("the port went to someone else:", err)
	}
	began := time.Now()
	u, _, _ := serverOn(t, c, l)
	if _, err := u.Await(within(t, 10*time.Second), rev); err != nil {
		t.Fatal(err)
	}
	fresh(t, w)
	t.Logf("recovered after %s", time.Since(began))
	if !revoked(w.c.Set, "while down") {
		t.Error("a token that was revoked while the stream was down lives")
	}
}

func TestWatcherIsToldWhyItIsRefused(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name      string
		authorize func(context.Context) (Identity, error)
		issuers   []string
		want      codes.Code
	}{
		{"no credential", func(context.Context) (Identity, error) {
			return Identity{}, status.Error(codes.Unauthenticated, "no token")
		}, nil, codes.Unauthenticated},
		{"wrong scope", func(context.Context) (Identity, error) {
			return Identity{}, status.Error(codes.PermissionDenied, "no scope")
		}, nil, codes.PermissionDenied},
		{"inner error is hidden", func(context.Context) (Identity, error) { return Identity{}, errBrokenSource }, nil, codes.Unauthenticated},
		{"issuer of another tenant", func(context.Context) (Identity, error) {
			return Identity{Name: "x", Issuers: []string{"https://a"}}, nil
		}, []string{"https://b"}, codes.PermissionDenied},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, addr, _ := server(t, UpstreamConfig{Source: newMemory("e"), Authorize: tt.authorize, Lease: time.Second})
			conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			w, err := NewWatcher(WatcherConfig{Conns: []grpc.ClientConnInterface{conn}, Set: revocation.NewSet(), Issuers: tt.issuers})
			if err != nil {
				t.Fatal(err)
			}
			_, err = w.follow(within(t, 5*time.Second), w.dials[0])
			if got := code(err); got != tt.want {
				t.Errorf("refused with %s, want %s (%v)", got, tt.want, err)
			}
			if w.Trust() != revocation.Unknown {
				t.Errorf("trust = %s", w.Trust())
			}
		})
	}
}

func code(err error) codes.Code {
	var s interface{ GRPCStatus() *status.Status }
	if errors.As(err, &s) {
		return s.GRPCStatus().Code()
	}
	return codes.Unknown
}

// BenchmarkPush measures commit → every watcher has acknowledged, on loopback.
func BenchmarkPush(b *testing.B) {
	for _, n := range []int{1, 10} {
		b.Run(fmt.Sprint(n, " watchers"), func(b *testing.B) {
			src := newMemory("e1")
			u, addr, _ := server(b, UpstreamConfig{Source: src, Authorize: anyone, Lease: 2 * time.Second, NewStore: true})
			for i := range n {
				fresh(b, follow(b, addr, WatcherConfig{Node: fmt.Sprint("n", i)}))
			}
			var took []time.Duration
			for b.Loop() {
				began := time.Now()
				if _, err := u.Await(b.Context(), src.commit(sessionRecord(fmt.Sprint(len(took))))); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(began))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
		})
	}
}

func TestMetricsShowWhereBothEndsStand(t *testing.T) {
	src := newMemory("e1")
	u, addr, _ := server(t, UpstreamConfig{Source: src, Authorize: anyone, Lease: 2 * time.Second, NewStore: true})
	w := follow(t, addr, WatcherConfig{Node: "n1"})
	fresh(t, w)
	if _, err := u.Await(within(t, 5*time.Second), src.commit(sessionRecord("s"))); err != nil {
		t.Fatal(err)
	}
	reg := prometheus.NewRegistry()
	for _, err := range []error{u.RegisterMetrics(reg), w.RegisterMetrics(reg)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		m := f.GetMetric()[0]
		got[f.GetName()] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
	}
	for name, want := range map[string]float64{
		"tegata_revocation_head": 1, "tegata_revocation_watchers": 1, "tegata_revocation_watchers_behind": 0, "tegata_revocation_watchers_leased": 1,
		"tegata_revocation_watchers_unleased": 0, "tegata_revocation_watchers_lost": 0, "tegata_revocation_lag_revisions": 0, "tegata_revocation_lag_seconds": 0, "tegata_revocation_observers": 0,
		"tegata_revocation_revision": 1, "tegata_revocation_records": 1, "tegata_revocation_trust": 1, "tegata_revocation_connects_total": 1,
	} {
		if v, ok := got[name]; !ok || v != want {
			t.Errorf("%s = %v, want %v", name, v, want)
		}
	}
	if left := got["tegata_revocation_lease_seconds"]; left <= 0 || left > 2 {
		t.Errorf("lease of %v s left", left)
	}
}
