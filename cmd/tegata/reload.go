package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"reflect"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tegata/tegata/authz"
	"github.com/tegata/tegata/authz/decisionlog"
)

const (
	// lookEvery is how often the configuration file is looked at. Reading it
	// finds every way of replacing a file, Kubernetes' links included.
	lookEvery = 2 * time.Second
	// reloadPatience is how long a new configuration has to become ready.
	reloadPatience = 30 * time.Second
)

// reloading says where a configuration came from, to read it again.
type reloading struct {
	flags configFlags
	env   *env
}

// runningAuthz is a server with what it was built from.
type runningAuthz struct {
	server    *authz.Server
	config    authzConfig
	decisions *decisionlog.Log // nil without
	conn      upstreams        // to hang up when they are replaced
	log       *slog.Logger
}

// run applies the configuration again on SIGHUP and when its file has changed,
// until ctx ends; then it closes the connection. A configuration that cannot
// work changes nothing.
func (r reloading) run(ctx context.Context, a *runningAuthz, metrics prometheus.Registerer) error {
	defer func() { a.conn.hangUp() }()
	results := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tegata_config_reloads_total", Help: "Configurations read again, by result (ok, error).",
	}, []string{"result"})
	if err := metrics.Register(results); err != nil {
		return fmt.Errorf("registering metrics: %w", err)
	}
	applied, failed := results.WithLabelValues("ok"), results.WithLabelValues("error")
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	seen := digest(r.flags.Config)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-hup:
			if a.decisions != nil {
				a.decisions.Reopen()
			}
		case <-tick.C:
			if d := digest(r.flags.Config); d == seen {
				continue
			}
		}
		seen = digest(r.flags.Config)
		if err := r.apply(ctx, a); err != nil {
			failed.Inc()
			a.log.Error("configuration not applied, the old one stays", "error", err)
			continue
		}
		applied.Inc()
		a.log.Info("configuration applied")
	}
}

// digest of a file; one that cannot be read has one too.
func digest(path string) [sha256.Size]byte {
	b, err := os.ReadFile(path)
	if err != nil {
		b = []byte(err.Error())
	}
	return sha256.Sum256(b)
}

func (r reloading) apply(ctx context.Context, a *runningAuthz) error {
	conf, err := r.flags.load(r.env)
	if err != nil {
		return err
	}
	if conf.Authz == nil {
		return conf.doc.at("authz", "the section is gone", "")
	}
	a.warnFixed(*conf.Authz)
	next, conn, err := authzServerConfig(*conf.Authz, a.decisions, a.log)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, reloadPatience)
	defer cancel()
	if err := a.server.Reload(ctx, next); err != nil {
		conn.hangUp()
		return err
	}
	a.conn.hangUp()
	a.config, a.conn = *conf.Authz, conn
	return nil
}

// warnFixed tells of changes that only a restart applies.
func (a *runningAuthz) warnFixed(next authzConfig) {
	for key, pair := range map[string][2]any{
		"authz.listen":          {a.config.Listen, next.Listen},
		"authz.decision_log":    {a.config.DecisionLog, next.DecisionLog},
		"authz.traces":          {a.config.Traces, next.Traces},
		"authz.http":            {a.config.HTTP, next.HTTP},
		"authz.ext_proc":        {a.config.ExtProc, next.ExtProc},
		"authz.management":      {a.config.Management, next.Management},
		"authz.tls":             {a.config.TLS, next.TLS},
		"authz.error_responses": {a.config.ErrorResponses, next.ErrorResponses},
		"authz.relay":           {a.config.Relay, next.Relay},
		"authz.drain":           {a.config.Drain, next.Drain},
		"authz.gc_percent":      {a.config.GCPercent, next.GCPercent},
		"authz.memory_limit":    {a.config.MemoryLimit, next.MemoryLimit},
	} {
		if !reflect.DeepEqual(pair[0], pair[1]) {
			a.log.Warn("this change waits for a restart", "key", key)
		}
	}
}
