package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// TestDocumentedIssuersAreConfigurations: what docs/issuers.md shows can be
// used as it stands.
func TestDocumentedIssuersAreConfigurations(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/issuers.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(page, -1)
	if len(blocks) == 0 {
		t.Fatal("no configuration on the page")
	}
	for n, block := range blocks {
		file := filepath.Join(t.TempDir(), fmt.Sprint(n, ".yml"))
		if err := os.WriteFile(file, block[1], 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := loadConfig(file, noEnv, nil); err != nil {
			t.Errorf("configuration %d: %v", n+1, err)
		}
	}
}
