package login

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/tegata/tegata/internal/jose"
	"github.com/tegata/tegata/issuer/client"
	"github.com/tegata/tegata/issuer/realm"
)

// FuzzRequestObject holds that the payload of a signed request that is taken
// has its client's name, no request within, and parameters that can be kept and
// sent as they are.
func FuzzRequestObject(f *testing.F) {
	for _, payload := range []string{
		`{"client_id":"app","scope":"openid"}`, `{"client_id":"app","iss":"app","aud":"https://id.example/realms/demo","exp":4000000000,"nbf":1}`,
		`{"client_id":"app","aud":["x","https://id.example/realms/demo"]}`, `{"client_id":"app","claims":{"id_token":{"acr":null}},"max_age":100}`,
		`{"client_id":"app","exp":1e300}`, `{"client_id":"app","exp":"x"}`, `{"client_id":"app","request":"x"}`, `{"client_id":"app","request_uri":["x"]}`,
		`{"client_id":"app","nonce":"a\u0000b"}`, `{"client_id":"app","nonce":"\ud800"}`, `{"client_id":"app","client_id":"other"}`, `{"client_id":"app","resource":["a","b"]}`,
		`[]`, `null`, `{`, `{"client_id":"app","x":true,"y":null,"z":[1,{"a":"b"}]}`, "{\"client_id\":\"app\",\"n\":\"\xff\"}",
	} {
		f.Add([]byte(payload))
	}
	r := realm.Realm{Issuer: "https://id.example/realms/demo"}
	c := client.Client{ClientID: "app"}
	f.Fuzz(func(t *testing.T, payload []byte) {
		var claims objectClaims
		if jose.ReadClaims(payload, &claims) != nil || claims.check(r, c, time.Unix(1_800_000_000, 0)) != nil {
			return
		}
		members, err := jose.ReadObject(payload)
		if err != nil {
			return
		}
		values, err := objectParameters(members)
		if err != nil {
			return
		}
		if values["client_id"] != "app" || values["request"] != "" || values["request_uri"] != "" {
			t.Errorf("%s: %v", payload, values)
		}
		for name, v := range values {
			if !utf8.ValidString(name) || !utf8.ValidString(v) || strings.Contains(v, "\x00") {
				t.Errorf("%s: %q is %q", payload, name, v)
			}
		}
		for _, uri := range claims.Resource {
			if !utf8.ValidString(uri) {
				t.Errorf("%s: resource %q", payload, uri)
			}
		}
	})
}

// FuzzDetails holds that authorization details that are taken read the same
// when they are read again, since that is how they come into a token.
func FuzzDetails(f *testing.F) {
	for _, text := range []string{
		`[{"type":"payment"}]`, `[{"type":"payment","amount":1.50,"to":["a",null,true,{"b":"<"}]}]`, `[]`, `{}`, `[1]`, `[{}],"x":[]`, `[{"type":"a","type":"b"}]`,
		`[{"n":123456789012345678901234567890}]`, `[{"n":1e400}]`, `[{"s":"\ud800"}]`, `[{"s":"\u0000"}]`, "[{\"s\":\"\xff\"}]", `[{"a":{"a":{"a":{}}}}]`,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		details, err := parseDetails(text)
		if err != nil {
			return
		}
		if len(details) == 0 || len(details) > maxDetails {
			t.Errorf("%q: %d details", text, len(details))
		}
		once, err := json.Marshal(details)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if len(once) > maxParameter {
			return // escaping made it longer than what may come in
		}
		again, err := parseDetails(string(once))
		if err != nil || !reflect.DeepEqual(again, details) {
			t.Errorf("%q: %s, %v", text, once, err)
		}
	})
}
