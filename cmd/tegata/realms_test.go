package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestAnExportOfKeycloakIsARealmFile, as it is; what somebody has changed in it
// that would be lost is an error, where it stands.
func TestAnExportOfKeycloakIsARealmFile(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../issuer/testdata/keycloak-26.7.3-fresh.json")
	if err != nil {
		t.Fatal(err)
	}
	read := func(from, to string) error {
		t.Helper()
		changed := strings.Replace(string(text), from, to, 1)
		if from != "" && changed == string(text) {
			t.Fatalf("there is no %s", from)
		}
		path := filepath.Join(t.TempDir(), "realm.json")
		if err := os.WriteFile(path, []byte(changed), 0o600); err != nil {
			t.Fatal(err)
		}
		realms, err := readRealms([]string{path})
		if err == nil && (len(realms) != 1 || realms[0].Realm != "fresh" || len(realms[0].Clients) != 6) {
			t.Errorf("read %+v", realms)
		}
		return err
	}
	if err := read("", ""); err != nil {
		t.Error(err)
	}
	for name, tt := range map[string]struct{ from, to, want string }{
		"a lockout":         {`"bruteForceProtected": false`, `"bruteForceProtected": true`, `realm.json:38:2: "bruteForceProtected": is not there yet`},
		"an unknown member": {`"bruteForceProtected"`, `"bruteForceProtekted"`, `"bruteForceProtekted": unknown key`},
		"one of a client":   {`"surrogateAuthRequired"`, `"surrogateAuthRequiret"`, `"surrogateAuthRequiret": unknown key`},
		"a broken value":    {`"accessTokenLifespan": 300`, `"accessTokenLifespan": "x"`, "accessTokenLifespan"},
		"given twice":       {`"bruteForceProtected": false`, `"bruteForceProtected": false, "bruteForceProtected": false`, "already defined"},
	} {
		if err := read(tt.from, tt.to); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want an error with %q", name, err, tt.want)
		}
	}
}
