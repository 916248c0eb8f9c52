// Command bench measures Tegata on real Envoy beside what it is compared with,
// in one run and in interleaved rounds:
//
//	none       Envoy alone
//	noop       a stock grpc-go ext_authz server that allows everything
//	jwt_authn  Envoy's own filter: verifies each time, no policy, no revocation
//	reference  jwx and OPA on each request (package reference)
//	tegata     tegata authz with a real issuer and its revocation watch
//
// and the last three of these that are servers without Envoy, the issuer's own
// endpoints, and the time from a revocation to the first refusal.
//
// It must not know how Tegata works: it runs the built binary. All servers but
// tegata run with Go's defaults; what tegata tunes, it tunes by itself.
//
//	go run ./e2e/bench -rounds 9 -duration 10s
//
// TEGATA_BIN and TEGATA_ENVOY name the programs; BENCH_JSON=FILE writes JSON.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/tegata/tegata/internal/stack"
)

type options struct {
	rounds      int
	duration    time.Duration
	many        int
	revocations int
	withTegata  bool
	tegata      string
	envoy       string
	json        string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) > 2 && (args[0] == serveNoop || args[0] == serveReference) {
		return serve(ctx, args[0], args[1:])
	}
	o, err := parse(args)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "tegata-bench-*")
	if err != nil {
		return err
	}
	b := &bench{options: o, dir: dir, series: series{}, direct: series{}}
	r, err := b.run(ctx)
	b.stop()
	if err != nil {
		return fmt.Errorf("%w\n  logs: %s", err, dir)
	}
	r.print(os.Stdout)
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if o.json != "" {
		return r.write(o.json)
	}
	return nil
}

func parse(args []string) (options, error) {
	o := options{json: os.Getenv("BENCH_JSON")}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.IntVar(&o.rounds, "rounds", 3, "rounds; every case is measured once in each")
	f.DurationVar(&o.duration, "duration", 3*time.Second, "of one measurement, whole seconds")
	f.IntVar(&o.many, "tokens", 10_000, "distinct tokens, beside one")
	f.IntVar(&o.revocations, "revocations", 100, "revocations to time")
	f.BoolVar(&o.withTegata, "tegata", true, "false measures the others only, with tokens of a key made here")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if o.rounds < 1 || o.many < 1 || o.revocations < 1 || o.duration < time.Second {
		return o, errors.New("-rounds, -tokens and -revocations are at least 1, -duration at least 1s")
	}
	var err error
	if o.envoy, err = find("envoy", os.Getenv("TEGATA_ENVOY"), ".tools/bin/envoy"); err != nil {
		return o, err
	}
	if o.withTegata {
		o.tegata, err = find("tegata", os.Getenv("TEGATA_BIN"), "bin/tegata")
	}
	return o, err
}

// find looks for a program: as told, else on PATH, else where make puts it.
func find(name, told, made string) (string, error) {
	for _, candidate := range []string{told, name, made} {
		if candidate == "" {
			continue
		}
		if path, err := exec.LookPath(candidate); err == nil {
			return filepath.Abs(path)
		}
	}
	return "", fmt.Errorf("no %s to run: make bench gets what is missing", name)
}

// bench is one run.
type bench struct {
	options options
	dir     string

	wrk     wrk
	stack   *stack.Stack // nil without Tegata
	issuer  issuer
	tokens  []string
	cases   []*candidate
	envoy   *stack.Process
	started []*stack.Process

	series, direct series
}

func (b *bench) stop() {
	for i := len(b.started) - 1; i >= 0; i-- {
		b.started[i].Kill() // nothing in them is worth a drain
	}
	if b.stack != nil {
		b.stack.Stop()
	}
}

func (b *bench) run(ctx context.Context) (r report, err error) {
	if b.wrk, err = newWrk(b.dir); err != nil {
		return r, err
	}
	if err := b.startIssuer(ctx); err != nil {
		return r, err
	}
	if b.stack != nil {
		b.say("starting issuer and authz again, for start time and idle memory")
		if r.Idle, err = b.idle(ctx); err != nil {
			return r, err
		}
	}
	b.say("minting %d tokens", b.options.many)
	if b.tokens, err = mintAll(ctx, b.issuer, b.options.many); err != nil {
		return r, err
	}
	r.TokenBytes = len(b.tokens[0])
	if err := b.candidates(ctx); err != nil {
		return r, err
	}
	if err := b.rounds(ctx); err != nil {
		return r, err
	}
	b.summarize(&r)
	if b.stack == nil {
		return r, nil
	}
	b.say("timing %d revocations", b.options.revocations)
	if r.Revocation, err = b.revocations(ctx, b.cases[len(b.cases)-1]); err != nil {
		return r, err
	}
	b.say("loading the issuer")
	r.Issuer, err = b.issuerRates(ctx)
	return r, err
}

// say reports progress; standard output is for the result.
func (b *bench) say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

func (b *bench) startIssuer(ctx context.Context) (err error) {
	if !b.options.withTegata {
		b.issuer, err = localIssuer()
		return err
	}
	// Tokens must outlive the run: only their age in the demo's realm is changed.
	realm := strings.Replace(string(stack.DemoRealm), "realm: demo\n", "realm: demo\naccessTokenLifespan: 36000\n", 1)
	if b.stack, err = stack.Start(ctx, stack.Config{Tegata: b.options.tegata, Realm: []byte(realm), Dir: filepath.Join(b.dir, "stack")}); err != nil {
		return err
	}
	b.issuer = tegataIssuer(b.stack)
	return nil
}

// rounds measures every case once in each round, one after the other, so that
// what the machine does to one it does to all.
func (b *bench) rounds(ctx context.Context) error {
	files := map[int]string{1: filepath.Join(b.dir, "one"), b.options.many: filepath.Join(b.dir, "many")}
	for n, path := range files {
		if err := writeLines(path, b.tokens[:n]); err != nil {
			return err
		}
	}
	for _, c := range b.cases {
		if err := b.sane(ctx, c); err != nil {
			return err
		}
	}
	for i := range b.options.rounds {
		for _, n := range b.sizes() {
			b.say("round %d of %d, %d tokens", i+1, b.options.rounds, n)
			for _, c := range b.cases {
				if err := b.measure(ctx, c, n, files[n]); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// sizes are the numbers of distinct tokens.
func (b *bench) sizes() []int {
	if b.options.many == 1 {
		return []int{1}
	}
	return []int{1, b.options.many}
}

func (b *bench) measure(ctx context.Context, c *candidate, n int, file string) error {
	m, err := startMeter(c.pid(), b.envoy.PID())
	if err != nil {
		return err
	}
	res, err := b.wrk.run(ctx, load{
		url: "http://" + address(c.Port), method: "GET", path: measuredPath, kind: "bearer", lines: file, took: b.options.duration,
	})
	if err != nil {
		return fmt.Errorf("%s: %w", c.Name, err)
	}
	used, err := m.perCall(res.Requests)
	if err != nil {
		return err
	}
	k := key{c.Name, n}
	b.series[k] = append(b.series[k], measurement{
		rps: res.Requests / (res.DurationUS / 1e6), p50: res.P50US / 1000, p99: res.P99US / 1000, authzCPU: used[0], envoyCPU: used[1],
	})
	if !c.Authz || c.control {
		return nil
	}
	d, err := direct(ctx, c, b.tokens[:n], max(time.Second, b.options.duration/3))
	b.direct[k] = append(b.direct[k], d)
	return err
}

func (b *bench) summarize(r *report) {
	for _, n := range b.sizes() {
		for _, c := range b.cases {
			k := key{c.Name, n}
			if c.control {
				r.Controls = append(r.Controls, b.series.row(k))
			} else {
				r.Rows = append(r.Rows, b.series.row(k))
			}
			if len(b.direct[k]) > 0 {
				r.Direct = append(r.Direct, b.direct.row(k))
			}
		}
	}
	r.Ratios, r.RatiosMany = b.series.ratios(1), b.series.ratios(b.options.many)
}
