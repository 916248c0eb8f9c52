package issuer

import (
	"net/http"
	"testing"
)

// FuzzForwarded: whatever a proxy hands on, what is read are certificates, not
// too many, or nothing.
func FuzzForwarded(f *testing.F) {
	for _, value := range []string{"", `Cert="x"`, `Hash=a;Cert="-----BEGIN%20CERTIFICATE-----";Chain=`, ":AAAA:", `Subject="a\",;b";URI=`, "-----BEGIN%20CERTIFICATE-----%0A-----END%20CERTIFICATE-----"} {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		for name := range forwardedReaders {
			chain, err := forwarded(http.Header{name: {value}}, name)
			if err != nil && chain != nil && len(chain) > maxChain+1 {
				t.Fatalf("%d certificates and %v", len(chain), err)
			}
			for _, c := range chain {
				if err == nil && (c == nil || len(c.Raw) == 0) {
					t.Fatal("an empty certificate")
				}
			}
		}
	})
}
