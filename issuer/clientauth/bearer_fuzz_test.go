package clientauth

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/tegata/tegata/internal/jose"
	"github.com/tegata/tegata/issuer/client"
	"github.com/tegata/tegata/issuer/oauth"
)

// FuzzVouched: nobody is spoken for (RFC 7523 §3) but by what an issuer that is
// believed has signed for us, about somebody, for a while and for once; every
// error is an *oauth.Error.
func FuzzVouched(f *testing.F) {
	w := newWorld(f)
	keys := publicSet(f, w.key)
	web := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write(keys) }))
	f.Cleanup(web.Close)
	a, err := New(Config{Clients: w, Replay: w, Replayed: errReplayed, HTTP: web.Client(), Now: func() time.Time { return start }})
	if err != nil {
		f.Fatal(err)
	}
	c := client.Client{ClientID: "agent", Enabled: true, Attributes: map[string]string{
		"oauth2.jwt.authorization.grant.enabled": "true", "oauth2.jwt.authorization.grant.issuers": "https://idp.example " + web.URL,
	}}
	for _, payload := range []string{
		`{}`, `{"iss":"https://idp.example","sub":"alice","aud":"https://id.example/realms/demo","jti":"1","exp":1795420860,"iat":1795420800}`,
		`{"iss":"https://idp.example","sub":"alice","aud":["https://id.example/realms/demo","x"],"jti":"2","exp":1795420860}`,
		`{"iss":"https://idp.example","sub":"","aud":"https://id.example/realms/demo","jti":"3","exp":1e40}`,
		`{"iss":"https://idp.example","iss":"x","sub":"alice"}`, `{"iss":["https://idp.example"]}`, `null`, `[]`,
	} {
		f.Add([]byte(payload))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		assertion, err := w.key.Sign("JWT", payload)
		if err != nil {
			return
		}
		who, err := a.Vouched(t.Context(), testRealm, c, assertion)
		var e *oauth.Error
		if err != nil && !errors.As(err, &e) {
			t.Fatalf("error %v is not an *oauth.Error", err)
		}
		if err != nil {
			return
		}
		claims, err := jose.ReadObject(payload)
		if err != nil || who == "" || claims["sub"] != who || claims["iss"] != "https://idp.example" || claims["jti"] == "" || claims["exp"] == nil {
			t.Fatalf("%q is spoken for by %s", who, payload)
		}
		if end, ok := claims["exp"].(json.Number); !ok || end == "" {
			t.Fatalf("without an end: %s", payload)
		}
		if _, err := a.Vouched(t.Context(), testRealm, c, assertion); err == nil {
			t.Fatal("accepted twice")
		}
	})
}
