package issuer_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"hash"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tegata/tegata/issuer"
	"github.com/tegata/tegata/issuer/client"
	"github.com/tegata/tegata/issuer/oauth"
	"github.com/tegata/tegata/issuer/realm"
)

// signingSecret is of 32 bytes, HS256's least, and longSecret of 64, HS512's.
const (
	signingSecret = "0123456789abcdef0123456789abcdef"
	longSecret    = signingSecret + "fedcba9876543210fedcba9876543210"
)

func hmacJWT(t *testing.T, alg, secret string, claims map[string]any) string {
	t.Helper()
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	input := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"`+alg+`","typ":"JWT"}`)) + "." + base64.RawURLEncoding.EncodeToString(payload)
	mac := map[string]func() hash.Hash{"HS256": sha256.New, "HS384": sha512.New384, "HS512": sha512.New, "none": sha256.New}[alg]
	m := hmac.New(mac, []byte(secret))
	m.Write([]byte(input))
	return input + "." + base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

// TestClientSecretJWT (OpenID Connect Core §9, RFC 7523 §3).
func TestClientSecretJWT(t *testing.T) {
	t.Parallel()
	s := start(t)
	_, jwks := signer(t)
	no := false
	s.importMore(
		issuer.Client{
			ClientID: "mac", Secret: signingSecret, ClientAuthenticatorType: "client-secret-jwt",
			ServiceAccountsEnabled: true, StandardFlowEnabled: &no, Audience: []string{"rs"},
		},
		issuer.Client{
			ClientID: "mac512", Secret: longSecret, ClientAuthenticatorType: "client-secret-jwt", ServiceAccountsEnabled: true, StandardFlowEnabled: &no, Audience: []string{"rs"},
		},
		issuer.Client{
			ClientID: "mac384", Secret: longSecret, ClientAuthenticatorType: "client-secret-jwt", ServiceAccountsEnabled: true, StandardFlowEnabled: &no, Audience: []string{"rs"},
			Attributes: map[string]string{"token.endpoint.auth.signing.alg": "HS384"},
		},
		issuer.Client{ClientID: "keyed", ClientAuthenticatorType: "client-jwt", JWKS: jwks, ServiceAccountsEnabled: true, StandardFlowEnabled: &no},
	)
	sign := func(clientID, alg, secret string, change map[string]any) string {
		now := s.now().Unix()
		claims := map[string]any{"iss": clientID, "sub": clientID, "aud": s.base + "/realms/demo", "jti": rand.Text(), "iat": now, "exp": now + 60}
		for name, v := range change {
			claims[name] = v
		}
		return hmacJWT(t, alg, secret, claims)
	}
	ask := func(assertion string) (int, map[string]any) {
		return s.post("token", "", "", url.Values{
			"grant_type": {"client_credentials"}, "client_assertion_type": {oauth.AssertionJWT}, "client_assertion": {assertion},
		})
	}
	once := sign("mac", "HS256", signingSecret, nil)
	status, answer := ask(once)
	if status != http.StatusOK || !s.active(answer["access_token"]) {
		t.Fatalf("%d %v", status, answer)
	}
	for _, by := range [][2]string{{"mac512", "HS256"}, {"mac512", "HS384"}, {"mac512", "HS512"}, {"mac384", "HS384"}} {
		if status, answer := ask(sign(by[0], by[1], longSecret, nil)); status != http.StatusOK {
			t.Errorf("%s with %s: %d %v", by[0], by[1], status, answer)
		}
	}
	const failed = "Client authentication with signed JWT failed: Signature on JWT token failed validation"
	for name, tt := range map[string]struct{ assertion, want string }{
		"used again (§3 7)":              {once, "Token reuse detected"},
		"with another secret":            {sign("mac", "HS256", strings.ToUpper(signingSecret), nil), failed},
		"too short for it (RFC 7518)":    {sign("mac", "HS512", signingSecret, nil), failed},
		"with another than its own":      {sign("mac384", "HS512", longSecret, nil), failed},
		"without one (RFC 8725 §3.2)":    {sign("mac", "none", signingSecret, nil), failed},
		"for somebody else (§3 3)":       {sign("mac", "HS256", signingSecret, map[string]any{"aud": "https://other.example"}), "Invalid token audience"},
		"expired (§3 4)":                 {sign("mac", "HS256", signingSecret, map[string]any{"iat": 1, "exp": 2}), "Token is not active"},
		"of a client of keys (RFC 8725)": {sign("keyed", "HS256", signingSecret, nil), failed},
	} {
		status, answer := ask(tt.assertion)
		if status != http.StatusBadRequest || answer["error"] != "invalid_client" || answer["error_description"] != tt.want {
			t.Errorf("%s: %d %v, want %q", name, status, answer, tt.want)
		}
	}
	if _, answer := s.post("token", "mac", signingSecret, url.Values{"grant_type": {"client_credentials"}}); answer["error_description"] != "Parameter client_assertion_type is missing" {
		t.Errorf("the secret itself: %v", answer)
	}
}

// TestSecretsToSignWithAreSealed in the store, are kept by an import of the
// same file, and have to be long.
func TestSecretsToSignWithAreSealed(t *testing.T) {
	t.Parallel()
	stores, source := openStores(t)
	file := issuer.Realm{Realm: "demo", Clients: []issuer.Client{
		{ClientID: "mac", Secret: signingSecret, ClientAuthenticatorType: "client-secret-jwt"},
		{ClientID: "plain", Secret: signingSecret},
	}}
	imported := func(file issuer.Realm, seals ...byte) (map[string]client.Client, error) {
		var keys [][]byte
		for _, b := range seals {
			keys = append(keys, bytes.Repeat([]byte{b}, 32))
		}
		iss, err := issuer.New(issuer.Config{
			BaseURL: "http://id.example", Stores: stores, WatchSource: source, Seal: keys[0], OtherSeals: keys[1:], Now: time.Now,
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := iss.Import(t.Context(), file); err != nil {
			return nil, err
		}
		found := make(map[string]client.Client)
		r, err := realm.New(stores.Realms, "http://id.example").ByName(t.Context(), "demo")
		if err != nil {
			t.Fatal(err)
		}
		err = stores.Clients.Read(t.Context(), func(v client.View) error {
			all, err := v.Clients(r.ID)
			for _, c := range all {
				found[c.ClientID] = c
			}
			return err
		})
		return found, err
	}
	first, err := imported(file, 1)
	if err != nil {
		t.Fatal(err)
	}
	sealed := first["mac"].SecretSealed
	if len(sealed) == 0 || bytes.Contains(sealed, []byte(signingSecret)) || first["mac"].SecretHash != "" {
		t.Errorf("kept as %q and %q", sealed, first["mac"].SecretHash)
	}
	if c := first["plain"]; c.SecretSealed != nil || c.SecretHash == "" {
		t.Errorf("a secret that is not signed with is kept as %q and %q", c.SecretSealed, c.SecretHash)
	}
	if again, err := imported(file, 1); err != nil || !bytes.Equal(again["mac"].SecretSealed, sealed) {
		t.Errorf("the same file changed it, or %v", err)
	}
	if again, err := imported(file, 2, 1); err != nil || bytes.Equal(again["mac"].SecretSealed, sealed) {
		t.Errorf("a new key file did not seal it anew, or %v", err)
	}
	file.Clients[0].ClientAuthenticatorType = ""
	if again, err := imported(file, 2, 1); err != nil || again["mac"].SecretSealed != nil || again["mac"].SecretHash == "" {
		t.Errorf("a client that does not sign with it any more: %v, %v", again["mac"], err)
	}
	file.Clients[0].ClientAuthenticatorType, file.Clients[0].Secret = "client-secret-jwt", signingSecret[1:]
	if _, err := imported(file, 2, 1); err == nil {
		t.Error("31 bytes were enough (RFC 7518 §3.2)")
	}
	file.Clients[0].Secret, file.Clients[0].Attributes = longSecret[1:], map[string]string{"token.endpoint.auth.signing.alg": "HS512"}
	if _, err := imported(file, 2, 1); err == nil {
		t.Error("63 bytes were enough for HS512 (RFC 7518 §3.2)")
	}
	file.Clients[0].Attributes["token.endpoint.auth.signing.alg"] = "ES256"
	if _, err := imported(file, 2, 1); err == nil {
		t.Error("a secret signs with ES256")
	}
}
