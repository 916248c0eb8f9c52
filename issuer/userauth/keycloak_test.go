package userauth

import (
	"strings"
	"testing"
)

// The password "pw", hashed and exported by Keycloak 26.7.3.
const (
	exportedData   = `{"hashIterations":5,"algorithm":"argon2","additionalParameters":{"hashLength":["32"],"memory":["7168"],"type":["id"],"version":["1.3"],"parallelism":["1"]}}`
	exportedSecret = `{"value":"iUzx3LWZYs2hBl4S56W3bMsBcCh+s1/BHaUmdTJ+8J8=","salt":"1uTzein1zv0CF0ODFfgLhg==","additionalParameters":{}}`
)

func TestAPasswordOfKeycloakIsGoodHere(t *testing.T) {
	t.Parallel()
	hash, err := FromKeycloak(exportedData, exportedSecret)
	if err != nil {
		t.Fatal(err)
	}
	for password, want := range map[string]bool{"pw": true, "pW": false, "": false} {
		if got, err := Verify(hash, password); err != nil || got != want {
			t.Errorf("%q: %t, %v", password, got, err)
		}
	}
}

func TestOtherHashesOfKeycloakAreRefused(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ from, to string }{
		"PBKDF2":          {`"argon2"`, `"pbkdf2-sha512"`},
		"argon2i":         {`["id"]`, `["i"]`},
		"another version": {`["1.3"]`, `["1.0"]`},
		"too dear":        {`["7168"]`, `["9999999"]`},
		"no memory":       {`"memory"`, `"memories"`},
		"many passes":     {`"hashIterations":5`, `"hashIterations":500`},
		"no lanes":        {`["1"]`, `["0"]`},
		"no JSON":         {`{`, ``},
	} {
		if hash, err := FromKeycloak(strings.Replace(exportedData, tt.from, tt.to, 1), exportedSecret); err == nil {
			t.Errorf("%s: taken as %s", name, hash)
		}
	}
	for _, secret := range []string{``, `{}`, `{"value":"iUzx","salt":"1uTz"}`, `{"value":"*","salt":"1uTzein1zv0CF0ODFfgLhg=="}`} {
		if hash, err := FromKeycloak(exportedData, secret); err == nil {
			t.Errorf("%s: taken as %s", secret, hash)
		}
	}
}
