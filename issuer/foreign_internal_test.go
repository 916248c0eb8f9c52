package issuer

import (
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"
)

// recorded is what Keycloak 26.7.3 exports of a realm that nobody has touched,
// without its keys.
func recorded(t *testing.T) map[string]any {
	t.Helper()
	text, err := os.ReadFile("testdata/keycloak-26.7.3-fresh.json")
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]any
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestWhatAFreshRealmSaysCanBeIgnored(t *testing.T) {
	t.Parallel()
	all := recorded(t)
	for name, value := range all {
		if foreign, err := Foreign(name, value); foreign && err != nil {
			got, _ := digest(name, value)
			t.Errorf("%s: %v; its digest is %q", name, err, got)
		}
	}
	for name := range freshMembers {
		if _, ok := all[name]; !ok {
			t.Errorf("%s: no member of a fresh realm", name)
		}
	}
	for f := range reflect.TypeFor[Realm]().Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if foreign, _ := Foreign(name, all[name]); foreign {
			t.Errorf("%s counts here, and would be ignored", name)
		}
	}
	if foreign, _ := Foreign("nonsense", nil); foreign {
		t.Error("what is no member at all would be ignored")
	}
}

// TestWhatSomebodyWantedIsNotIgnored: a second factor, a lockout, a directory.
func TestWhatSomebodyWantedIsNotIgnored(t *testing.T) {
	t.Parallel()
	all := recorded(t)
	flows := all["authenticationFlows"].([]any)
	for i := range flows {
		flow := flows[i].(map[string]any)
		flow["id"] = "another"
		if flow["alias"] == "Browser - Conditional 2FA" {
			flow["authenticationExecutions"].([]any)[0].(map[string]any)["requirement"] = "DISABLED"
		}
	}
	components := all["components"].(map[string]any)
	components["org.keycloak.keys.KeyProvider"] = nil // made anew here
	if _, err := Foreign("components", components); err != nil {
		t.Errorf("other keys: %v", err)
	}
	components["org.keycloak.storage.UserStorageProvider"] = []any{map[string]any{"providerId": "ldap"}}
	for name, value := range map[string]any{
		"authenticationFlows": flows, "components": components, "bruteForceProtected": true,
		"identityProviders": []any{map[string]any{"alias": "other"}}, "failureFactor": 3, "smtpServer": map[string]any{"host": "x"},
	} {
		if foreign, err := Foreign(name, value); !foreign || err == nil {
			t.Errorf("%s is ignored", name)
		}
	}
}
