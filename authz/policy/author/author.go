// Package author is what people who write policies need: tests, strict checks
// and formatting, by OPA's own tools; whether decisions can be remembered; and
// made-up requests, decided by the very steps that authz takes. It must not
// serve anybody: what it decides, nobody's request depends on.
package author

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/format"
	"github.com/open-policy-agent/opa/v1/loader"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/tester"
)

// ErrFailed means that what was asked ran, and the policies did not pass; the
// reasons are written already.
var ErrFailed = errors.New("failed")

// Test runs the tests below dir with OPA's runner and writes its report to w.
// It returns ErrFailed if a test fails or there is none.
func Test(ctx context.Context, dir string, w io.Writer) error {
	modules, store, err := tester.LoadWithRegoVersion([]string{dir}, nil, ast.RegoV1)
	if err != nil {
		return fmt.Errorf("loading %s: %w", dir, err)
	}
	var results chan *tester.Result
	err = storage.Txn(ctx, store, storage.TransactionParams{}, func(txn storage.Transaction) error {
		var err error
		results, err = tester.NewRunner().SetStore(store).SetModules(modules).EnableTracing(true).
			RaiseBuiltinErrors(true).RunTests(ctx, txn)
		if err != nil {
			return fmt.Errorf("running the tests of %s: %w", dir, err)
		}
		results, err = report(results, w)
		return err
	})
	return err
}

// report prints the results and says whether they pass.
func report(results chan *tester.Result, w io.Writer) (chan *tester.Result, error) {
	total, failed := 0, 0
	counted := make(chan *tester.Result)
	go func() {
		defer close(counted)
		for r := range results {
			if total++; !r.Pass() && !r.Skip {
				failed++
			}
			counted <- r
		}
	}()
	reporter := tester.PrettyReporter{Output: w, FailureLine: true, LocalVars: true}
	if err := reporter.Report(counted); err != nil {
		return nil, fmt.Errorf("writing the report: %w", err)
	}
	switch {
	case total == 0:
		_, _ = fmt.Fprintln(w, "no tests: a test is a rule named test_… in a file named …_test.rego")
		return nil, ErrFailed
	case failed > 0:
		return nil, ErrFailed
	}
	return nil, nil
}

// Check compiles everything below dir strictly. Its error names file and line.
func Check(_ context.Context, dir string) error {
	loaded, err := loader.NewFileLoader().WithRegoVersion(ast.RegoV1).WithProcessAnnotation(true).All([]string{dir})
	if err != nil {
		return fmt.Errorf("loading %s: %w", dir, err)
	}
	if len(loaded.Modules) == 0 {
		return fmt.Errorf("loading %s: no .rego file", dir)
	}
	compiler := ast.NewCompiler().WithStrict(true).WithEnablePrintStatements(true)
	if compiler.Compile(loaded.ParsedModules()); compiler.Failed() {
		return fmt.Errorf("compiling %s: %w", dir, compiler.Errors)
	}
	return nil
}

// Format formats the Rego files below dir as OPA does and returns those that
// were not; with write it rewrites them.
func Format(dir string, write bool) (changed []string, err error) {
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".rego") {
			return err
		}
		differs, err := formatFile(path, write)
		if differs {
			changed = append(changed, path)
		}
		return err
	})
	return changed, err
}

func formatFile(path string, write bool) (differs bool, err error) {
	source, err := os.ReadFile(path)
	if err != nil {
		return false, err
	}
	formatted, err := format.SourceWithOpts(path, source, format.Opts{RegoVersion: ast.RegoV1})
	if err != nil {
		return false, fmt.Errorf("formatting: %w", err)
	}
	if bytes.Equal(source, formatted) {
		return false, nil
	}
	if write {
		info, err := os.Stat(path)
		if err != nil {
			return true, err
		}
		return true, os.WriteFile(path, formatted, info.Mode().Perm())
	}
	return true, nil
}
