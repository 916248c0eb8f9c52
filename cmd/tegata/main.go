// Command tegata is the one binary of Tegata: an OAuth 2.0 and OpenID Connect
// issuer (tegata issuer), an authorization server for Envoy (tegata authz),
// and what an operator needs around them.
//
// It reads the configuration, builds, runs and stops. It decides nothing about
// tokens, sessions or requests, and it is the only place that reads the
// environment and flags. Each subcommand is a struct whose Run method is its
// story; what they need from outside comes in through an env.
//
// Output: results on stdout; logs and complaints on stderr, complaints as one
// line "tegata: …" and, where there is something to do, one line "hint: …".
// Exit codes: 0 it worked, 1 it did not, 2 it was asked wrongly (arguments or
// configuration).
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// cli is every subcommand.
type cli struct {
	Issuer  issuerCmd  `cmd:"" help:"Run the issuer: login, tokens, sessions, revocation."`
	Authz   authzCmd   `cmd:"" help:"Run the authorization server that Envoy asks."`
	Relay   relayCmd   `cmd:"" help:"Pass revocations on, from an issuer or a relay to watchers near."`
	Revoke  revokeCmd  `cmd:"" help:"Revoke a token and say who has applied it."`
	Status  statusCmd  `cmd:"" help:"Show who follows revocations, and how far each is."`
	Watch   watchCmd   `cmd:"" help:"Show revocations as they come."`
	Demo    demoCmd    `cmd:"" help:"Run everything on loopback and show what it does."`
	Policy  policyCmd  `cmd:"" help:"Test, check, format, try and explain Rego policies."`
	Keys    keysCmd    `cmd:"" help:"Manage signing keys."`
	Store   storeCmd   `cmd:"" help:"Take care of the issuer's store."`
	Config  configCmd  `cmd:"" help:"Check configuration files."`
	Version versionCmd `cmd:"" help:"Print the version."`
}

// env is what the world gives to a command.
type env struct {
	ctx       context.Context // ends with SIGINT or SIGTERM
	stdin     io.Reader
	stdout    io.Writer
	stderr    io.Writer
	lookupEnv func(string) (string, bool)
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal asks for a clean end; a second one gets what it wants.
	context.AfterFunc(ctx, stop)
	os.Exit(run(os.Args[1:], &env{ctx: ctx, stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, lookupEnv: os.LookupEnv}))
}

// run parses the arguments, runs the command and returns the exit code.
// --help ends the program at once.
func run(args []string, e *env) int {
	var c cli
	parser, err := kong.New(
		&c,
		kong.Name("tegata"),
		kong.Description("Tokens that can be taken back: an OAuth issuer, and the gateway check that hears of every revocation."),
		kong.Writers(e.stdout, e.stderr),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Bind(e),
	)
	if err != nil {
		panic(err) // a mistake in the structs above
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	ctx, err := parser.Parse(args)
	if err != nil {
		return complain(e, withHint(usageError{err}, "tegata --help lists the commands"))
	}
	return complain(e, ctx.Run(e))
}

// complain prints err, and its hint if it has one, and returns the exit code.
func complain(e *env, err error) int {
	if err == nil {
		return exitOK
	}
	if !errors.Is(err, errSaid) {
		_, _ = fmt.Fprintf(e.stderr, "tegata: %v\n", err)
	}
	var h hinter
	if errors.As(err, &h) && h.Hint() != "" {
		_, _ = fmt.Fprintf(e.stderr, "hint: %s\n", h.Hint())
	}
	var bad *configError
	var usage usageError
	if errors.As(err, &usage) || errors.As(err, &bad) {
		return exitUsage
	}
	return exitFailed
}

// errSaid is a failure whose reason is already on the screen.
var errSaid = errors.New("failed")

// hinter is an error that knows what to do about it.
type hinter interface{ Hint() string }

type hintError struct {
	error
	hint string
}

func (e *hintError) Hint() string  { return e.hint }
func (e *hintError) Unwrap() error { return e.error }

// withHint adds what to do to an error.
func withHint(err error, hint string) error { return &hintError{error: err, hint: hint} }

// usageError is a mistake in the arguments.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }
