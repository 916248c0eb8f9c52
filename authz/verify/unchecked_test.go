package verify

import (
	"encoding/base64"
	"errors"
	"slices"
	"testing"
)

func unsigned(claims string) string {
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"none"}`)) + "." + encode([]byte(claims)) + "." + encode([]byte("unsigned"))
}

func TestUncheckedReadsWhatNobodySigned(t *testing.T) {
	t.Parallel()
	const claims = `{"iss": "https://i.test", "sub": "s", "exp": 1, "aud": "x", "azp": "c", "scope": "a b", "scp": ["d"]}`
	token, err := Unchecked(unsigned(claims), "")
	if err != nil {
		t.Fatal(err)
	}
	if token.Revocation.Subject != "s" || token.Revocation.Client != "c" || !slices.Equal(token.Scopes, []string{"a", "b"}) || token.Document() == nil {
		t.Errorf("token = %+v", token)
	}
	if token, err = Unchecked(unsigned(claims), "scp"); err != nil || !slices.Equal(token.Scopes, []string{"d"}) {
		t.Errorf("with scope claim scp: %v, %v", token, err)
	}
}

func TestUncheckedStillRefusesWhatIsNoAccessToken(t *testing.T) {
	t.Parallel()
	for compact, want := range map[string]error{
		"opaque":                             ErrMalformed,
		unsigned(`[]`):                       ErrMalformed,
		unsigned(`{"sub": "s", "exp": 1}`):   ErrClaims,
		unsigned(`{"iss": "i", "exp": 1}`):   ErrClaims,
		unsigned(`{"iss": "i", "sub": "s"}`): ErrClaims,
		unsigned(`{"iss": "i", "sub": "s", "exp": 1, "typ": "Refresh"}`): ErrType,
	} {
		if _, err := Unchecked(compact, ""); !errors.Is(err, want) {
			t.Errorf("%s: error = %v, want %v", compact, err, want)
		}
	}
}
