package verify

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tegata/tegata/revocation"
)

func TestIdentityAsText(t *testing.T) {
	t.Parallel()
	whole := Identity{
		Revocation: revocation.Token{
			Issuer: home, ID: "onrtac:1", Session: "s-1", Subject: "alice", Client: "shop", Key: "k1",
			Rev: 1<<63 + 1, HasRev: true, IssuedAt: time.Unix(1_800_000_000, 0),
		},
		Expires: time.Unix(1_800_000_300, 0),
	}
	first := whole
	first.Revocation.Rev = 0
	for name, id := range map[string]Identity{
		"whole":             whole,
		"of revision 0":     first,
		"as little as need": {Revocation: revocation.Token{Issuer: home, Subject: "alice"}},
		"strange letters":   {Revocation: revocation.Token{Issuer: home, Subject: "\"\\\u2028é"}},
	} {
		if got := must(ParseIdentity(id.String()))(t); !reflect.DeepEqual(got, id) {
			t.Errorf("%s: got %+v, want %+v", name, got, id)
		}
	}
	for _, text := range []string{"", "{}", "x", `{"iss": "i"}`, `{"sub": "s"}`, `{"iss": "i", "sub": "s", "sub": "t"}`, `{"iss": "i", "sub": "s", "rev": -1}`} {
		if id, err := ParseIdentity(text); err == nil {
			t.Errorf("%s: no error, but %+v", text, id)
		}
	}
	if strings.Contains(whole.String(), "eyJ") {
		t.Error("it contains a token")
	}
}

func TestStill(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "k1")
	v := w.verifier(t, nil)
	token := must(v.Verify(t.Context(), w.token(t, nil)))(t)
	good := token.Identity()
	for name, tt := range map[string]struct {
		change func(*Identity)
		want   error
	}{
		"as it was":           {func(*Identity) {}, nil},
		"of another issuer":   {func(id *Identity) { id.Revocation.Issuer = "https://other.example" }, ErrIssuer},
		"expired":             {func(id *Identity) { id.Expires = w.now.Add(-time.Hour) }, ErrExpired},
		"expired a moment":    {func(id *Identity) { id.Expires = w.now.Add(-time.Second) }, nil}, // its leeway
		"without an end":      {func(id *Identity) { id.Expires = time.Time{} }, nil},
		"of a key that went":  {func(id *Identity) { id.Revocation.Key = "k0" }, ErrKey},
		"of no key: was told": {func(id *Identity) { id.Revocation.Key = "" }, nil},
	} {
		id := good
		tt.change(&id)
		if err := v.Still(id); !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
}
