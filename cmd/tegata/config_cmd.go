package main

import (
	"fmt"
)

type configCmd struct {
	Check configCheckCmd `cmd:"" help:"Check a configuration file, and the realm files it names, without starting anything."`
}

type configCheckCmd struct {
	File string   `arg:"" optional:"" default:"tegata.yaml" help:"Configuration file (default: tegata.yaml)."`
	Set  []string `sep:"none" placeholder:"KEY=VALUE" help:"Override a key."`
}

// Run checks the file as the programs would.
func (c *configCheckCmd) Run(e *env) error {
	conf, err := loadConfig(c.File, e.lookupEnv, c.Set)
	if err != nil {
		return err
	}
	if conf.Issuer != nil {
		if _, err := readRealms(conf.Issuer.Realms); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(e.stdout, "%s: ok\n", c.File)
	return err
}
