package claims

import (
	"strings"
	"testing"

	"github.com/tegata/tegata/issuer/client"
	"github.com/tegata/tegata/issuer/realm"
)

func pairwiseMapped(sector string) []realm.Mapper {
	return []realm.Mapper{{Name: "p", Type: pairwise, Config: map[string]string{sectorURI: sector, salt: "OgGg6LBsB2mKvT"}}}
}

// Keycloak's algorithm, so that people keep their subjects when a client moves:
// the value is that of java.util.UUID.nameUUIDFromBytes over SHA-256.
func TestPairwiseSubjectsAreKeycloaks(t *testing.T) {
	t.Parallel()
	const person, want = "3f2b9c1e-0000-4000-8000-000000000001", "442d32a4-998c-3ee2-954b-b8d6748ce085"
	scoped := realm.Realm{Settings: realm.Settings{ClientScopes: []realm.ClientScope{{Name: "p", Mappers: pairwiseMapped("")}}}}
	redirect := []string{"https://client.example:8443/cb", "https://client.example/other"}
	for name, tt := range map[string]struct {
		realm  realm.Realm
		client client.Client
		want   string
	}{
		"none":                  {realm.Realm{}, client.Client{RedirectURIs: redirect}, person},
		"the redirect URIs'":    {realm.Realm{}, client.Client{Mappers: pairwiseMapped(""), RedirectURIs: redirect}, want},
		"the sector URI's":      {realm.Realm{}, client.Client{Mappers: pairwiseMapped("https://client.example/sector.json"), RedirectURIs: []string{"https://a.example/"}}, want},
		"a scope's":             {scoped, client.Client{DefaultClientScopes: []string{"p"}, RedirectURIs: redirect}, want},
		"an optional scope's":   {scoped, client.Client{OptionalClientScopes: []string{"p"}, RedirectURIs: redirect}, want},
		"another client's only": {scoped, client.Client{RedirectURIs: redirect}, person},
	} {
		if got := new(Maker).Subject(tt.realm, tt.client, person); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
	broken := client.Client{ClientID: "c", Mappers: pairwiseMapped("")}
	if got := new(Maker).Subject(realm.Realm{}, broken, person); got == person || got == want {
		t.Errorf("a client without a sector knows people by %s", got)
	}
}

func TestAClientNeedsASectorForPairwiseSubjects(t *testing.T) { // OpenID Connect Core §8.1
	t.Parallel()
	for name, tt := range map[string]struct {
		sector    string
		redirects []string
		want      string // part of the error; empty: none
	}{
		"one host":             {"", []string{"https://a.example/1", "https://a.example/2"}, ""},
		"two hosts":            {"", []string{"https://a.example/", "https://b.example/"}, "multiple host components"},
		"two hosts, a sector":  {"https://a.example/s", []string{"https://a.example/", "https://b.example/"}, ""},
		"no host":              {"", []string{"com.example.app:/cb"}, "valid host component"},
		"nothing":              {"", nil, "no redirect URI"},
		"an IPv6 address":      {"", []string{"http://[::1]:80/", "http://[::1]/"}, ""},
		"a sector without one": {"urn:x", []string{"https://a.example/"}, "malformed"},
	} {
		err := CheckSubject(realm.Realm{}, client.Client{Mappers: pairwiseMapped(tt.sector), RedirectURIs: tt.redirects})
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want an error with %q", name, err, tt.want)
		}
	}
	for name, config := range map[string]map[string]string{"no salt": {}, "a broken sector": {salt: "s", sectorURI: "x"}} {
		if Check(realm.Mapper{Type: pairwise, Config: config}) == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
