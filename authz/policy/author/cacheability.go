package author

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tegata/tegata/authz/policy"
	"github.com/tegata/tegata/authz/policy/reads"
)

// Cacheability writes to w whether authz can remember the decisions of the
// policies in dir: which input they depend on, or else each place that makes
// remembering unsound. It returns ErrFailed in that case. entry is the rule
// that decides; empty: authz's default.
func Cacheability(ctx context.Context, dir, entry string, w io.Writer) error {
	p, err := load(ctx, dir, entry)
	if err != nil {
		return err
	}
	what := p.Reads()
	report := cacheability{dir: dir, entry: p.Entry()}
	if what.Cacheable() {
		return write(w, report.cacheable(what))
	}
	if err := write(w, report.uncacheable(what)); err != nil {
		return err
	}
	return ErrFailed
}

// load compiles the policies in dir as authz does.
func load(ctx context.Context, dir, entry string) (*policy.Policy, error) {
	engine, err := policy.New(ctx, policy.Config{Dir: dir, Entry: entry})
	if err != nil {
		return nil, err
	}
	return engine.Current(), nil
}

func write(w io.Writer, text string) error {
	_, err := io.WriteString(w, text)
	return err
}

// cacheability words the report.
type cacheability struct{ dir, entry string }

func (c cacheability) cacheable(r reads.Reads) string {
	var b strings.Builder
	fmt.Fprintf(&b, "cacheable: a decision of %s is remembered with its token, for requests that are equal in\n", c.entry)
	for i, path := range r.Paths {
		fmt.Fprintf(&b, "  %-45s %s\n", path, c.at(r.Places[i]))
	}
	if len(r.Paths) == 0 {
		b.WriteString("  nothing: the policy does not look at the request\n")
	}
	for i, path := range r.Paths {
		if why := volatile(path); why != "" {
			fmt.Fprintf(&b, "but hardly ever found again: %s %s (%s)\n", path, why, c.at(r.Places[i]))
		}
	}
	return b.String()
}

func (c cacheability) uncacheable(r reads.Reads) string {
	var b strings.Builder
	fmt.Fprintf(&b, "not cacheable: every request evaluates %s, because\n", c.entry)
	said := map[reads.Finding]bool{}
	for _, f := range r.Findings {
		if said[f] {
			continue
		}
		said[f] = true
		fmt.Fprintf(&b, "  %s: %s\n", c.at(f.Place), f.Why)
		if line := sourceLine(c.dir, f.Place); line != "" {
			fmt.Fprintf(&b, "      %s\n", line)
		}
	}
	if slices.ContainsFunc(r.Findings, func(f reads.Finding) bool { return !f.Impure }) {
		b.WriteString("what helps: name the members of input that are needed, such as input.attributes.request.http.method\n")
	}
	return b.String()
}

// at is a place as a path that an editor can open.
func (c cacheability) at(p reads.Place) string { return filepath.Join(c.dir, p.String()) }

// sourceLine is the line as written, or empty if it is gone meanwhile.
func sourceLine(dir string, p reads.Place) string {
	content, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(p.File)))
	lines := strings.Split(string(content), "\n")
	if err != nil || p.Row < 1 || p.Row > len(lines) {
		return ""
	}
	return strings.TrimSpace(lines[p.Row-1])
}

// restless are the inputs that differ from one request to the next.
var restless = []struct {
	path reads.Path
	why  string
}{
	{reads.Path{"attributes", "request", "time"}, "is the time of the request"},
	{reads.Path{"attributes", "request", "http", "id"}, "is the id of the request"},
	{reads.Path{"attributes", "request", "http", "headers", "x-request-id"}, "is the id of the request"},
	{reads.Path{"attributes", "request", "http", "headers", "traceparent"}, "is the id of a trace"},
	{reads.Path{"attributes", "source", "address"}, "has the port of the connection"},
	{reads.Path{"revocation", "revision"}, "moves with every revocation"},
}

// volatile says what makes a value at path or below it differ, or nothing.
func volatile(path reads.Path) string {
	for _, r := range restless {
		switch {
		case len(path) >= len(r.path) && slices.Equal(path[:len(r.path)], r.path):
			return r.why
		case len(path) < len(r.path) && slices.Equal(path, r.path[:len(path)]):
			return "holds " + r.path.String() + ", which " + r.why
		}
	}
	return ""
}
