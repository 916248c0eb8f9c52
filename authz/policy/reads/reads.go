// Package reads finds every input path that compiled Rego modules can read,
// or says why no such list would be sound. It must not know what a request
// or a token is, nor evaluate anything.
//
// # The idea
//
// A decision may be remembered under a key made of the values that the policy
// could have looked at. Leaving one of them out is an authorization bypass,
// so the analysis over-approximates: every module counts, whether or not the
// entry rule reaches it; every reference rooted at input counts, wherever it
// stands; a reference is cut at its first part that is not a constant string;
// and a part of the syntax that this package does not know makes the policy
// uncacheable instead of being skipped. OPA's own dependencies.Base is not
// usable for this: it misses references that only test definedness.
package reads

import (
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// Reads is what evaluating a set of modules can depend on besides their data.
type Reads struct {
	// Paths are minimal prefixes below input, each at least one part long:
	// equal values at all of them mean an equal result.
	Paths []Path
	// Places are where the policy reads each of Paths, at the same index: the
	// first of the places in the order of files and lines.
	Places []Place
	// Findings say why no list of paths is sound. Empty means cacheable.
	Findings []Finding
}

// Cacheable reports whether equal values at Paths imply equal decisions.
func (r Reads) Cacheable() bool { return len(r.Findings) == 0 }

// Known reports whether Paths are all that the policy reads of its input.
// Unlike a cacheable one, it may depend on more than its input.
func (r Reads) Known() bool {
	return !slices.ContainsFunc(r.Findings, func(f Finding) bool { return !f.Impure })
}

// Path is a path below input, such as ["attributes", "request", "http", "method"].
type Path []string

func (p Path) String() string { return "input." + strings.Join(p, ".") }

// Ref returns the path as a reference below input, for ast.Value.Find.
func (p Path) Ref() ast.Ref {
	ref := make(ast.Ref, len(p))
	for i, part := range p {
		ref[i] = ast.StringTerm(part)
	}
	return ref
}

// Place is a line of a policy.
type Place struct {
	File string `json:"file"`
	Row  int    `json:"row"` // from 1
}

func (p Place) String() string { return fmt.Sprintf("%s:%d", p.File, p.Row) }

// Finding is one place that makes a policy uncacheable.
type Finding struct {
	Place
	What   string // the builtin, part of the syntax, or "input" that is to blame
	Why    string // one clause that names What
	Impure bool   // What is a builtin whose result depends on more than its arguments
}

func (f Finding) String() string { return f.Place.String() + ": " + f.Why }

// unflagged are builtins whose result depends on more than their arguments
// although OPA does not flag them: the first three read the clock, the last
// two may fetch a remote schema.
var unflagged = map[string]bool{
	"io.jwt.decode_verify":                                   true,
	"crypto.x509.parse_and_verify_certificates":              true,
	"crypto.x509.parse_and_verify_certificates_with_options": true,
	"json.match_schema":                                      true,
	"json.verify_schema":                                     true,
}

// Of analyses the modules of a compiler whose compilation has succeeded. The
// compiled form is the one to read: imports and local names are resolved in it.
func Of(c *ast.Compiler) Reads {
	a := analysis{impure: impureBuiltins(c)}
	for _, name := range slices.Sorted(mapKeys(c.Modules)) {
		a.module(c.Modules[name])
	}
	r := Reads{Findings: a.findings}
	for _, f := range minimal(a.found) {
		r.Paths, r.Places = append(r.Paths, f.path), append(r.Places, f.place)
	}
	return r
}

// impureBuiltins are the names that must not be mentioned: those OPA flags,
// our own list, and every builtin that is not one of OPA's.
func impureBuiltins(c *ast.Compiler) map[string]bool {
	impure := map[string]bool{}
	known := map[string]bool{}
	for _, b := range ast.Builtins {
		known[b.Name] = true
		if b.Nondeterministic || unflagged[b.Name] {
			impure[b.Name] = true
		}
	}
	if caps := c.Capabilities(); caps != nil {
		for _, b := range caps.Builtins {
			if !known[b.Name] || b.Nondeterministic {
				impure[b.Name] = true
			}
		}
	}
	return impure
}

// found is a path with a place that reads it.
type found struct {
	path  Path
	place Place
}

// minimal drops every path that has another as its prefix.
func minimal(all []found) []found {
	slices.SortStableFunc(all, func(a, b found) int { return slices.Compare(a.path, b.path) })
	var out []found
	for _, f := range all {
		if len(out) > 0 && isPrefix(out[len(out)-1].path, f.path) {
			continue
		}
		out = append(out, f)
	}
	return out
}

func isPrefix(short, long Path) bool {
	return len(short) <= len(long) && slices.Equal(short, long[:len(short)])
}

func mapKeys[K comparable, V any](m map[K]V) func(func(K) bool) {
	return func(yield func(K) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}
