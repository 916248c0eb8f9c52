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
// endpoints, the time from a revocation to the first refusal, and more: tegata
// authz with new tokens, large tables, many revocations, and policies that
// change; and, in this process, how long a revocation takes to many watchers.
//
// It must not know how Tegata works: it runs the built binary, but for the last
// part, which stands on package watch as a relay would. All servers but
// tegata run with Go's defaults; what tegata tunes, it tunes by itself.
//
//	go run ./e2e/bench -rounds 9 -duration 10s
//	go run ./e2e/bench -only noop,tegata
//
// TEGATA_BIN and TEGATA_ENVOY name the programs; BENCH_JSON=FILE writes JSON.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/tegata/tegata/internal/stack"
)

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
	r.print(os.Stdout) // with an error, what was measured before it
	if err != nil {
		return fmt.Errorf("%w\nhint: logs are in %s", err, dir)
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if o.json != "" {
		return r.write(o.json)
	}
	return nil
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

// stop ends what was started and still runs.
func (b *bench) stop() {
	for i := len(b.started) - 1; i >= 0; i-- {
		b.started[i].Kill() // nothing in them is worth a drain
	}
	b.started = nil
	if b.stack != nil {
		b.stack.Stop()
	}
}

// run returns all that was wanted, or what was measured until an error.
func (b *bench) run(ctx context.Context) (r report, err error) {
	if b.options.wantsEnvoy() {
		if r, err = b.main(ctx); err != nil {
			return r, err
		}
	}
	if b.options.wants(partMore) {
		b.stop() // what was measured so far is not in the way of the rest
		if r.More, err = b.measureMore(ctx); err != nil {
			return r, err
		}
	}
	if b.options.wants(partWatch) {
		b.stop()
		r.Watch, err = b.measureWatch(ctx)
	}
	return r, err
}

// main measures what goes through Envoy, and the issuer.
func (b *bench) main(ctx context.Context) (r report, err error) {
	if b.wrk, err = newWrk(b.dir); err != nil {
		return r, err
	}
	if err := b.startIssuer(ctx); err != nil {
		return r, err
	}
	if b.options.wants(partIdle) {
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
	if err := b.startCases(ctx); err != nil {
		return r, err
	}
	if err := b.rounds(ctx); err != nil {
		return r, err
	}
	b.summarize(&r)
	err = b.rest(ctx, &r)
	return r, err
}

// rest measures what is not a case.
func (b *bench) rest(ctx context.Context, r *report) (err error) {
	if b.options.wants(partRevocation) {
		b.say("timing %d revocations", b.options.revocations)
		if r.Revocation, err = b.revocations(ctx); err != nil {
			return err
		}
	}
	if b.options.wants(partIssuer) {
		b.say("loading the issuer")
		if r.Issuer, err = b.issuerRates(ctx); err != nil {
			return err
		}
	}
	return nil
}

// say reports progress; standard output is for the result.
func (b *bench) say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

func (b *bench) startIssuer(ctx context.Context) (err error) {
	if !b.options.withTegata {
		b.issuer, err = localIssuer()
		return err
	}
	b.stack, err = stack.Start(ctx, stack.Config{
		Tegata: b.options.tegata, Dir: filepath.Join(b.dir, "stack"),
		Lease: 5 * time.Second, // what operators get unless they say otherwise
		Realm: longLived(stack.Realm, "ES256"), More: [][]byte{longLived(rsaRealm, "RS256")},
	})
	if err != nil {
		return err
	}
	b.issuer = tegataIssuer(b.stack)
	return nil
}

// longLived is the demo's realm under a name and an algorithm, with tokens
// that outlive the run.
func longLived(name, alg string) []byte {
	head := fmt.Sprintf("realm: %s\ndefaultSignatureAlgorithm: %s\naccessTokenLifespan: 36000\n", name, alg)
	return []byte(strings.Replace(string(stack.DemoRealm), "realm: "+stack.Realm+"\n", head, 1))
}

// rounds measures every case once in each round, one after the other, so that
// what the machine does to one it does to all. Before that each has seen every
// token once: what the first sight of a token costs is not the question here.
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
	b.say("warming up")
	for _, c := range b.cases {
		if _, err := b.load(ctx, c, files[b.options.many]); err != nil {
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
	res, err := b.load(ctx, c, file)
	if err != nil {
		return err
	}
	used, err := m.perCall(res.Requests)
	if err != nil {
		return err
	}
	k := key{c.Name, n}
	b.series[k] = append(b.series[k], measurement{
		rps: res.perSecond(), p50: res.P50US / 1000, p99: res.P99US / 1000, authzCPU: used[0], envoyCPU: used[1],
	})
	if !c.Authz || c.control {
		return nil
	}
	d, err := direct(ctx, c, around(checkRequests(b.tokens[:n], measuredPath), b.options.short()))
	b.direct[k] = append(b.direct[k], d)
	return err
}

// load sends a case as many requests as it takes, with the tokens of a file.
func (b *bench) load(ctx context.Context, c *candidate, file string) (result, error) {
	res, err := b.wrk.run(ctx, load{
		url: "http://" + address(c.Port), method: "GET", path: measuredPath, kind: "bearer", lines: file, took: b.options.duration,
	})
	if err != nil {
		return res, fmt.Errorf("%s: %w", c.Name, err)
	}
	return res, nil
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
