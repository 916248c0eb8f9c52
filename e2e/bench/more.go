package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"

	"github.com/tegata/tegata/internal/stack"
)

// What part "more" compares.
const (
	manyRevoked  = 1_000_000
	warmTokens   = 100
	seenTokens   = 60_000 // before new ones are measured: a cache is full, and a heap has its size, for all but the first minute of a server's life
	signatures   = 4_000  // a round
	reloadEvery  = 300 * time.Millisecond
	moreRounds   = 2 // for each of -rounds: short ones, because the ratios are close to 1
	moreDuration = time.Second
)

// more is the part of a run that varies what a decision depends on: tokens
// that are new, large tables, many revocations, reloads. Each variant is a
// tegata authz of its own, with a configuration of its own, asked by gRPC
// without Envoy; all trust one issuer, which this program is.
type more struct {
	*bench
	issuer issuer
	warm   []string
	fresh  []string // each for one request to each server
	bare   *signature

	noop, plain, routes1k, routes10k, revoked, reloaded *variant
	news, newsRevoked                                   *variant // like plain and revoked, for tokens that are new

	loaded  map[*variant]time.Duration // from start to ready
	reloads int
	series  series
}

// variant is a server and the paths it is asked for.
type variant struct {
	*candidate
	paths      []string
	policy     string // its policy's directory
	management string // URL
}

// The kinds of measurements, beside the names of servers.
const (
	asWarm      = 0
	asFresh     = 1
	asReloading = 2
)

// measureMore measures the part "more".
func (b *bench) measureMore(ctx context.Context) ([]moreRow, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m := &more{bench: b, loaded: map[*variant]time.Duration{}, series: series{}}
	if err := m.start(ctx); err != nil {
		return nil, err
	}
	rounds := moreRounds * b.options.rounds
	for i := range rounds {
		b.say("more: round %d of %d", i+1, rounds)
		if err := m.round(ctx, i); err != nil {
			return nil, err
		}
	}
	return m.rows()
}

// start makes tokens and starts all servers.
func (m *more) start(ctx context.Context) (err error) {
	if m.issuer, err = localIssuer(); err != nil {
		return err
	}
	perRound := m.options.many / 4
	m.say("more: minting %d tokens", seenTokens+perRound*moreRounds*m.options.rounds)
	seen, err := mintAll(ctx, m.issuer, seenTokens)
	if err != nil {
		return err
	}
	if m.warm, err = mintAll(ctx, m.issuer, warmTokens); err != nil {
		return err
	}
	if m.fresh, err = mintAll(ctx, m.issuer, perRound*moreRounds*m.options.rounds); err != nil {
		return err
	}
	if m.bare, err = newSignature(len(m.warm[0])); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	m.noop = &variant{candidate: m.server("more-noop", self, serveNoop), paths: probePaths(probes)}
	if err := m.launch(ctx, m.noop); err != nil {
		return err
	}
	if err := m.startAuthz(ctx); err != nil {
		return err
	}
	for _, v := range m.warmed() { // also fills caches, which are not the question
		if _, err := direct(ctx, v.candidate, around(checkRequests(m.warm, v.paths...), moreDuration)); err != nil {
			return err
		}
	}
	m.say("more: showing them %d tokens", seenTokens)
	for _, v := range []*variant{m.news, m.newsRevoked} {
		if _, err := direct(ctx, v.candidate, once(checkRequests(seen, v.paths[0]))); err != nil {
			return err
		}
	}
	return nil
}

func (m *more) startAuthz(ctx context.Context) error {
	none, err := serveRevoked(ctx, revoked{issuer: m.issuer.url})
	if err != nil {
		return err
	}
	million, err := serveRevoked(ctx, revoked{issuer: m.issuer.url, records: manyRevoked, expires: time.Now().Add(time.Hour)})
	if err != nil {
		return err
	}
	for _, v := range []struct {
		to     **variant
		name   string
		routes int
		watch  string
	}{
		{&m.plain, "plain", 10, none},
		{&m.routes1k, "routes-1000", 1_000, none},
		{&m.routes10k, "routes-10000", 10_000, none},
		{&m.revoked, "revoked", 10, million},
		{&m.reloaded, "reloaded", 10, none},
		{&m.news, "news", 10, none},
		{&m.newsRevoked, "news-revoked", 10, million},
	} {
		m.say("more: starting authz, %s", v.name)
		if *v.to, err = m.authz(v.name, v.routes, v.watch); err != nil {
			return err
		}
		if err := m.launch(ctx, *v.to); err != nil {
			return err
		}
	}
	return errors.Join(
		m.knows(ctx, m.revoked, recordsFigure, manyRevoked),
		m.knows(ctx, m.newsRevoked, recordsFigure, manyRevoked),
	)
}

// warmed are the servers whose tokens have all been seen, in the order in
// which a round asks them.
func (m *more) warmed() []*variant {
	return []*variant{m.noop, m.plain, m.routes1k, m.routes10k, m.revoked, m.reloaded}
}

// authz is a tegata authz with a table of so many routes that follows the
// revocations at watch.
func (m *more) authz(name string, routes int, watch string) (*variant, error) {
	policy := filepath.Join(m.dir, name, "policy")
	if err := writePolicy(policy, routes); err != nil {
		return nil, err
	}
	port, management := freePort(), freePort()
	config := fmt.Sprintf(`authz:
  listen: %s
  management: %s
  issuers:
    - { issuer: %q, audience: [%q], types: [JWT], jwks_url: %q }
  revocations: { address: %q, token_url: %q, client_id: authz, client_secret: any }
  policy: { dir: %q, deadline: 5s } # a machine that is busy is slow, not refused
`, address(port), address(management), m.issuer.url, m.issuer.audience, m.issuer.jwksURL, watch, m.issuer.tokenURL, policy)
	file := filepath.Join(m.dir, name, "tegata.yaml")
	if err := writeFile(file, []byte(config)); err != nil {
		return nil, err
	}
	v := &variant{paths: probePaths(routes), policy: policy, management: "http://" + address(management)}
	v.candidate = &candidate{Name: name, AuthzPort: port, process: &stack.Process{
		Name: name, LogFile: filepath.Join(m.dir, name+".log"),
		Args: []string{m.options.tegata, "authz", "--config", file}, ReadyURL: v.management + "/health/ready",
	}}
	return v, nil
}

func (m *more) launch(ctx context.Context, v *variant) error {
	begun := time.Now()
	if err := v.process.Start(ctx); err != nil {
		return err
	}
	m.loaded[v] = time.Since(begun)
	m.started = append(m.started, v.process)
	return nil
}

// round measures everything once, every other time backwards.
func (m *more) round(ctx context.Context, i int) error {
	steps := []func(context.Context) error{
		func(context.Context) error { return m.check() },
		m.asks(m.news, asFresh, i), m.asks(m.newsRevoked, asFresh, i),
	}
	for _, v := range m.warmed() {
		steps = append(steps, m.asks(v, asWarm, i))
	}
	steps = append(steps, func(ctx context.Context) error {
		return m.reloading(ctx, i, m.asks(m.reloaded, asReloading, i))
	})
	if i%2 == 1 {
		slices.Reverse(steps)
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// asks measures one server.
func (m *more) asks(v *variant, as, round int) func(context.Context) error {
	return func(ctx context.Context) error {
		next := once(m.freshRequests(v, round))
		if as != asFresh {
			next = around(checkRequests(m.warm, v.paths...), moreDuration)
		}
		measured, err := direct(ctx, v.candidate, next)
		m.add(key{v.Name, as}, measured)
		return err
	}
}

func (m *more) add(k key, measured measurement) { m.series[k] = append(m.series[k], measured) }

// freshRequests have a token each that v has not seen, for its paths in turn.
func (m *more) freshRequests(v *variant, round int) []*auth.CheckRequest {
	n := m.options.many / 4
	requests := make([]*auth.CheckRequest, 0, n)
	for i, token := range m.fresh[round*n : (round+1)*n] {
		requests = append(requests, checkRequest(token, v.paths[i%len(v.paths)]))
	}
	return requests
}

// check measures the signature check alone, in this process, which does
// nothing else meanwhile.
func (m *more) check() error {
	meter, err := startMeter(os.Getpid())
	if err != nil {
		return err
	}
	for range signatures {
		if !m.bare.good() {
			return fmt.Errorf("a good signature is refused")
		}
	}
	used, err := meter.perCall(signatures)
	if err == nil {
		m.add(key{bareSignature, asFresh}, measurement{authzCPU: used[0]})
	}
	return err
}

// reloading changes a policy file again and again while during runs, and is an
// error unless the server noticed.
func (m *more) reloading(ctx context.Context, round int, during func(context.Context) error) error {
	before, err := m.figure(ctx, m.reloaded, reloadFigure)
	if err != nil {
		return err
	}
	stop := make(chan struct{})
	changed := make(chan error, 1)
	go func() {
		tick := time.NewTicker(reloadEvery)
		defer tick.Stop()
		for n := 0; ; n++ {
			if err := touchPolicy(m.reloaded.policy, round<<16+n); err != nil {
				changed <- err
				return
			}
			select {
			case <-stop:
				changed <- nil
				return
			case <-tick.C:
			}
		}
	}()
	err = during(ctx)
	close(stop)
	if e := <-changed; err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	after, err := m.figure(ctx, m.reloaded, reloadFigure)
	if err == nil && after <= before {
		err = fmt.Errorf("the policy was not reloaded: there is nothing to measure")
	}
	m.reloads += int(after - before)
	return err
}

// Figures of tegata authz, by the beginning of their samples.
const (
	reloadFigure  = "tegata_policy_reloads_total{"
	recordsFigure = "tegata_revocation_records"
)

// knows is an error unless a figure of a server is at least so much.
func (m *more) knows(ctx context.Context, v *variant, name string, want float64) error {
	got, err := m.figure(ctx, v, name)
	if err == nil && got < want {
		err = fmt.Errorf("%s says %s %.0f, want %.0f: there is nothing to measure", v.Name, name, got, want)
	}
	return err
}

// figure is the sum of the samples that begin so, of a server's metrics.
func (m *more) figure(ctx context.Context, v *variant, prefix string) (float64, error) {
	b, err := get(ctx, v.management+"/metrics")
	if err != nil {
		return 0, err
	}
	return sumSamples(string(b), prefix)
}

func sumSamples(text, prefix string) (float64, error) {
	sum, found := 0.0, false
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, prefix) {
			continue
		}
		fields := strings.Fields(line)
		value, err := strconv.ParseFloat(fields[len(fields)-1], 64)
		if err != nil {
			return 0, fmt.Errorf("reading %s: %w", prefix, err)
		}
		sum, found = sum+value, true
	}
	if !found {
		return 0, fmt.Errorf("no figure %s", prefix)
	}
	return sum, nil
}
