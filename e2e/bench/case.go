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

	control bool           // a variant of noop, shown beside the cases
	checks  bool           // refuses a request without a token
	process *stack.Process // nil if Envoy is alone
}

// part is the name under which -only knows it.
func (c *candidate) part() string {
	if c.control {
		return "noop"
	}
	return c.Name
}

func (c *candidate) pid() int {
	if c.process == nil {
		return 0
	}
	return c.process.PID()
}

//go:embed envoy.yaml.tmpl
var envoyConfig string

// startCases starts the servers of the cases that are wanted, and Envoy.
func (b *bench) startCases(ctx context.Context) error {
	all, err := b.candidates()
	if err != nil {
		return err
	}
	for _, c := range all {
		if !b.options.wants(c.part()) {
			continue
		}
		b.cases = append(b.cases, c)
		if c.process == nil || c.process.PID() != 0 { // Envoy alone; Tegata runs already
			continue
		}
		if err := c.process.Start(ctx); err != nil {
			return err
		}
		b.started = append(b.started, c.process)
	}
	if len(b.cases) == 0 {
		return nil
	}
	return b.startEnvoy(ctx)
}

// candidates are all cases, in the order of the table.
func (b *bench) candidates() ([]*candidate, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program: %w", err)
	}
	tuned := b.server("noop GOGC=400", self, serveNoop)
	tuned.process.Env, tuned.control = []string{"GOGC=400"}, true
	reference := b.server("reference", self, serveReference, b.issuer.url, b.issuer.audience, b.issuer.jwksURL)
	reference.checks = true
	all := []*candidate{
		{Name: "none"}, b.server("noop", self, serveNoop), tuned, {Name: "jwt_authn", JWT: true, checks: true}, reference,
	}
	if b.stack == nil {
		return all, nil
	}
	_, text, err := net.SplitHostPort(b.stack.AuthzAddr)
	if err != nil {
		return nil, fmt.Errorf("reading the address of authz: %w", err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return nil, fmt.Errorf("reading the address of authz: %w", err)
	}
	return append(all, &candidate{Name: "tegata", Authz: true, AuthzPort: port, checks: true, process: b.stack.Authz}), nil
}

// server is a candidate that is this program under another name.
func (b *bench) server(name, self, kind string, more ...string) *candidate {
	port, ready := freePort(), freePort()
	return &candidate{Name: name, Authz: true, AuthzPort: port, process: &stack.Process{
		Name: name, LogFile: filepath.Join(b.dir, name+".log"),
		Args:     append([]string{self, kind, address(port), address(ready)}, more...),
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
	want := http.StatusOK
	if c.checks {
		want = http.StatusUnauthorized
	}
	for _, try := range []struct {
		what, token string
		want        int
	}{{"with a good token", b.tokens[0], http.StatusOK}, {"without a token", "", want}} {
		got, err := status(ctx, "http://"+address(c.Port)+measuredPath, try.token)
		if err != nil {
			return fmt.Errorf("asking %s %s: %w", c.Name, try.what, err)
		}
		if got != try.want {
			return fmt.Errorf("%s answers %d %s, want %d: there is nothing to measure", c.Name, got, try.what, try.want)
		}
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
