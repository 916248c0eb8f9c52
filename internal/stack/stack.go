// Package stack starts a whole Tegata on loopback, issuer, authz, Envoy and a
// sample API, on ports that are free, and stops exactly what it started. The
// demo and the end-to-end tests stand on it.
//
// It must not know what is inside those programs: it runs the built binary,
// writes configuration files, and waits for health endpoints. So a story that
// works here works for an operator.
//
// Each program is a Process with a name, a log file and a ready check; it can
// be killed and started again on the same ports. Programs stand in an order
// (issuer, authz, envoy); Stop goes through it backwards.
package stack

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// startTimeout bounds one program's way from start to ready, slow test
// machines included.
const startTimeout = 30 * time.Second

// Config configures a Stack. Tegata is required.
type Config struct {
	Tegata string // path of the tegata binary
	Envoy  string // path of Envoy; "" leaves Envoy and the sample API's gateway out
	// Bootstrap is manifests/envoy/envoy.yaml, whose four default ports are replaced.
	Bootstrap []byte
	Dir       string // for configuration, database, logs; default: a temporary directory that Stop removes

	Realm []byte        // realm file; default: DemoRealm
	More  [][]byte      // realm files of more realms
	Lease time.Duration // of the revocation watch; default 3 s
	// Set overrides configuration keys of tegata, as --set does: "authz.policy.dir".
	Set map[string]string
	// AuthzYAML is more of the authz section, for lists, which Set cannot set.
	// Its lines begin at column one.
	AuthzYAML string
	// Edit changes the configuration of tegata before it is written, where Set
	// and AuthzYAML cannot; nil: it stays.
	Edit func(config string) string
	Env  []string // more environment for the tegata programs, "KEY=value"
}

// Stack is a running Tegata. Its addresses stay the same over restarts.
type Stack struct {
	Dir string

	Issuer *Process
	Authz  *Process
	Envoy  *Process // nil if Config.Envoy was ""

	IssuerURL        string // base URL of the issuer; the realm is at /realms/demo
	RealmURL         string // IssuerURL + "/realms/demo"
	GatewayURL       string // Envoy in front of the sample API
	APIURL           string // the sample API itself, unprotected
	AuthzAddr        string // host:port of authz's ext_authz gRPC
	WatchAddr        string // host:port of the issuer's revocation watch
	IssuerManagement string // URL of the issuer's health and metrics
	AuthzManagement  string // URL of authz's health and metrics
	EnvoyAdmin       string // URL of Envoy's admin endpoint

	api       *api
	removeDir bool
}

// Start starts everything and returns when all of it is ready. When ctx ends
// first, or a program fails, what was started is stopped again. Ports are
// chosen free; if another program grabs one in the moment before ours binds
// it, Start tries again with others.
func Start(ctx context.Context, c Config) (*Stack, error) {
	const attempts = 3
	var err error
	for range attempts {
		var s *Stack
		if s, err = start(ctx, c); err == nil {
			return s, nil
		}
		if !errors.Is(err, errPortTaken) || ctx.Err() != nil {
			break
		}
	}
	return nil, fmt.Errorf("starting the stack: %w", err)
}

func start(ctx context.Context, c Config) (_ *Stack, err error) {
	s := &Stack{Dir: c.Dir}
	defer func() {
		if err != nil {
			s.Stop()
		}
	}()
	if err := s.makeDir(); err != nil {
		return nil, err
	}
	if s.api, err = startAPI(); err != nil {
		return nil, err
	}
	s.APIURL = s.api.url
	ports, err := freePorts(numPorts)
	if err != nil {
		return nil, err
	}
	s.address(ports)
	if err := s.write(c, ports); err != nil {
		return nil, err
	}
	s.declare(c)
	for _, p := range s.processes() {
		if err := p.Start(ctx); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// makeDir makes the directory, or a temporary one.
func (s *Stack) makeDir() error {
	if s.Dir != "" {
		return os.MkdirAll(s.Dir, 0o700)
	}
	dir, err := os.MkdirTemp("", "tegata-*")
	if err != nil {
		return fmt.Errorf("making a directory: %w", err)
	}
	s.Dir, s.removeDir = dir, true
	return nil
}

// declare says how each program is started and when it is ready.
func (s *Stack) declare(c Config) {
	tegata := func(name string) []string {
		args := []string{c.Tegata, name, "--config", filepath.Join(s.Dir, "tegata.yaml")}
		for k, v := range c.Set {
			args = append(args, "--set", k+"="+v)
		}
		return args
	}
	log := func(name string) string { return filepath.Join(s.Dir, name+".log") }
	s.Issuer = &Process{Name: "issuer", Args: tegata("issuer"), Env: c.Env, LogFile: log("issuer"), ReadyURL: s.IssuerManagement + "/health/ready"}
	s.Authz = &Process{Name: "authz", Args: tegata("authz"), Env: c.Env, LogFile: log("authz"), ReadyURL: s.AuthzManagement + "/health/ready"}
	if c.Envoy != "" {
		s.Envoy = &Process{
			Name: "envoy", LogFile: log("envoy"), ReadyURL: s.EnvoyAdmin + "/ready",
			Args: []string{
				c.Envoy, "-c", filepath.Join(s.Dir, "envoy.yaml"),
				"--disable-hot-restart", "--log-level", "warning", "--drain-time-s", "1",
			},
		}
	}
}

// processes lists the programs in the order of their start.
func (s *Stack) processes() []*Process {
	var ps []*Process
	for _, p := range []*Process{s.Issuer, s.Authz, s.Envoy} {
		if p != nil {
			ps = append(ps, p)
		}
	}
	return ps
}

// Stop stops everything that was started, newest first, and returns when it
// is gone. It is safe to call more than once.
func (s *Stack) Stop() {
	ps := s.processes()
	for i := len(ps) - 1; i >= 0; i-- {
		ps[i].Stop()
	}
	if s.api != nil {
		s.api.stop()
	}
	if s.removeDir {
		_ = os.RemoveAll(s.Dir) // a leftover directory harms nobody
	}
}

// ready asks a health endpoint once.
func ready(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s", url, resp.Status)
	}
	return nil
}
