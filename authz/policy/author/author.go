// Package author is what people who write policies need: tests, strict checks
// and formatting, by OPA's own tools. It must not know requests or tokens.
package author

import (
	"context"
	"errors"
	"io"
)

// ErrFailed means that what was asked ran, and the policies did not pass; the
// reasons are written already.
var ErrFailed = errors.New("failed")

// Test runs the tests below dir with OPA's runner and writes its report to w.
// It returns ErrFailed if a test fails or there is none.
func Test(ctx context.Context, dir string, w io.Writer) error { panic("unbuilt") }

// Check compiles everything below dir strictly. Its error names file and line.
func Check(ctx context.Context, dir string) error { panic("unbuilt") }

// Format formats the Rego files below dir as OPA does and returns those that
// were not; with write it rewrites them.
func Format(dir string, write bool) (changed []string, err error) { panic("unbuilt") }
