package grant

import (
	"testing"

	"github.com/tegata/tegata/issuer/client"
	"github.com/tegata/tegata/issuer/session"
)

// TestCodesOfAnAnnouncedKey are redeemed with its proof alone (RFC 9449 §10).
func TestCodesOfAnAnnouncedKey(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		announced, proved string
		want              string // error; empty: redeemed
	}{
		"none announced, none proved": {"", "", ""},
		"none announced":              {"", "k", ""},
		"the same":                    {"k", "k", ""},
		"another":                     {"k", "other", "invalid_dpop_proof: DPoP Proof public key thumbprint does not match dpop_jkt"},
		"no proof":                    {"k", "", "invalid_dpop_proof: DPoP proof is missing"},
	} {
		req := request{client: client.Client{ClientID: "app"}, proved: session.Binding{JKT: tt.proved}}
		got := ""
		if err := req.checkCode(session.Code{ClientID: "app", DPoPKey: tt.announced}); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}
