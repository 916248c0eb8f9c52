package main

import (
	"context"
	"net"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets scripts run this program as "tegata".
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"tegata": main})
}

// TestScripts runs testdata/script/*.txtar: what a person types, and what
// they see.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			// $BUSY is an address that is in use for as long as the script runs.
			l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			e.Defer(func() { _ = l.Close() })
			e.Setenv("BUSY", l.Addr().String())
			// $NOBODY is one where nobody listens.
			gone, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			e.Setenv("NOBODY", gone.Addr().String())
			if err := gone.Close(); err != nil {
				return err
			}
			return nil
		},
	})
}
