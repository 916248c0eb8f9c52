package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/tegata/tegata/issuer"
	"github.com/tegata/tegata/revocation"
	"github.com/tegata/tegata/revocation/watch"
)

// statusPath is where the management listeners of all programs say who follows
// revocations and how far each is. It names enforcement points.
const statusPath = "/revocations"

// programStatus is what one program knows.
type programStatus struct {
	Program  string              `json:"program"` // issuer, relay or authz
	Name     string              `json:"name"`
	Upstream *watch.Report       `json:"upstream,omitempty"` // who follows it
	Watcher  *watch.FollowReport `json:"watcher,omitempty"`  // what it follows
}

func (s programStatus) well() bool {
	return (s.Upstream == nil || s.Upstream.Well()) && (s.Watcher == nil || s.Watcher.Well())
}

// statusCmd asks management listeners.
type statusCmd struct {
	Management []string `default:"http://127.0.0.1:8081" placeholder:"URL" help:"Management listener of an issuer, relay or authz (default: http://127.0.0.1:8081); may be given several times."`
	Revision   uint64   `placeholder:"N" help:"Show one revocation: who revoked what and why, and who has applied it. Ask an issuer."`
	JSON       bool     `help:"Print what they say as it is, one object a line."`
}

// statusPatience is how long one program may take to answer.
const statusPatience = 5 * time.Second

// Run asks and prints. It fails if something is behind, without a lease or not
// there.
func (c *statusCmd) Run(e *env) error {
	for _, base := range c.Management {
		if u, err := url.Parse(base); err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
			return usagef("--management: %q is not an http or https URL", base)
		}
	}
	if c.Revision > 0 {
		return c.trace(e)
	}
	well := true
	for n, base := range c.Management {
		s, raw, err := askStatus(e.ctx, base)
		if err != nil {
			well = false
			_, _ = fmt.Fprintf(e.stderr, "tegata: %v\n", err)
			continue
		}
		well = well && s.well()
		if err := c.print(e.stdout, n, s, raw); err != nil {
			return err
		}
	}
	if !well {
		return withHint(errSaid, "docs/operating.md says what each state means and what to do")
	}
	return nil
}

// trace shows one revocation, from the first issuer that knows it. It fails if
// somebody may still trust what it killed.
func (c *statusCmd) trace(e *env) error {
	var t issuer.Trace
	var raw []byte
	var err error
	for _, base := range c.Management {
		raw, err = askManagement(e.ctx, base, fmt.Sprintf("%s/%d", statusPath, c.Revision), &t)
		if err == nil {
			break
		}
	}
	switch {
	case err != nil:
		return err
	case c.JSON:
		_, err = fmt.Fprintf(e.stdout, "%s\n", strings.TrimSpace(string(raw)))
	default:
		err = writeTrace(e.stdout, t)
	}
	if err == nil && len(t.Outcome.Pending) > 0 {
		return withHint(errSaid, "each of them stops trusting within its lease")
	}
	return err
}

func writeTrace(w io.Writer, x issuer.Trace) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, value string) { _, _ = fmt.Fprintf(t, "%s\t%s\n", name, value) } // Flush has the error
	row("revision", fmt.Sprint(x.Revision))
	row("issuer", printable(x.Issuer))
	target := x.Kind + " " + printable(x.Target)
	if x.Client != "" {
		target += " of " + printable(x.Client)
	}
	row("target", target)
	row("reason", printable(string(x.Reason)))
	row("by", cmp.Or(printable(string(x.Actor)), "(nobody has said)"))
	row("committed", x.CommittedAt.UTC().Format(time.RFC3339Nano))
	if !x.ExpiresAt.IsZero() {
		row("expires", x.ExpiresAt.UTC().Format(time.RFC3339))
	}
	if x.Settled != nil {
		row("settled", fmt.Sprintf("%s, after %.1f ms: %s", x.Settled.At.UTC().Format(time.RFC3339Nano), 1000*x.Settled.Took, belowText(x.Settled.Outcome)))
	}
	row("now", belowText(x.Outcome))
	for _, name := range x.Outcome.Pending {
		row("pending", printable(name))
	}
	for _, name := range x.Outcome.Unbounded {
		row("unbounded", printable(name))
	}
	return t.Flush()
}

func (c *statusCmd) print(w io.Writer, n int, s programStatus, raw []byte) error {
	if c.JSON {
		_, err := fmt.Fprintf(w, "%s\n", strings.TrimSpace(string(raw)))
		return err
	}
	if n > 0 {
		if _, err := fmt.Fprintln(w); err != nil {
			return err
		}
	}
	return writeStatus(w, s)
}

// askStatus returns what the program at a management listener says.
func askStatus(ctx context.Context, base string) (s programStatus, raw []byte, err error) {
	raw, err = askManagement(ctx, base, statusPath, &s)
	return s, raw, err
}

func askManagement(ctx context.Context, base, path string, into any) (raw []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, statusPatience)
	defer cancel()
	status, kind, raw, err := fetch(ctx, http.DefaultClient, http.MethodGet, strings.TrimSuffix(base, "/")+path, nil, "")
	switch {
	case err != nil:
		return nil, err
	case status == http.StatusNotFound && strings.HasPrefix(string(raw), issuer.ErrNoRevocation.Error()):
		return nil, withHint(fmt.Errorf("%s: %w", base, issuer.ErrNoRevocation), "it was never committed, or all that it killed has expired: the log of the issuer says what became of it")
	case status != http.StatusOK || kind != "application/json":
		return nil, fmt.Errorf("%s: %d: that is no management listener of Tegata that knows this", base, status)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return nil, fmt.Errorf("%s: reading the status: %w", base, err)
	}
	return raw, nil
}

// writeStatus prints one program's status for people.
func writeStatus(w io.Writer, s programStatus) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(cells ...string) { _, _ = fmt.Fprintln(t, strings.Join(cells, "\t")) } // Flush has the error
	row(fmt.Sprintf("%s %s", s.Program, printable(s.Name)))
	if f := s.Watcher; f != nil {
		row(fmt.Sprintf("follows: %s at revision %d of epoch %s, %s%s", f.Trust, f.Revision, short(string(f.Epoch)), leaseText(f.Lease), because(f.LastError)))
	}
	if s.Upstream != nil {
		writeUpstream(row, *s.Upstream)
	}
	if s.Upstream == nil && s.Watcher == nil {
		row("follows no revocations")
	}
	return t.Flush()
}

func writeUpstream(row func(...string), r watch.Report) {
	age := fmt.Sprintf("log read %s ago", seconds(r.LogAge))
	if r.LogAge < 0 {
		age = "log never read"
	}
	row(fmt.Sprintf("head %d of epoch %s, %s, leases of %s, %d observers", r.Head, short(string(r.Epoch)), age, seconds(r.MaxLease), len(r.Observers)))
	if r.EarlierRun > 0 {
		row(fmt.Sprintf("leases of the run before may be held for %s", seconds(r.EarlierRun)))
	}
	if len(r.Replicas) > 1 {
		row("REPLICA", "STATE", "ACKNOWLEDGED", "LEASE", "BELOW")
		for _, p := range r.Replicas {
			row(printable(p.Name), string(p.State), fmt.Sprint(p.Acknowledged), leaseText(p.Lease), belowText(p.Below))
		}
	}
	if len(r.Watchers) == 0 {
		row("no watchers")
		return
	}
	row("WATCHER", "INSTANCE", "STATE", "WHEN STALE", "ACKNOWLEDGED", "LAG", "LEASE", "BELOW")
	for _, w := range r.Watchers {
		row(watcherCells(w)...)
	}
}

func watcherCells(w watch.WatcherReport) []string {
	lag, below := "-", ""
	if w.Lag > 0 {
		lag = fmt.Sprintf("%d, %s", w.Lag, seconds(w.LagTime))
	}
	stale := w.OnStale
	if w.Relay {
		stale = "relay"
	}
	if w.Below != nil {
		below = belowText(*w.Below)
	}
	return []string{printable(w.Name), short(w.Instance), string(w.State), stale, fmt.Sprint(w.Acknowledged), lag, leaseText(w.Lease), below}
}

func belowText(o revocation.Outcome) string {
	return fmt.Sprintf("applied %d, expired %d, pending %d, unbounded %d", o.Applied, o.Expired, len(o.Pending), len(o.Unbounded))
}

func leaseText(left float64) string {
	if left <= 0 {
		return "no lease"
	}
	return seconds(left)
}

func seconds(s float64) string { return fmt.Sprintf("%.1f s", s) }

func because(why string) string {
	if why == "" {
		return ""
	}
	return ": " + printable(why)
}

// short is the beginning of a random name, which is enough to tell two apart.
func short(name string) string {
	if len(name) <= 8 {
		return printable(name)
	}
	return printable(name[:8])
}

// printable keeps names that others chose from steering a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '�'
	}, s)
}
