package dpop

import (
	"net/url"
	"strings"
	"testing"
)

// FuzzTarget holds that what is taken for an endpoint's URL has its path as it
// is, and its host; and that comparing is the same both ways.
func FuzzTarget(f *testing.F) {
	const endpoint = "https://id.example/realms/demo/protocol/openid-connect/token"
	for _, htu := range []string{
		endpoint, endpoint + "?x", endpoint + "#x", strings.ToUpper(endpoint), "https://id.example:443/realms/demo/protocol/openid-connect/token",
		"https://id.example:0443/realms/demo/protocol/openid-connect/token", "https://id.example./realms/demo/protocol/openid-connect/token", "", "//", "https://[::1]/", "https://me@id.example/",
	} {
		f.Add(htu)
	}
	f.Fuzz(func(t *testing.T, htu string) {
		same := sameTarget(htu, endpoint)
		if same != sameTarget(endpoint, htu) {
			t.Errorf("%q is the same one way only", htu)
		}
		if !same {
			return
		}
		u, err := url.Parse(htu)
		if err != nil || u.EscapedPath() != "/realms/demo/protocol/openid-connect/token" || !strings.EqualFold(u.Hostname(), "id.example") || u.User != nil {
			t.Errorf("%q is taken: %v", htu, err)
		}
	})
}
