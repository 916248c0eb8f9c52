package main

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// moreRow compares one variant with another: medians over the rounds, and of
// the ratios within the rounds. What a row does not measure is 0 and left out.
type moreRow struct {
	Case       string  `json:"case"`
	Against    string  `json:"against"`
	CPU        float64 `json:"cpu_us,omitempty"`
	AgainstCPU float64 `json:"against_cpu_us,omitempty"`
	P99        float64 `json:"p99_ms,omitempty"`
	AgainstP99 float64 `json:"against_p99_ms,omitempty"`
	MiB        float64 `json:"rss_mib,omitempty"`
	AgainstMiB float64 `json:"against_rss_mib,omitempty"`
	LoadMS     float64 `json:"load_ms,omitempty"` // longer from start to ready
	Reloads    int     `json:"reloads,omitempty"`
	Ratio      float64 `json:"ratio"`

	// Target is the most that the ratio may be, or the MiB that may be added.
	// Without one the row is there to be looked at.
	Target    float64 `json:"target,omitempty"`
	TargetMiB float64 `json:"target_mib,omitempty"`
	OK        bool    `json:"ok"`
}

// judge fills in OK.
func (r moreRow) judge() moreRow {
	r.OK = (r.Target == 0 || r.Ratio <= r.Target) && (r.TargetMiB == 0 || r.MiB-r.AgainstMiB <= r.TargetMiB)
	return r
}

// rows are what the rounds say of each question.
func (m *more) rows() ([]moreRow, error) {
	warm := func(v *variant) key { return key{v.Name, asWarm} }
	fresh := func(v *variant) key { return key{v.Name, asFresh} }
	bare := key{bareSignature, asFresh}
	rows := []moreRow{
		m.series.cpuRow("warm", "no-op", 0.8, []key{warm(m.plain)}, []key{warm(m.noop)}),
		m.series.cpuRow("token seen first", "ES256 check + no-op", 1.5, []key{fresh(m.news)}, []key{bare, warm(m.noop)}),
		m.series.cpuRow("1,000 routes, warm", "10 routes", 1.1, []key{warm(m.routes1k)}, []key{warm(m.plain)}),
		m.series.cpuRow("10,000 routes, warm", "10 routes", 1.1, []key{warm(m.routes10k)}, []key{warm(m.plain)}),
		m.series.cpuRow("1,000,000 revocations, warm", "none", 1.05, []key{warm(m.revoked)}, []key{warm(m.plain)}),
		m.series.cpuRow("1,000,000 revocations, token seen first", "none", 1.05, []key{fresh(m.newsRevoked)}, []key{fresh(m.news)}),
	}
	memory := moreRow{Case: "1,000,000 revocations, memory", Against: "none", TargetMiB: 64}
	var err error
	if memory.MiB, err = rss(m.revoked.pid()); err != nil {
		return nil, err
	}
	if memory.AgainstMiB, err = rss(m.plain.pid()); err != nil {
		return nil, err
	}
	memory.MiB, memory.AgainstMiB = round(memory.MiB), round(memory.AgainstMiB)
	memory.Ratio = round(memory.MiB / memory.AgainstMiB)
	memory.LoadMS = round(ms(m.loaded[m.revoked] - m.loaded[m.plain]))
	reloads := m.series.p99Row("policy reloads, p99", "none", 2, key{m.reloaded.Name, asReloading}, warm(m.reloaded))
	reloads.Reloads = m.reloads
	return append(rows, memory.judge(), reloads), nil
}

// cpuRow compares CPU, added up over ours and over theirs.
func (s series) cpuRow(name, against string, target float64, ours, theirs []key) moreRow {
	cpu := func(m measurement) float64 { return m.authzCPU }
	us, them := s.sums(ours, cpu), s.sums(theirs, cpu)
	return moreRow{
		Case: name, Against: against, Target: target,
		CPU: round(median(us)), AgainstCPU: round(median(them)), Ratio: medianRatio(s.sums(ours, cpu), s.sums(theirs, cpu)),
	}.judge()
}

// p99Row compares the 99th percentile of the latency.
func (s series) p99Row(name, against string, target float64, ours, theirs key) moreRow {
	p99 := func(m measurement) float64 { return m.p99 }
	us, them := []key{ours}, []key{theirs}
	return moreRow{
		Case: name, Against: against, Target: target,
		P99: round(median(s.sums(us, p99))), AgainstP99: round(median(s.sums(them, p99))), Ratio: medianRatio(s.sums(us, p99), s.sums(them, p99)),
	}.judge()
}

// sums are, for each round that all keys have, the sum of one figure.
func (s series) sums(keys []key, f func(measurement) float64) []float64 {
	rounds := len(s[keys[0]])
	for _, k := range keys {
		rounds = min(rounds, len(s[k]))
	}
	out := make([]float64, rounds)
	for _, k := range keys {
		for i := range out {
			out[i] += f(s[k][i])
		}
	}
	return out
}

// medianRatio is the median of the ratios within the rounds.
func medianRatio(ours, theirs []float64) float64 {
	var values []float64
	for i := range min(len(ours), len(theirs)) {
		if theirs[i] > 0 {
			values = append(values, ours[i]/theirs[i])
		}
	}
	return round(median(values))
}

func printMore(w io.Writer, rows []moreRow) {
	printer{w}.line("\nMore (direct gRPC, %d calls in flight; medians of interleaved rounds)", connections)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "case\tagainst\tmeasured\tratio\ttarget\t")
	for _, r := range rows {
		measured, target, ok := fmt.Sprintf("%.1f : %.1f µs CPU", r.CPU, r.AgainstCPU), fmt.Sprintf("≤ %.2f", r.Target), "met"
		if r.P99 > 0 {
			measured = fmt.Sprintf("%.2f : %.2f ms, %d reloads", r.P99, r.AgainstP99, r.Reloads)
		}
		if r.MiB > 0 {
			measured = fmt.Sprintf("%.1f : %.1f MiB, loaded in %.0f ms", r.MiB, r.AgainstMiB, r.LoadMS)
			target = fmt.Sprintf("≤ %.0f MiB more", r.TargetMiB)
		}
		if !r.OK {
			ok = "MISSED"
		}
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%.2f\t%s\t%s\n", r.Case, r.Against, measured, r.Ratio, target, ok)
	}
	_ = t.Flush()
}
