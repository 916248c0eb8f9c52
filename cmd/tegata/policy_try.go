package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tegata/tegata/authz/policy/author"
)

// policyQuestion is one made-up request, as flags.
type policyQuestion struct {
	Dir         string   `arg:"" help:"Directory of policies and data." type:"existingdir"`
	Request     string   `help:"Method and path, or method and URL, such as 'GET /orders'." xor:"what" placeholder:"REQUEST"`
	Input       string   `help:"File with an input document (JSON, as in a decision log) instead of a request." xor:"what" type:"existingfile" placeholder:"FILE"`
	Header      []string `help:"A header, 'name: value'; may be repeated." sep:"none" placeholder:"HEADER"`
	Body        string   `help:"Body of the request." placeholder:"TEXT"`
	Claims      string   `help:"File with the claims of the token (JSON)." xor:"token" type:"existingfile" placeholder:"FILE"`
	TokenScopes *string  `help:"Scopes of a token that says nothing else, between spaces." xor:"token" placeholder:"SCOPES"`
	ScopeClaim  string   `help:"Claim that holds the scopes." default:"scope"`
	Entry       string   `help:"Rule that decides." default:"envoy/authz/allow"`
	JSON        bool     `help:"Print JSON."`
}

// question reads what the flags name.
func (p *policyQuestion) question() (author.Question, error) {
	q := author.Question{
		Dir: p.Dir, Entry: p.Entry, Request: p.Request, Headers: p.Header, Body: p.Body, ScopeClaim: p.ScopeClaim,
	}
	if p.TokenScopes != nil {
		q.Scopes = append([]string{}, strings.Fields(*p.TokenScopes)...) // no scopes is not no token
	}
	var err error
	if q.Input, err = readOptional(p.Input); err != nil {
		return q, err
	}
	q.Claims, err = readOptional(p.Claims)
	return q, err
}

func readOptional(file string) ([]byte, error) {
	if file == "" {
		return nil, nil
	}
	return os.ReadFile(file)
}

// answered prints what was found, or says what was wrong with the question.
func (p *policyQuestion) answered(e *env, value any, text func(io.Writer) error, err error) error {
	switch {
	case errors.Is(err, author.ErrQuestion):
		return withHint(usageError{err}, "tegata policy try DIR --request 'GET /orders' --token-scopes 'orders:read'")
	case err != nil:
		return withHint(err, "tegata policy check "+p.Dir+" shows what is wrong with a policy")
	case !p.JSON:
		return text(e.stdout)
	}
	encoder := json.NewEncoder(e.stdout)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return fmt.Errorf("writing the answer: %w", err)
	}
	return nil
}

// fromHere shortens a path, as people type it.
func fromHere(dir string) string {
	here, err := os.Getwd()
	if err != nil {
		return dir
	}
	short, err := filepath.Rel(here, dir)
	if err != nil || strings.HasPrefix(short, "..") {
		return dir
	}
	return short
}

type policyTryCmd struct {
	policyQuestion
}

// Run decides one request.
func (c *policyTryCmd) Run(e *env) error {
	q, err := c.question()
	if err != nil {
		return err
	}
	answer, err := author.Try(e.ctx, q)
	return c.answered(e, answer, answer.WriteText, err)
}

type policyExplainCmd struct {
	policyQuestion
}

// Run decides one request and says why it came out so.
func (c *policyExplainCmd) Run(e *env) error {
	q, err := c.question()
	if err != nil {
		return err
	}
	explained, err := author.Explain(e.ctx, q)
	return c.answered(e, explained, func(w io.Writer) error { return explained.WriteText(w, fromHere(c.Dir)) }, err)
}

type policyBenchCmd struct {
	policyQuestion
	Time time.Duration `help:"How long to measure each figure." default:"1s"`
}

// Run measures what deciding one request costs.
func (c *policyBenchCmd) Run(e *env) error {
	q, err := c.question()
	if err != nil {
		return err
	}
	measured, err := author.Bench(e.ctx, q, c.Time)
	return c.answered(e, measured, measured.WriteText, err)
}
