package author

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const shipped = "../../../policies"

func TestShippedPoliciesPass(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := Test(t.Context(), shipped, &out); err != nil {
		t.Errorf("%v\n%s", err, &out)
	}
	if err := Check(t.Context(), shipped); err != nil {
		t.Error(err)
	}
	if changed, err := Format(shipped, false); err != nil || len(changed) > 0 {
		t.Errorf("not formatted: %v, %v", changed, err)
	}
}

func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestAFailingTestFailsAndIsShown(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{
		"p.rego":      "package p\n\nallow if input.x\n",
		"p_test.rego": "package p_test\n\nimport data.p\n\ntest_it if p.allow with input as {}\n\ntest_ok if true\n",
	})
	var out bytes.Buffer
	if err := Test(t.Context(), dir, &out); !errors.Is(err, ErrFailed) {
		t.Errorf("error = %v, want ErrFailed", err)
	}
	for _, want := range []string{"test_it: FAIL", "FAIL: 1/2", "p_test.rego:5"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, &out)
		}
	}
}

func TestNoTestsIsAFailure(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	dir := folder(t, map[string]string{"p.rego": "package p\n"})
	if err := Test(t.Context(), dir, &out); !errors.Is(err, ErrFailed) || !strings.Contains(out.String(), "no tests") {
		t.Errorf("error = %v, output %q", err, &out)
	}
}

func TestCheckNamesFileAndLine(t *testing.T) {
	t.Parallel()
	for name, source := range map[string]string{
		"syntax":          "package p\nallow if {\n",
		"unsafe":          "package p\nallow if x == 1\n",
		"unused import":   "package p\nimport data.q\nallow := true\n",
		"unused variable": "package p\nallow if { x := 1 }\n",
	} {
		err := Check(t.Context(), folder(t, map[string]string{"broken.rego": source}))
		if err == nil || !strings.Contains(err.Error(), "broken.rego:") {
			t.Errorf("%s: error = %v", name, err)
		}
	}
	if err := Check(t.Context(), t.TempDir()); err == nil {
		t.Error("an empty folder passes")
	}
}

func TestFormatListsThenRewrites(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{"p.rego": "package p\nallow   if true\n", "q.rego": "package q\n\nallow := 1\n"})
	for _, write := range []bool{false, true} {
		changed, err := Format(dir, write)
		if err != nil || len(changed) != 1 || filepath.Base(changed[0]) != "p.rego" {
			t.Fatalf("changed = %v, %v", changed, err)
		}
	}
	if changed, err := Format(dir, false); err != nil || len(changed) != 0 {
		t.Errorf("after writing: %v, %v", changed, err)
	}
}
