package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"text/tabwriter"
)

// measurement is one round of one case; CPU in µs for each request.
type measurement struct {
	rps, p50, p99      float64
	authzCPU, envoyCPU float64
}

// row is one line of the table: medians over the rounds.
type row struct {
	Case     string  `json:"case"`
	Tokens   int     `json:"tokens"`
	RPS      float64 `json:"rps"`
	P50      float64 `json:"p50_ms"`
	P99      float64 `json:"p99_ms"`
	AuthzCPU float64 `json:"authz_cpu_us"`
	EnvoyCPU float64 `json:"envoy_cpu_us"`
}

// ratios compare Tegata with others, round by round, so that a machine that
// changes its speed does not show in them; 0 if Tegata was not measured.
type ratios struct {
	RPSVsNoop      float64 `json:"rps_vs_noop"`
	RPSVsReference float64 `json:"-"`
	CPUVsNoop      float64 `json:"cpu_vs_noop"`
	CPUVsReference float64 `json:"cpu_vs_reference"`
}

type revocationReport struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
}

type issuerReport struct {
	TokensPerS         map[string]float64 `json:"tokens_per_s"`
	TokenCPU           map[string]float64 `json:"-"`
	IntrospectionsPerS float64            `json:"introspections_per_s"`
	IntrospectionCPU   float64            `json:"-"`
}

type idleReport struct {
	AuthzRSSMiB   float64 `json:"authz_rss_mib"`
	IssuerRSSMiB  float64 `json:"issuer_rss_mib"`
	AuthzStartMS  float64 `json:"authz_start_ms"`
	IssuerStartMS float64 `json:"issuer_start_ms"`
}

// report is all that was measured. Its JSON is a promise to scripts; what is
// not in it stands in the table for people.
type report struct {
	Rows       []row            `json:"rows"`
	Ratios     ratios           `json:"ratios"` // with one token
	Revocation revocationReport `json:"revocation_ms"`
	Issuer     issuerReport     `json:"issuer"`
	More       []moreRow        `json:"more"`
	Watch      watchReport      `json:"watch"`

	RatiosMany ratios     `json:"-"` // with many tokens
	Controls   []row      `json:"-"` // beside the cases: the no-op with a tuned collector
	Direct     []row      `json:"-"` // gRPC without Envoy
	Idle       idleReport `json:"-"`
	TokenBytes int        `json:"-"`
}

// key names a series of rounds.
type key struct {
	name   string
	tokens int
}

// series are the rounds of each case.
type series map[key][]measurement

func (s series) row(k key) row {
	pick := func(f func(measurement) float64) float64 {
		var values []float64
		for _, m := range s[k] {
			values = append(values, f(m))
		}
		return round(median(values))
	}
	return row{
		Case: k.name, Tokens: k.tokens,
		RPS: pick(func(m measurement) float64 { return m.rps }),
		P50: pick(func(m measurement) float64 { return m.p50 }), P99: pick(func(m measurement) float64 { return m.p99 }),
		AuthzCPU: pick(func(m measurement) float64 { return m.authzCPU }),
		EnvoyCPU: pick(func(m measurement) float64 { return m.envoyCPU }),
	}
}

func (s series) ratios(tokens int) ratios {
	against := func(name string, f func(measurement) float64) float64 {
		ours, theirs := s[key{"tegata", tokens}], s[key{name, tokens}]
		var values []float64
		for i := range min(len(ours), len(theirs)) {
			if d := f(theirs[i]); d > 0 {
				values = append(values, f(ours[i])/d)
			}
		}
		return round(median(values))
	}
	rps := func(m measurement) float64 { return m.rps }
	cpu := func(m measurement) float64 { return m.authzCPU }
	return ratios{against("noop", rps), against("reference", rps), against("noop", cpu), against("reference", cpu)}
}

// median is 0 of nothing.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	slices.SortFunc(values, cmp.Compare[float64])
	mid := len(values) / 2
	if len(values)%2 == 1 {
		return values[mid]
	}
	return (values[mid-1] + values[mid]) / 2
}

// round keeps three digits after the point.
func round(f float64) float64 { return math.Round(f*1000) / 1000 }

// print writes the report for people, without what was not measured.
func (r report) print(w io.Writer) {
	p := printer{w}
	if len(r.Rows) > 0 {
		p.line("\nThrough Envoy (--concurrency 1, direct response; wrk -t1 -c%d; ES256 tokens of %d bytes; medians of interleaved rounds, all tokens seen before)", connections, r.TokenBytes)
		table(w, r.Rows, true)
	}
	if len(r.Controls) > 0 {
		p.line("\nControl: the same no-op server with a garbage collector tuned as Tegata's (the other servers run with Go's defaults)")
		table(w, r.Controls, true)
	}
	if len(r.Direct) > 0 {
		p.line("\nDirect gRPC, %d calls in flight (the client shares the machine)", connections)
		table(w, r.Direct, false)
	}
	if r.Ratios != (ratios{}) {
		r.printRatios(w)
	}
	if r.Revocation != (revocationReport{}) {
		p.line("\nRevocation's answer → first refusal through Envoy: p50 %.2f ms, p99 %.2f ms", r.Revocation.P50, r.Revocation.P99)
	}
	for _, alg := range slices.Sorted(maps.Keys(r.Issuer.TokensPerS)) {
		p.line("Issuer: %.0f tokens/s with %s, %.0f µs CPU each", r.Issuer.TokensPerS[alg], alg, r.Issuer.TokenCPU[alg])
	}
	if r.Issuer.IntrospectionsPerS > 0 {
		p.line("Issuer: %.0f introspections/s, %.0f µs CPU each", r.Issuer.IntrospectionsPerS, r.Issuer.IntrospectionCPU)
	}
	if r.Idle != (idleReport{}) {
		p.line("Idle: authz %.1f MiB, issuer %.1f MiB; start: authz %.0f ms, issuer %.0f ms",
			r.Idle.AuthzRSSMiB, r.Idle.IssuerRSSMiB, r.Idle.AuthzStartMS, r.Idle.IssuerStartMS)
	}
	if len(r.More) > 0 {
		printMore(w, r.More)
	}
	if len(r.Watch.Fleets) > 0 {
		r.Watch.print(w)
	}
}

// printer writes lines; a terminal that is gone is nobody's concern.
type printer struct{ w io.Writer }

func (p printer) line(format string, args ...any) { _, _ = fmt.Fprintf(p.w, format+"\n", args...) }

func (r report) printRatios(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	p := printer{t}
	p.line("\nTegata\trequests/s ÷ no-op\t÷ reference\tCPU ÷ no-op\t÷ reference")
	for _, l := range []struct {
		name string
		ratios
	}{{"one token", r.Ratios}, {"many tokens", r.RatiosMany}} {
		p.line("%s\t%.2f\t%.2f\t%.2f\t%.3f", l.name, l.RPSVsNoop, l.RPSVsReference, l.CPUVsNoop, l.CPUVsReference)
	}
	_ = t.Flush()
}

func table(w io.Writer, rows []row, envoy bool) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprint(t, "case\ttokens\trequests/s\tp50 ms\tp99 ms\tauthz CPU µs\t")
	if envoy {
		_, _ = fmt.Fprint(t, "Envoy CPU µs\t")
	}
	_, _ = fmt.Fprintln(t)
	for _, r := range rows {
		_, _ = fmt.Fprintf(t, "%s\t%d\t%.0f\t%.2f\t%.2f\t%.1f\t", r.Case, r.Tokens, r.RPS, r.P50, r.P99, r.AuthzCPU)
		if envoy {
			_, _ = fmt.Fprintf(t, "%.1f\t", r.EnvoyCPU)
		}
		_, _ = fmt.Fprintln(t)
	}
	_ = t.Flush()
}

// write writes the report as JSON.
func (r report) write(path string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	if err := os.WriteFile(path, append(b, '\n'), 0o644); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}
