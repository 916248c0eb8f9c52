package main

import (
	"errors"
	"fmt"

	"github.com/tegata/tegata/authz/policy/author"
)

type policyCmd struct {
	Test    policyTestCmd    `cmd:"" help:"Run the tests of the policies in a directory."`
	Check   policyCheckCmd   `cmd:"" help:"Compile the policies in a directory, strictly."`
	Fmt     policyFmtCmd     `cmd:"" help:"Format the policies in a directory."`
	Try     policyTryCmd     `cmd:"" help:"Decide one made-up request as authz would."`
	Explain policyExplainCmd `cmd:"" help:"Decide one made-up request and say which rules decided, and what would have helped."`
	Bench   policyBenchCmd   `cmd:"" help:"Measure what deciding one made-up request costs."`
}

type policyTestCmd struct {
	Dir string `arg:"" help:"Directory of policies, data and tests." type:"existingdir"`
}

// Run runs OPA's test runner.
func (c *policyTestCmd) Run(e *env) error {
	return reported(author.Test(e.ctx, c.Dir, e.stdout))
}

type policyCheckCmd struct {
	Dir          string `arg:"" help:"Directory of policies." type:"existingdir"`
	Cacheability bool   `help:"Say also whether decisions can be remembered, or else which lines prevent it; exit 1 then."`
	Entry        string `help:"Rule that decides, for --cacheability." default:"envoy/authz/allow"`
}

// Run compiles strictly.
func (c *policyCheckCmd) Run(e *env) error {
	if err := author.Check(e.ctx, c.Dir); err != nil || !c.Cacheability {
		return err
	}
	return reported(author.Cacheability(e.ctx, fromHere(c.Dir), c.Entry, e.stdout))
}

type policyFmtCmd struct {
	Dir   string `arg:"" help:"Directory of policies." type:"existingdir"`
	Check bool   `help:"Change nothing; exit 1 and list the files that are not formatted."`
}

// Run rewrites files, or lists those that it would.
func (c *policyFmtCmd) Run(e *env) error {
	changed, err := author.Format(c.Dir, !c.Check)
	if err != nil {
		return err
	}
	for _, file := range changed {
		if _, err := fmt.Fprintln(e.stdout, file); err != nil {
			return err
		}
	}
	if c.Check && len(changed) > 0 {
		return withHint(fmt.Errorf("%d files are not formatted", len(changed)), "tegata policy fmt "+c.Dir)
	}
	return nil
}

// reported turns "failed, and said why" into an exit code without more words.
func reported(err error) error {
	if errors.Is(err, author.ErrFailed) {
		return errSaid
	}
	return err
}
