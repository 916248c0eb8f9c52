package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// watchReport is what the part "watch" measured.
type watchReport struct {
	Fleets   []fleetRow  `json:"fleets"`
	Snapshot snapshotRow `json:"snapshot"`
}

// fleetRow says how long a revocation took to all watchers of one case.
type fleetRow struct {
	Watchers    int     `json:"watchers"`
	Connections int     `json:"connections"`
	TLS         bool    `json:"tls"`
	Answered50  float64 `json:"answered_p50_ms"`
	Answered99  float64 `json:"answered_p99_ms"`
	Refused50   float64 `json:"refused_p50_ms"`
	Refused99   float64 `json:"refused_p99_ms"`
	CPUEach     float64 `json:"cpu_us_each"` // for each watcher and revocation, both ends; renewals are in it
	KiBEach     float64 `json:"kib_each"`    // memory for each watcher, both ends
	Target50    float64 `json:"target_p50_ms,omitempty"`
	Target99    float64 `json:"target_p99_ms,omitempty"`
	OK          bool    `json:"ok"`
	Error       string  `json:"error,omitempty"` // why there is nothing
}

// snapshotRow says how long a watcher takes to load everything, and what it keeps.
type snapshotRow struct {
	Entries       int     `json:"entries"`
	ResyncMS      float64 `json:"resync_ms"`
	BytesPerEntry float64 `json:"bytes_per_entry"`
}

func (c fleetCase) row(answered, refused []time.Duration, kib, cpu float64) fleetRow {
	slices.Sort(answered)
	slices.Sort(refused)
	at := func(d []time.Duration, q float64) float64 { return round(ms(quantile(d, q))) }
	r := fleetRow{
		Watchers: c.Watchers, Connections: (c.Watchers + c.Streams - 1) / c.Streams, TLS: c.TLS,
		Answered50: at(answered, 0.5), Answered99: at(answered, 0.99),
		Refused50: at(refused, 0.5), Refused99: at(refused, 0.99),
		KiBEach: round(kib), CPUEach: round(cpu), Target50: c.targetP50, Target99: c.targetP99,
	}
	r.OK = c.targetP50 == 0 || (r.Answered50 <= r.Target50 && r.Answered99 <= r.Target99)
	return r
}

// failed is the row of a case that could not be measured.
func (c fleetCase) failed(why error) fleetRow {
	return fleetRow{Watchers: c.Watchers, Connections: (c.Watchers + c.Streams - 1) / c.Streams, TLS: c.TLS, Error: why.Error()}
}

func (w watchReport) print(out io.Writer) {
	p := printer{out}
	p.line("\nRevocation → last watcher refuses, → answered applied (loopback, both ends and the log in one process, a Set in each watcher)")
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(t, "watchers\tconnections\tTLS\trefused p50\tp99 ms\tanswered p50\tp99 ms\ttarget\t\tCPU µs each\tKiB each\t")
	for _, r := range w.Fleets {
		target, ok, secure := "–", "", "no"
		if r.Target50 > 0 {
			target, ok = fmt.Sprintf("≤ %g / %g", r.Target50, r.Target99), "met"
		}
		if !r.OK {
			ok = "MISSED"
		}
		if r.TLS {
			secure = "mutual"
		}
		if r.Error != "" {
			_, _ = fmt.Fprintf(t, "%d\t%d\t%s\tnot measured\t\t\t\t\t\t\t\t\n", r.Watchers, r.Connections, secure)
			continue
		}
		_, _ = fmt.Fprintf(t, "%d\t%d\t%s\t%.2f\t%.2f\t%.2f\t%.2f\t%s\t%s\t%.1f\t%.1f\t\n",
			r.Watchers, r.Connections, secure, r.Refused50, r.Refused99, r.Answered50, r.Answered99, target, ok, r.CPUEach, r.KiBEach)
	}
	_ = t.Flush()
	for _, r := range w.Fleets {
		if r.Error != "" {
			p.line("%d watchers on %d connections: %s", r.Watchers, r.Connections, r.Error)
		}
	}
	p.line("Snapshot of %d: whole after %.0f ms, %.1f bytes an entry", w.Snapshot.Entries, w.Snapshot.ResyncMS, w.Snapshot.BytesPerEntry)
}
