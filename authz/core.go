package authz

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/tegata/tegata/authz/check"
	"github.com/tegata/tegata/authz/extproc"
	"github.com/tegata/tegata/authz/policy"
	"github.com/tegata/tegata/authz/turns"
	"github.com/tegata/tegata/authz/verify"
	"github.com/tegata/tegata/revocation"
	"github.com/tegata/tegata/revocation/watch"
)

// core is what decisions stand on, built from one configuration and replaced
// as a whole: keys, revocations, policies and the check over them.
type core struct {
	verifier *verify.Verifier
	policies []*policy.Engine
	named    map[string]*policy.Engine // the same, by name
	revoked  *revocation.Set
	watcher  *watch.Watcher  // nil: no issuer's revocations reach us
	relay    *watch.Relay    // that watcher is half of; nil: nobody is below us
	without  map[string]bool // issuers whose revocations do not
	serves   bool            // also without a lease
	checker  *check.Checker
	metrics  *prometheus.Registry // of its own: two cores run side by side in a Reload
}

// newCore builds one; before is the one that it will replace, or nil.
func newCore(ctx context.Context, c Config, before *core) (*core, error) {
	k := &core{metrics: prometheus.NewRegistry(), revoked: revocation.NewSet(), named: make(map[string]*policy.Engine), without: make(map[string]bool)}
	k.serves = c.OnStale == check.Serve
	for _, name := range c.WithoutRevocations {
		k.without[name] = true
	}
	if err := k.covered(c); err != nil {
		return nil, err
	}
	decide := check.Config{
		Realm: c.Realm, ResourceMetadata: c.ResourceMetadata, TrustXFCC: c.TrustXFCC, Shadow: c.Shadow, LeaveTokens: c.LeaveTokens,
		OnStale: c.OnStale, Now: c.Now, Logger: c.Logger, Metrics: k.metrics,
		Revocations: k.revoked,
		Trust:       k.trust,
	}
	if c.Decisions != nil {
		decide.Record = c.record
	}
	if err := k.load(ctx, c, &decide); err != nil {
		return nil, err
	}
	var err error
	decide.Turns = turns.New(c.Turns, c.Patience)
	verification := verify.Config{
		Turns:   decide.Turns,
		Issuers: c.Issuers, DPoP: c.DPoP, HTTP: c.HTTP, Now: c.Now, Logger: c.Logger, Metrics: k.metrics,
	}
	if before != nil {
		verification.Before = before.verifier
	}
	if k.verifier, err = verify.New(verification); err != nil {
		return nil, err
	}
	if err := k.watch(c); err != nil {
		return nil, err
	}
	decide.Verifier = k.verifier
	if k.checker, err = check.New(decide); err != nil {
		return nil, err
	}
	return k, nil
}

// covered refuses an issuer whose revocations would be missed unnoticed.
func (k *core) covered(c Config) error {
	for _, i := range c.Issuers {
		switch {
		case k.without[i.Issuer]:
			c.Logger.Warn("no revocations of this issuer reach us: its tokens pass until they expire, or until it says otherwise when asked", "issuer", i.Issuer)
		case len(c.Watch) == 0:
			return fmt.Errorf("authz: issuer %q: Watch is required for its revocations, or name it in WithoutRevocations", i.Issuer)
		case len(c.WatchIssuers) > 0 && !slices.Contains(c.WatchIssuers, i.Issuer):
			return fmt.Errorf("authz: issuer %q: its revocations are not among those wanted, nor is it in WithoutRevocations", i.Issuer)
		}
	}
	return nil
}

// watch prepares to follow revocations, if there is an upstream.
func (k *core) watch(c Config) error {
	if len(c.Watch) == 0 {
		return nil
	}
	conf := watch.WatcherConfig{
		Conns: c.Watch, Set: k.revoked, Node: c.WatchNode, OnStale: string(c.OnStale), Issuers: c.WatchIssuers,
		Now: c.Now, Logger: c.Logger, Applied: c.applied,
	}
	var err error
	if c.Relay == nil {
		if k.watcher, err = watch.NewWatcher(conf); err != nil {
			return err
		}
		return k.watcher.RegisterMetrics(k.metrics)
	}
	if k.relay, err = watch.NewRelay(conf, *c.Relay); err != nil {
		return err
	}
	k.watcher = k.relay.Watcher()
	return errors.Join(k.watcher.RegisterMetrics(k.metrics), k.relay.Upstream().RegisterMetrics(k.metrics))
}

// trust says whether what is known of an issuer's revocations can be relied
// on. Where none ever come, there is nothing that could be missed.
func (k *core) trust(issuer string) revocation.Trust {
	if k.watcher == nil || k.without[issuer] {
		return revocation.Fresh
	}
	return k.watcher.Trust()
}

// ahead is how long what is known must stay reliable for a request that is held
// to go on. The next look at it comes sooner, also with very many of them. A
// lease of less than a second has not so much left before it is renewed.
const ahead = extproc.Every + 200*time.Millisecond

// still decides again about the token of a request that goes on.
func (k *core) still(id verify.Identity) check.Decision {
	return k.checker.Still(id, k.verifier.Still, func(issuer string) revocation.Trust {
		if k.watcher == nil || k.without[issuer] {
			return revocation.Fresh
		}
		return k.watcher.TrustFor(ahead)
	})
}

// fresh reports whether no issuer's revocations could be missed just now.
func (k *core) fresh() bool {
	return k.watcher == nil || k.serves || k.watcher.TrustFor(ahead) == revocation.Fresh
}

// load loads the policies.
func (k *core) load(ctx context.Context, c Config, into *check.Config) error {
	for _, p := range c.Policies {
		engine, err := k.engine(ctx, c, p.Name, p.Policy)
		if err != nil {
			return fmt.Errorf("policy %q: %w", p.Name, err)
		}
		into.Policies = append(into.Policies, check.Named{
			Name: p.Name, Engine: engine, Match: p.Match, Shadow: p.Shadow, LeaveTokens: p.LeaveTokens,
		})
	}
	if c.Policy.Dir == "" && c.Policy.FS == nil && c.Policy.Bundle == nil {
		return nil
	}
	var err error
	into.Policy, err = k.engine(ctx, c, "default", c.Policy)
	return err
}

// engine loads one policy, whose figures carry its name.
func (k *core) engine(ctx context.Context, c Config, name string, p policy.Config) (*policy.Engine, error) {
	p.Logger, p.Now = c.Logger.With("policy", name), c.Now
	p.Metrics = prometheus.WrapRegistererWith(prometheus.Labels{"policy": name}, k.metrics)
	engine, err := policy.New(ctx, p)
	if err != nil {
		return nil, err
	}
	k.policies, k.named[name] = append(k.policies, engine), engine
	return engine, nil
}

// run keeps everything fresh until ctx ends.
func (k *core) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, p := range k.policies {
		g.Go(func() error { return p.Run(ctx) })
	}
	g.Go(func() error { return k.verifier.Run(ctx) })
	switch {
	case k.relay != nil:
		g.Go(func() error { return k.relay.Run(ctx) })
	case k.watcher != nil:
		g.Go(func() error { return k.watcher.Run(ctx) })
	}
	return g.Wait()
}

// ready is nil when keys, policy and a leased set of revocations are there.
func (k *core) ready() error { return errors.Join(k.verifier.Ready(), k.watched()) }

// watched is nil while the set of revocations, if there is to be one, can be
// relied on.
func (k *core) watched() error {
	if k.watcher == nil {
		return nil
	}
	return k.watcher.Status().Relied()
}

// awaitEvery is how often await looks.
const awaitEvery = 20 * time.Millisecond

// await waits until the core is ready, and says what is missing if ctx ends
// before.
func (k *core) await(ctx context.Context) error {
	tick := time.NewTicker(awaitEvery)
	defer tick.Stop()
	for {
		err := k.ready()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}
