package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

type versionCmd struct{}

// Run prints the version.
func (versionCmd) Run(e *env) error {
	v, revision := version()
	_, err := fmt.Fprintf(e.stdout, "tegata %s%s %s %s/%s\n", v, revision, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}

// version is what the build recorded: the module's version, and the commit if
// it was built from a checkout.
func version() (v, revision string) {
	v = "(devel)"
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v, ""
	}
	if info.Main.Version != "" {
		v = info.Main.Version
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			revision = " (" + s.Value[:min(12, len(s.Value))] + ")"
		}
	}
	return v, revision
}
