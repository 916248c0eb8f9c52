package grant

import (
	"testing"

	"github.com/tegata/tegata/issuer/client"
	"github.com/tegata/tegata/issuer/realm"
)

// TestMayAct (RFC 8693 §4.4).
func TestMayAct(t *testing.T) {
	t.Parallel()
	req := request{
		realm:  realm.Realm{Issuer: "https://id.example/realms/demo"},
		client: client.Client{ID: "c-1", ClientID: "api"},
	}
	type object = map[string]any
	for name, tt := range map[string]struct {
		claim any
		want  bool
	}{
		"nothing said":                {nil, true},
		"the caller":                  {object{"sub": "c-1"}, true},
		"the caller, by client_id":    {object{"client_id": "api"}, true},
		"the caller, of this issuer":  {object{"sub": "c-1", "iss": "https://id.example/realms/demo"}, true},
		"somebody else":               {object{"sub": "c-2"}, false},
		"the caller of another realm": {object{"sub": "c-1", "iss": "https://id.example/realms/other"}, false},
		"one of two others":           {object{"sub": "c-1", "client_id": "web"}, false},
		"more than is understood":     {object{"sub": "c-1", "group": "x"}, false},
		"an issuer alone":             {object{"iss": "https://id.example/realms/demo"}, false},
		"nobody":                      {object{}, false},
		"no object":                   {"c-1", false},
		"a sub that is no text":       {object{"sub": []any{"c-1"}}, false},
	} {
		if got := mayAct(tt.claim, req); got != tt.want {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}
