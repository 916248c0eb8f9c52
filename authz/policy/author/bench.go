package author

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"strconv"
	"time"

	"github.com/tegata/tegata/authz/check"
	"github.com/tegata/tegata/authz/policy"
)

// Figures are what one decision costs, without gRPC and without the first
// verification of the token.
type Figures struct {
	NanosPerOp  float64 `json:"ns_per_op"`
	AllocsPerOp float64 `json:"allocs_per_op"`
	BytesPerOp  float64 `json:"bytes_per_op"`
	PerSecond   float64 `json:"decisions_per_second"` // of one processor
}

// Measurement is what deciding a Question costs.
type Measurement struct {
	Allowed    bool     `json:"allowed"`
	Evaluated  Figures  `json:"evaluated"`            // every time
	Remembered *Figures `json:"remembered,omitempty"` // found again; nil if this decision never is
	Never      string   `json:"never_remembered,omitempty"`
}

// Bench decides a question again and again, about as long as told for each
// figure.
func Bench(ctx context.Context, q Question, long time.Duration) (Measurement, error) {
	r, err := rehearse(ctx, q)
	if err != nil {
		return Measurement{}, err
	}
	m := Measurement{Allowed: r.decision.Allowed, Never: r.never()}
	for _, noCache := range []bool{true, false} {
		if !noCache && m.Never != "" {
			break
		}
		engine, err := policy.New(ctx, policy.Config{Dir: q.Dir, Entry: q.Entry, Deadline: patience})
		if err != nil {
			return Measurement{}, err
		}
		checker, err := newChecker(q, engine, func(c *check.Config) { c.NoCache = noCache })
		if err != nil {
			return Measurement{}, err
		}
		f, err := measure(ctx, long, func() { checker.Check(ctx, r.request) })
		if err != nil {
			return Measurement{}, err
		}
		if noCache {
			m.Evaluated = f
		} else {
			m.Remembered = &f
		}
	}
	return m, nil
}

// never says why the decision is not remembered; empty if it is.
func (r *rehearsal) never() string {
	switch d := &r.decision; {
	case !r.policy.Reads().Cacheable():
		return "the policy is not cacheable: tegata policy check --cacheability shows why"
	case d.Token == nil:
		return "only decisions about a token are"
	case !r.reachedPolicy():
		return "the policy was not asked"
	case d.Reason == check.PolicyError:
		return "errors never are"
	}
	return ""
}

// measure runs f in batches until it has taken long enough.
func measure(ctx context.Context, long time.Duration, f func()) (Figures, error) {
	f() // what is built lazily is built now
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	start, n, batch := time.Now(), 0, 1
	for time.Since(start) < long {
		for range batch {
			f()
		}
		n += batch
		batch = min(2*batch, 1000)
		if err := ctx.Err(); err != nil {
			return Figures{}, err
		}
	}
	took := float64(time.Since(start).Nanoseconds()) / float64(n)
	runtime.ReadMemStats(&after)
	return Figures{
		NanosPerOp:  took,
		AllocsPerOp: float64(after.Mallocs-before.Mallocs) / float64(n),
		BytesPerOp:  float64(after.TotalAlloc-before.TotalAlloc) / float64(n),
		PerSecond:   float64(time.Second.Nanoseconds()) / took,
	}, nil
}

// WriteText writes the figures for people.
func (m Measurement) WriteText(w io.Writer) error {
	text := fmt.Sprintf("%-12s%14s%12s%12s%30s\n", "", "time", "allocations", "bytes", "decisions/s of a processor")
	text += m.Evaluated.row("evaluated")
	if m.Remembered != nil {
		text += m.Remembered.row("remembered")
	} else {
		text += "never remembered: " + m.Never + "\n"
	}
	return write(w, text)
}

func (f Figures) row(name string) string {
	took := time.Duration(f.NanosPerOp).Round(10 * time.Nanosecond)
	return fmt.Sprintf("%-12s%14s%12.0f%12.0f%30s\n", name, took, f.AllocsPerOp, f.BytesPerOp, thousands(int64(f.PerSecond)))
}

// thousands writes a number so that it can be read.
func thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
