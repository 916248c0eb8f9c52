package main

import (
	"os"
	"path/filepath"
	"testing"
)

// TestTegataDiffersFromKeycloakWhereItSaysSo: what a real Keycloak answered is
// answered here, but for the differences that are listed with their reasons.
func TestTegataDiffersFromKeycloakWhereItSaysSo(t *testing.T) {
	t.Parallel()
	tegata := os.Getenv("TEGATA_BIN")
	if tegata == "" {
		if os.Getenv("CI") != "" {
			t.Fatal("TEGATA_BIN is not set; make test sets it")
		}
		t.Skip("TEGATA_BIN is not set: run make test")
	}
	all := parse(file(t, "conversations.txt"))
	list, err := readKnown(file(t, "differences.txt"))
	if err != nil {
		t.Fatal(err)
	}
	ours, err := askTegata(t.Context(), all, tegata, "testdata")
	if err != nil {
		t.Fatal(err)
	}
	news, stale := judge(compare(all, read(file(t, "keycloak.txt")), ours), list)
	for _, d := range news {
		t.Errorf("not listed: %s", d)
	}
	for _, line := range stale {
		t.Errorf("listed, but there is no such difference: %s", line)
	}
}

// TestRecordingsReadBack: what is recorded is what is compared.
func TestRecordingsReadBack(t *testing.T) {
	t.Parallel()
	text := file(t, "keycloak.txt")
	if got := record(parse(text), read(text)); got != text {
		t.Error("keycloak.txt, read and written again, is another")
	}
}

func file(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
