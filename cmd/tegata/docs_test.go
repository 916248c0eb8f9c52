package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/tegata/tegata/issuer"
)

// TestManifestsAreConfigurations: what is there to copy can be used.
func TestManifestsAreConfigurations(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../manifests/relay/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no manifests: %v", err)
	}
	for _, file := range files {
		if _, err := loadConfig(file, noEnv, nil); err != nil {
			t.Errorf("%v", err)
		}
	}
}

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

// TestDocumentedRealmsAreImported: what docs/conformance.md shows can be used as
// it stands.
func TestDocumentedRealmsAreImported(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/conformance.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(page, -1)
	if len(blocks) == 0 {
		t.Fatal("no realm on the page")
	}
	dir := t.TempDir()
	db, err := openStore(t.Context(), storeConfig{SQLite: filepath.Join(dir, "tegata.db")}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	iss, err := issuer.New(issuer.Config{BaseURL: "https://id.example.com", Stores: stores(db), WatchSource: db, Seal: make([]byte, 32)})
	if err != nil {
		t.Fatal(err)
	}
	for n, block := range blocks {
		file := filepath.Join(dir, fmt.Sprint(n, ".yml"))
		if err := os.WriteFile(file, block[1], 0o600); err != nil {
			t.Fatal(err)
		}
		realms, err := readRealms([]string{file})
		if err != nil {
			t.Fatal(err)
		}
		if err := iss.Import(t.Context(), realms[0]); err != nil {
			t.Errorf("realm %d: %v", n+1, err)
		}
	}
}
