package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tegata/tegata/revocation"
	"github.com/tegata/tegata/revocation/watch"
)

// watchCmd follows revocations as an observer: nobody waits for it.
type watchCmd struct {
	configFlags `embed:""`

	Address          string   `placeholder:"HOST:PORT" help:"Watch listener of an issuer or relay, instead of what the configuration's authz.revocations or relay.revocations says."`
	CAFile           string   `placeholder:"FILE" help:"With --address: whose certificates the listener's must be; required beyond loopback."`
	CertFile         string   `placeholder:"FILE" help:"With --address: own certificate, instead of a client."`
	KeyFile          string   `placeholder:"FILE" help:"With --address: its key."`
	TokenURL         string   `placeholder:"URL" help:"With --address: token endpoint for --client-id."`
	ClientID         string   `placeholder:"ID" help:"With --address: a client with scope revocation:watch."`
	ClientSecretFile string   `placeholder:"FILE" help:"With --address: file with its secret."`
	Issuer           []string `placeholder:"URL" help:"Only revocations of this issuer; may be given several times (default: all that may be seen)."`

	Held bool `help:"Show first what is in force already."`
	Full bool `help:"Show targets whole: session ids, subjects and the like."`
	JSON bool `help:"Print one JSON object a line."`
}

// Run prints until it is told to stop. It fails if it is not let in.
func (c *watchCmd) Run(e *env) error {
	from, err := c.from(e)
	if err != nil {
		return err
	}
	conns, err := dialWatch("watch", from)
	if err != nil {
		return err
	}
	defer conns.hangUp()
	ctx, cancel := context.WithCancelCause(e.ctx)
	defer cancel(nil)
	p := &watchPrinter{out: e.stdout, side: e.stderr, full: c.Full, json: c.JSON, held: c.Held, fail: cancel}
	o, err := watch.NewObserver(watch.ObserverConfig{
		Conns: conns.conns(), Node: hostname() + " (tegata watch)", Issuers: from.Issuers,
		Opened: p.opened, Record: func(r revocation.Record) { p.record("record", r) }, Held: p.heldBefore, Lost: p.lost,
	})
	if err != nil {
		return err
	}
	if err := o.Run(ctx); err != nil {
		return err
	}
	if e.ctx.Err() != nil {
		return nil
	}
	return context.Cause(ctx)
}

// from is where revocations come from, and as whom they are asked for.
func (c *watchCmd) from(e *env) (revocationsConfig, error) {
	if c.Address != "" {
		return c.flags()
	}
	conf, err := c.load(e)
	if err != nil {
		return revocationsConfig{}, err
	}
	var from revocationsConfig
	switch {
	case conf.Authz != nil && conf.Authz.Revocations.Address != "":
		from = conf.Authz.Revocations
	case conf.Relay != nil:
		from = conf.Relay.Revocations
	default:
		return from, withHint(usagef("%s says nothing of where revocations come from", c.Config), "authz.revocations or relay.revocations, or --address")
	}
	if len(c.Issuer) > 0 {
		from.Issuers = c.Issuer
	}
	return from, nil
}

func (c *watchCmd) flags() (revocationsConfig, error) {
	from := revocationsConfig{
		Address: c.Address, TLS: clientTLSConfig{CAFile: c.CAFile, CertFile: c.CertFile, KeyFile: c.KeyFile},
		TokenURL: c.TokenURL, ClientID: c.ClientID, ClientSecretFile: c.ClientSecretFile, Issuers: c.Issuer,
	}
	by := &config{set: map[string]string{
		"watch.address": "--address", "watch.tls": "--ca-file, --cert-file, --key-file", "watch.token_url": "--token-url",
		"watch.client_id": "--client-id", "watch.client_secret_file": "--client-secret-file",
	}}
	return from, by.checkRevocations("watch", from)
}

// watchPrinter prints what an observer hears.
type watchPrinter struct {
	out, side        io.Writer
	full, json, held bool
	fail             context.CancelCauseFunc
	once             bool // a stream was open
}

// watchEvent is a line of tegata watch --json.
type watchEvent struct {
	Event string    `json:"event"` // opened, held, record or lost
	Time  time.Time `json:"time"`

	Revision    revocation.Revision `json:"revision,omitempty"`
	Issuer      string              `json:"issuer,omitempty"`
	Kind        string              `json:"kind,omitempty"`
	Target      string              `json:"target,omitempty"` // its beginning, without --full
	Client      string              `json:"client,omitempty"`
	Reason      revocation.Reason   `json:"reason,omitempty"`
	CommittedAt *time.Time          `json:"committed_at,omitempty"`
	ExpiresAt   *time.Time          `json:"expires_at,omitempty"`
	Delay       *float64            `json:"delay_seconds,omitempty"` // since the commit, by two clocks

	Epoch   revocation.Epoch `json:"epoch,omitempty"`
	Resumed bool             `json:"resumed,omitempty"`  // nothing was missed
	InForce int              `json:"in_force,omitempty"` // records before
	Error   string           `json:"error,omitempty"`
}

func (p *watchPrinter) opened(at watch.Opening) {
	p.once = true
	if p.json {
		p.line(watchEvent{Event: "opened", Time: time.Now(), Revision: at.Revision, Epoch: at.Epoch, Resumed: at.Resumed, InForce: at.InForce})
		return
	}
	what := fmt.Sprintf("%d in force", at.InForce)
	if at.Resumed {
		what = "resumed, nothing was missed"
	}
	_, _ = fmt.Fprintf(p.side, "following from revision %d of epoch %s: %s\n", at.Revision, short(string(at.Epoch)), what)
}

func (p *watchPrinter) heldBefore(records []revocation.Record) {
	for _, r := range records {
		if p.held {
			p.record("held", r)
		}
	}
}

func (p *watchPrinter) record(event string, r revocation.Record) {
	now := time.Now()
	delay := now.Sub(r.CommittedAt)
	target, client := printable(r.Target.ID), printable(r.Target.Client)
	if !p.full {
		target = short(target)
		if len(r.Target.ID) > len(target) {
			target += "…"
		}
	}
	if p.json {
		ev := watchEvent{
			Event: event, Time: now, Revision: r.Revision, Issuer: r.Issuer, Kind: r.Target.Kind.String(), Target: target,
			Client: client, Reason: r.Reason, CommittedAt: moment(r.CommittedAt), ExpiresAt: moment(r.ExpiresAt),
		}
		if event == "record" {
			s := delay.Seconds()
			ev.Delay = &s
		}
		p.line(ev)
		return
	}
	if client != "" {
		target += " of " + client
	}
	late := "held"
	if event == "record" {
		late = "+" + delay.Round(time.Millisecond/10).String()
	}
	p.write(fmt.Sprintf("%s  %d  %s  %s %s  %s  %s\n", r.CommittedAt.UTC().Format("2006-01-02T15:04:05.000Z"),
		r.Revision, printable(r.Issuer), r.Target.Kind, target, printable(string(r.Reason)), late))
}

// lost ends the program if it never was let in: that will not change by itself.
func (p *watchPrinter) lost(err error) {
	if !p.once && refusal(err) {
		p.fail(withHint(fmt.Errorf("not let in: %s", reason(err)), "a client with scope revocation:watch, or a certificate of issuer.watch.peers"))
		return
	}
	if p.json {
		p.line(watchEvent{Event: "lost", Time: time.Now(), Error: reason(err)})
		return
	}
	_, _ = fmt.Fprintf(p.side, "stream lost, trying again: %s\n", reason(err))
}

// refusal says that asking again is of no use.
func refusal(err error) bool {
	switch status.Code(err) {
	case codes.Unauthenticated, codes.PermissionDenied, codes.InvalidArgument, codes.Unimplemented:
		return true
	}
	return false
}

func (p *watchPrinter) line(ev watchEvent) {
	b, err := json.Marshal(ev)
	if err != nil {
		p.fail(err)
		return
	}
	p.write(string(b) + "\n")
}

// write ends the program when nobody reads any more.
func (p *watchPrinter) write(line string) {
	if _, err := io.WriteString(p.out, line); err != nil {
		p.fail(fmt.Errorf("writing: %w", err))
	}
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func reason(err error) string {
	if err == nil {
		return "the upstream ended the stream"
	}
	return printable(strings.TrimSpace(err.Error()))
}
