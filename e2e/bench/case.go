package main

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"text/template"

	"github.com/tegata/tegata/internal/stack"
)

// candidate is one thing that is measured: an Envoy listener, and the server
// that it asks, if any. Exported fields are for the template.
type candidate struct {
	Name      string
	Port      int  // Envoy's listener
	JWT       bool // Envoy itself verifies
	Authz     bool // Envoy asks AuthzPort
	AuthzPort int

	checks  bool           // refuses a request without a token
	control bool           // shown beside the cases, not one of them
	process *stack.Process // nil if Envoy is alone
}

func (c *candidate) pid() int {
	if c.process == nil {
		return 0
	}
	return c.process.PID()
}

//go:embed envoy.yaml.tmpl
var envoyConfig string

// candidates makes the cases of the benchmark; tegata may be nil.
func (b *bench) candidates(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	noop := func(name string, env ...string) *candidate {
		return b.server(name, []string{self, serveNoop}, env...)
	}
	ref := b.server("reference", []string{self, serveReference})
	ref.process.Args = append(ref.process.Args, b.issuer.url, b.issuer.audience, b.issuer.jwksURL)
	ref.checks = true
	control := noop("noop GOGC=400", "GOGC=400")
	control.control = true
	b.cases = []*candidate{
		{Name: "none"}, noop("noop"), control, {Name: "jwt_authn", JWT: true, checks: true}, ref,
	}
	if b.stack != nil {
		_, port, err := net.SplitHostPort(b.stack.AuthzAddr)
		if err != nil {
			return err
		}
		n, err := strconv.Atoi(port)
		if err != nil {
			return err
		}
		b.cases = append(b.cases, &candidate{Name: "tegata", Authz: true, AuthzPort: n, checks: true, process: b.stack.Authz})
	}
	for _, c := range b.cases {
		if c.process != nil && c.Name != "tegata" {
			if err := c.process.Start(ctx); err != nil {
				return err
			}
			b.started = append(b.started, c.process)
		}
	}
	return b.startEnvoy(ctx)
}

// server is a candidate that is this program under another name.
func (b *bench) server(name string, args []string, env ...string) *candidate {
	port, ready := freePort(), freePort()
	return &candidate{Name: name, Authz: true, AuthzPort: port, process: &stack.Process{
		Name: name, Env: env, LogFile: filepath.Join(b.dir, name+".log"),
		Args:     append(args, address(port), address(ready)),
		ReadyURL: "http://" + address(ready),
	}}
}

// startEnvoy starts one Envoy for all cases: only one is under load at a time,
// so its CPU is that case's.
func (b *bench) startEnvoy(ctx context.Context) error {
	for _, c := range b.cases {
		c.Port = freePort()
	}
	jwks, err := get(ctx, b.issuer.jwksURL)
	if err != nil {
		return fmt.Errorf("fetching keys for jwt_authn: %w", err)
	}
	t, err := template.New("envoy.yaml").Parse(envoyConfig)
	if err != nil {
		return err
	}
	admin := freePort()
	var config bytes.Buffer
	if err := t.Execute(&config, map[string]any{
		"Admin": admin, "Cases": b.cases, "Issuer": b.issuer.url, "Audience": b.issuer.audience, "JWKS": string(jwks),
	}); err != nil {
		return fmt.Errorf("filling the Envoy configuration: %w", err)
	}
	path := filepath.Join(b.dir, "envoy.yaml")
	if err := os.WriteFile(path, config.Bytes(), 0o600); err != nil {
		return err
	}
	b.envoy = &stack.Process{
		Name: "envoy", LogFile: filepath.Join(b.dir, "envoy.log"), ReadyURL: "http://" + address(admin) + "/ready",
		Args: []string{b.options.envoy, "-c", path, "--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"},
	}
	if err := b.envoy.Start(ctx); err != nil {
		return err
	}
	b.started = append(b.started, b.envoy)
	return nil
}

// sane is an error unless the case lets a good token through and, if it
// checks, refuses a request without one: else its numbers mean nothing.
func (b *bench) sane(ctx context.Context, c *candidate) error {
	url := "http://" + address(c.Port) + measuredPath
	if got, err := status(ctx, url, b.tokens[0]); err != nil || got != http.StatusOK {
		return fmt.Errorf("%s with a good token: status %d, error %w", c.Name, got, err)
	}
	want := http.StatusOK
	if c.checks {
		want = http.StatusUnauthorized
	}
	if got, err := status(ctx, url, ""); err != nil || got != want {
		return fmt.Errorf("%s without a token: status %d, want %d, error %w", c.Name, got, want, err)
	}
	return nil
}

func address(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }

// freePort is a TCP port that was free a moment ago. Without one there is no
// benchmark; the bind that fails then says so.
func freePort() int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}
