package stack

import (
	"bytes"
	"strings"
	"testing"

	"github.com/tegata/tegata/manifests/envoy"
)

// TestBootstrapHasThePortsThatAreReplaced: the stack replaces four default
// ports; each must stand in the file exactly once, in the form it looks for.
func TestBootstrapHasThePortsThatAreReplaced(t *testing.T) {
	t.Parallel()
	for _, port := range []string{"8000", "3000", "9191", "9901"} {
		if n := bytes.Count(envoy.Bootstrap, []byte("port_value: "+port+" }")); n != 1 {
			t.Errorf("port %s stands %d times in envoy.yaml, want once", port, n)
		}
	}
}

func TestMoreRealmsStandBesideTheFirst(t *testing.T) {
	t.Parallel()
	config, err := tegataConfig(Config{More: [][]byte{[]byte("realm: a"), []byte("realm: b")}}, make([]int, numPorts))
	if err != nil {
		t.Fatal(err)
	}
	if want := "realms: [realm.yaml, realm-1.yaml, realm-2.yaml]"; !strings.Contains(string(config), want) {
		t.Errorf("%q is not in the configuration:\n%s", want, config)
	}
}
