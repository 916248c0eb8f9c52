package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// The parts of a run that are not cases, as -only names them.
const (
	partIdle       = "idle"
	partRevocation = "revocation"
	partIssuer     = "issuer"
	partMore       = "more"
	partWatch      = "watch"
)

// parts is all that -only can name.
func parts() []string {
	return []string{"none", "noop", "jwt_authn", "reference", "tegata", partIdle, partRevocation, partIssuer, partMore, partWatch}
}

type options struct {
	rounds      int
	duration    time.Duration
	many        int
	revocations int
	watchers    int
	withTegata  bool
	only        []string // of parts; empty means all
	tegata      string
	envoy       string
	json        string
}

// wants reports whether a part is to be measured.
func (o options) wants(part string) bool {
	if !o.withTegata && slices.Contains([]string{"tegata", partIdle, partRevocation, partIssuer, partMore}, part) {
		return false
	}
	return len(o.only) == 0 || slices.Contains(o.only, part)
}

// wantsEnvoy: something that goes through Envoy, or is of a real issuer.
func (o options) wantsEnvoy() bool {
	return len(o.only) == 0 || slices.ContainsFunc(o.only, func(part string) bool { return part != partMore && part != partWatch })
}

// wantsTegata: a part that runs the binary.
func (o options) wantsTegata() bool {
	return o.withTegata && (o.wantsEnvoy() || o.wants(partMore))
}

// short is the time of a measurement beside the main ones, in whole seconds.
func (o options) short() time.Duration {
	return max(time.Second, (o.duration / 2).Truncate(time.Second))
}

func parse(args []string) (options, error) {
	o := options{json: os.Getenv("BENCH_JSON")}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.IntVar(&o.rounds, "rounds", 3, "rounds; every case is measured once in each")
	f.DurationVar(&o.duration, "duration", 3*time.Second, "of one measurement, whole seconds")
	f.IntVar(&o.many, "tokens", 10_000, "distinct tokens, beside one")
	f.IntVar(&o.revocations, "revocations", 100, "revocations to time")
	f.IntVar(&o.watchers, "watchers", 10_000, "most watchers of the part watch")
	f.BoolVar(&o.withTegata, "tegata", true, "false measures the others only, with tokens of a key made here")
	only := f.String("only", "", "what to measure, with commas between: "+strings.Join(parts(), ","))
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if err := o.check(f.Args(), *only); err != nil {
		return o, err
	}
	var err error
	if o.wantsEnvoy() {
		if o.envoy, err = find("envoy", "TEGATA_ENVOY", ".tools/bin/envoy"); err != nil {
			return o, err
		}
	}
	if o.wantsTegata() {
		o.tegata, err = find("tegata", "TEGATA_BIN", "bin/tegata")
	}
	return o, err
}

// check sets o.only and complains about values that make no sense.
func (o *options) check(rest []string, only string) error {
	if len(rest) > 0 {
		return fmt.Errorf("argument %q is not known\nhint: -h lists the flags", rest[0])
	}
	if only != "" {
		o.only = strings.Split(only, ",")
	}
	if slices.Contains(o.only, partRevocation) {
		o.only = append(o.only, "tegata") // revocations are seen through its listener
	}
	for _, part := range o.only {
		if !slices.Contains(parts(), part) {
			return fmt.Errorf("-only: %q is not one of %s", part, strings.Join(parts(), ","))
		}
	}
	if o.rounds < 1 || o.many < 1 || o.revocations < 1 || o.duration < time.Second || o.duration%time.Second != 0 {
		return errors.New("-rounds, -tokens and -revocations are at least 1, -duration is in whole seconds")
	}
	return nil
}

// find looks for a program: where the environment says, else where make puts
// it, else on PATH.
func find(name, env, made string) (string, error) {
	candidates := []string{made, name}
	if told := os.Getenv(env); told != "" {
		candidates = []string{told} // a wrong path is an error, not a reason to measure another
	}
	for _, candidate := range candidates {
		if path, err := exec.LookPath(candidate); err == nil {
			return filepath.Abs(path)
		}
	}
	return "", fmt.Errorf("no %s to run, looked for %s\nhint: make bench gets what is missing; %s=path names one",
		name, strings.Join(candidates, " and "), env)
}
