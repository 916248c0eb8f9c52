package realm

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tegata/tegata/internal/jose"
)

func TestWhatCannotWorkIsNotStored(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(*Realm)
		want   string // part of the error; empty: none
	}{
		{"a plain one", func(*Realm) {}, ""},
		{"every setting", func(r *Realm) { r.Settings = Settings{ClientScopes: []ClientScope{{Name: "a"}}}.WithDefaults() }, ""},
		{"no name", func(r *Realm) { r.Name = "" }, "realm name"},
		{"a long name", func(r *Realm) { r.Name = strings.Repeat("a", 65) }, "realm name"},
		{"a path", func(r *Realm) { r.Name = "a/b" }, "realm name"},
		{"the folder above", func(r *Realm) { r.Name = ".." }, "realm name"},
		{"a second line", func(r *Realm) { r.Name = "demo\n" }, "realm name"},
		{"an unknown algorithm", func(r *Realm) { r.Settings.SigningAlgorithm = "none" }, `"none"`},
		{"Ed448", func(r *Realm) { r.Settings.SigningAlgorithm = "Ed448" }, "Ed448 is not supported"},
		{"keys that change all the time", func(r *Realm) { r.Settings.KeyRotation = time.Minute }, "keyRotation"},
		{"keys that change monthly", func(r *Realm) { r.Settings.KeyRotation = 720 * time.Hour }, ""},
		{"a symmetric algorithm", func(r *Realm) { r.Settings.SigningAlgorithm = jose.HS512 }, `"HS512"`},
		{"an unknown token type", func(r *Realm) { r.Settings.AccessTokenType = "jwt" }, `"jwt"`},
		{"a negative lifetime", func(r *Realm) { r.Settings.RefreshGrace = -1 }, "lifetime"},
		{"a lifetime that overflows", func(r *Realm) { r.Settings.AccessTokenLifespan = 1 << 62 }, "lifetime"},
		{"negative reuse", func(r *Realm) { r.Settings.RefreshMaxReuse = -1 }, "refreshTokenMaxReuse"},
		{"an empty scope", func(r *Realm) { r.Settings.ClientScopes = []ClientScope{{}} }, "scope"},
		{"a scope twice", func(r *Realm) { r.Settings.ClientScopes = []ClientScope{{Name: "a"}, {Name: "a"}} }, "twice"},
		{"a role without a name", func(r *Realm) { r.Settings.Roles.Client = map[string][]Role{"c": {{}}} }, "role"},
		{"a group without a name", func(r *Realm) { r.Settings.Groups = []Group{{Name: "a", SubGroups: []Group{{}}}} }, "group"},
		{"a deep group", func(r *Realm) {
			for range maxGroupDepth + 1 {
				r.Settings.Groups = []Group{{Name: "a", SubGroups: r.Settings.Groups}}
			}
		}, "levels"},
		{"too many scopes", func(r *Realm) { r.Settings.ClientScopes = make([]ClientScope, maxScopes+1) }, "scopes"},
	}
	for _, tt := range tests {
		r := Realm{Name: "demo"}
		tt.change(&r)
		err := r.check()
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want an error with %q", tt.name, err, tt.want)
		}
	}
}

// The defaults are Keycloak 26's where it has the setting; a new setting
// without a default fails here.
func TestEverySettingHasADefault(t *testing.T) {
	t.Parallel()
	noDefault := []string{"Roles", "Groups", "KeyRotation", "OfflineSessionMaxLifespan", "RememberMe"}
	s := Settings{}.WithDefaults()
	v := reflect.ValueOf(s)
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		if strings.HasPrefix(name, "Client") || strings.HasSuffix(name, "RememberMe") {
			continue // as another setting
		}
		if v.Field(i).IsZero() && !slices.Contains(noDefault, name) {
			t.Errorf("%s has no default", name)
		}
	}
	if s.SigningAlgorithm != jose.ES256 || s.AccessTokenType != "at+jwt" || s.AccessTokenLifespan != 5*time.Minute ||
		s.SSOSessionIdleTimeout != 30*time.Minute || s.SSOSessionMaxLifespan != 10*time.Hour {
		t.Errorf("got %+v", s)
	}
}

func TestADefaultReplacesNoChoice(t *testing.T) {
	t.Parallel()
	chosen := Settings{
		SigningAlgorithm: jose.EdDSA, AccessTokenType: "JWT", AccessTokenLifespan: 1, SSOSessionIdleTimeout: 2,
		SSOSessionMaxLifespan: 3, AccessCodeLifespan: 4, AccessCodeLifespanLogin: 5, OfflineSessionIdleTimeout: 6, OfflineSessionMaxLifespan: 6,
		PARLifespan: 9, DeviceCodeLifespan: 10, DevicePollingInterval: 11, RefreshGrace: 7, RefreshMaxReuse: 8,
		ClientScopes: []ClientScope{{Name: "a"}}, DefaultClientScopes: []string{}, OptionalClientScopes: []string{"a"},
	}
	if got := chosen.WithDefaults(); !reflect.DeepEqual(got, chosen) {
		t.Errorf("got %+v, want %+v", got, chosen)
	}
}

// unasked is a Store that must not be asked.
type unasked struct{ t *testing.T }

func (s unasked) Read(context.Context, func(View) error) error {
	s.t.Error("the store was read")
	return nil
}

func (s unasked) Write(context.Context, func(Tx) error) error {
	s.t.Error("the store was written")
	return nil
}

func TestWhatCannotBeThereIsNotLookedFor(t *testing.T) {
	t.Parallel()
	realms := New(unasked{t}, "https://id.example")
	for _, name := range []string{"", "..", "a\x00", "\xff", strings.Repeat("a", 65)} {
		if _, err := realms.ByName(t.Context(), name); !errors.Is(err, ErrNotFound) {
			t.Errorf("%q: got %v", name, err)
		}
	}
	if _, err := realms.Put(t.Context(), Realm{Name: "a/b"}); err == nil {
		t.Error("a realm with a path as its name was put")
	}
}
