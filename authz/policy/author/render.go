package author

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tegata/tegata/authz/policy"
)

// WriteText writes the answer for people.
func (a Answer) WriteText(w io.Writer) error {
	var b strings.Builder
	a.render(&b)
	return write(w, b.String())
}

func (a Answer) render(b *strings.Builder) {
	if a.Allowed {
		b.WriteString("allowed\n")
	} else {
		fmt.Fprintf(b, "refused: %d %s\n", a.Status, a.Reason)
	}
	line(b, "route", a.Route)
	for _, reason := range a.Reasons {
		line(b, "reason", reason)
	}
	line(b, "detail", a.Detail)
	line(b, "would suffice", strings.Join(a.RequiredScopes, " "))
	line(b, "is missing", strings.Join(a.MissingScopes, " "))
	to := "to the caller"
	if a.Allowed {
		to = "to upstream"
	}
	headers(b, to, a.Headers)
	line(b, to, strings.TrimSpace(a.Body))
	for _, name := range a.RequestHeadersToRemove {
		line(b, "taken away", name)
	}
	headers(b, "to the caller", a.ResponseHeadersToAdd)
	for _, name := range slices.Sorted(maps.Keys(a.QueryParametersToSet)) {
		line(b, "query set", name+"="+a.QueryParametersToSet[name])
	}
	for _, name := range a.QueryParametersToRemove {
		line(b, "query removed", name)
	}
	for _, name := range slices.Sorted(maps.Keys(a.DynamicMetadata)) {
		line(b, "metadata", fmt.Sprintf("%s=%v", name, a.DynamicMetadata[name]))
	}
}

func line(b *strings.Builder, what, value string) {
	if value != "" {
		fmt.Fprintf(b, "  %-14s %s\n", what, value)
	}
}

func headers(b *strings.Builder, what string, h http.Header) {
	for _, name := range slices.Sorted(maps.Keys(h)) {
		for _, value := range h[name] {
			line(b, what, name+": "+value)
		}
	}
}

// WriteText writes the explanation for people. Places are below dir.
func (e Explanation) WriteText(w io.Writer, dir string) error {
	var b strings.Builder
	e.render(&b)
	if len(e.Rules) > 0 {
		b.WriteString("\nrules, in the order in which they were asked for:\n")
	}
	width := 0
	for _, s := range e.Rules {
		width = max(width, len(filepath.Join(dir, s.Place.String())))
	}
	for _, s := range e.Rules {
		fmt.Fprintf(&b, "  %-*s  %s%s\n", width, filepath.Join(dir, s.Place.String()), strings.Repeat("  ", s.Depth), outcome(s))
	}
	if len(e.Decided) > 0 {
		b.WriteString("\ndecided by:")
		for _, at := range e.Decided {
			b.WriteString(" " + filepath.Join(dir, at))
		}
		b.WriteString("\n")
	}
	if !e.Allowed {
		fmt.Fprintf(&b, "would be allowed: %s\n", e.Advice)
	}
	return write(w, b.String())
}

// outcome says what became of a rule.
func outcome(s policy.Step) string {
	name := strings.TrimPrefix(s.Rule, "data.")
	switch {
	case len(s.Values) > 0:
		return name + " = " + strings.Join(s.Values, ", ")
	case s.Failed != nil:
		return fmt.Sprintf("%s: no, line %d: %s", name, s.Failed.Place.Row, s.Failed.Source)
	default:
		return name + ": no"
	}
}

func (a *Advice) String() string {
	switch {
	case a == nil:
		return "no scope of a token is known to help"
	case a.Token && len(a.Scopes) == 0:
		return "with any token"
	case a.Token:
		return "with a token of scope " + strings.Join(a.Scopes, " ")
	default:
		return "with more scope: " + strings.Join(a.Scopes, " ")
	}
}
